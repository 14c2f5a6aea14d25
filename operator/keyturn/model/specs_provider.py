"""The specs of SecretProvider and ClusterSecretProvider, with the members that need no cloud."""

import re
from typing import Annotated, Literal

from pydantic import Field

from keyturn.model.ids import Kind
from keyturn.model.order import ENV_PREFIX
from keyturn.model.specs_aws import AwsSecretsManager
from keyturn.model.specs_azure import AzureKeyVault
from keyturn.model.specs_base import Rule, Spec, one_of, pattern
from keyturn.model.specs_google import GoogleSecretManager
from keyturn.model.specs_kubernetes import Kubernetes
from keyturn.model.specs_types import LabelSelector, NamespaceName, SecretKeyRef, Text
from keyturn.model.specs_vault import HashicorpVault

# What no flag can open: variables that begin so, or are called so, configure the operator and the libraries under it.
# The whole list is in decide/reach.py; this is the part of it that is settled when a manifest is applied.
OWN_PREFIXES = ("KEYTURN_", "SECRETS_", "DATABASE_", "AUDIT_", "AWS_", "AZURE_", "GOOGLE_", "VAULT_", "KUBERNETES_", "PYTHON", "LD_")
OWN_NAMES = ("SECRET_KEY", "PATH", "HOME")

_CONTROL = re.compile(r"[\x00-\x1f]")


def reaches_settings(prefix: str) -> bool:
    """Whether some key could make this prefix the name of one of the operator's own settings."""
    return not prefix.startswith(ENV_PREFIX) and (
        any(prefix.startswith(own) or own.startswith(prefix) for own in OWN_PREFIXES) or any(name.startswith(prefix) for name in OWN_NAMES)
    )


class Env(Spec):
    """Environment variables of the operator. The name of the variable is prefix and key, as they are written."""

    prefix: (
        Annotated[
            str,
            Field(min_length=1, max_length=128),
            pattern("[A-Za-z_][A-Za-z0-9_]*", "must be the beginning of a variable's name: letters, digits and '_'; correct it"),
            Rule(
                f"self.startsWith('{ENV_PREFIX}') || !({list(OWN_PREFIXES)}.exists(own, self.startsWith(own) || own.startsWith(self))"
                f" || {list(OWN_NAMES)}.exists(name, name.startsWith(self)))",
                f"would reach the operator's own settings; let it begin with {ENV_PREFIX}",
                lambda prefix: not reaches_settings(prefix),
            ),
        ]
        | None
    ) = None
    """Put before every key. It must begin with KEYTURN_SECRET_, or with a prefix that the operator's flag allows, and can never
    reach the operator's own settings. Default: KEYTURN_SECRET_."""


class File(Spec):
    """Files of the operator, below the roots that its flag names. Links that lead out are not followed."""

    path: Annotated[
        str,
        Field(min_length=1, max_length=1024),
        Rule(
            r"!self.matches('(^|/)[.][.](/|$)') && !self.matches('[\\x00-\\x1f]')",
            "must stay beneath the operator's root; remove every '..' and all control characters",
            lambda path: ".." not in path.split("/") and _CONTROL.search(path) is None,
        ),
    ]
    """Folder or file, relative to the operator's first root, or an absolute path beneath one of its roots. It never leads out
    of the root, not by .. and not by links."""

    format: Literal["Directory", "JSON", "YAML", "Dotenv"] | None = None
    """Directory: a folder of files as a mounted volume has it; the key is the relative path, bytes stay as they are. JSON and
    YAML: one file; the key is a top-level member. Dotenv: one file of NAME=value lines, without interpolation.
    Default: Directory."""


class Database(Spec):
    """Secrets in a database, encrypted. In a ClusterSecretProvider it is the operator's own database."""

    url_secret_ref: SecretKeyRef | None = None
    """A postgresql:// URL with host, port, user, password, dbname and sslmode, for a SecretProvider. Default key: url."""

    key_secret_ref: SecretKeyRef | None = None
    """The key that opens the values, for a SecretProvider. Default key: key."""

    rules = (
        Rule(
            "has(self.urlSecretRef) && has(self.keySecretRef)",
            "urlSecretRef and keySecretRef are needed in a SecretProvider, since the operator's own database serves a"
            " ClusterSecretProvider only; add both",
            lambda database: database.url_secret_ref is not None and database.key_secret_ref is not None,
            Kind.SECRET_PROVIDER,
        ),
        Rule(
            "!has(self.urlSecretRef) && !has(self.keySecretRef)",
            "urlSecretRef and keySecretRef are for a SecretProvider, since a ClusterSecretProvider means the operator's own database;"
            " remove both",
            lambda database: database.url_secret_ref is None and database.key_secret_ref is None,
            Kind.CLUSTER_SECRET_PROVIDER,
        ),
    )


class FakeValue(Spec):
    """One value."""

    key: Annotated[str, Field(min_length=1, max_length=2048)]
    """Name of the secret."""

    value: Annotated[str, Field(max_length=65_536)]
    """The value, readable by everybody who may read the provider object."""

    version: Text | None = None
    """Version of the value. Left out: the newest."""


class Fake(Spec):
    """Values that are written right here, for development and tests."""

    data: list[FakeValue] = Field(min_length=1, max_length=256)
    """The values, each key and version once."""


_MEMBERS = (
    "env",
    "file",
    "database",
    "aws_secrets_manager",
    "azure_key_vault",
    "google_secret_manager",
    "hashicorp_vault",
    "kubernetes",
    "fake",
)


Member = Env | File | Database | AwsSecretsManager | AzureKeyVault | GoogleSecretManager | HashicorpVault | Kubernetes | Fake


class Provider(Spec):
    """Where the secrets are: exactly one member."""

    env: Env | None = None
    """The operator's environment, for a ClusterSecretProvider only."""

    file: File | None = None
    """The operator's file system, for a ClusterSecretProvider only."""

    database: Database | None = None
    """A database with encrypted values."""

    aws_secrets_manager: AwsSecretsManager | None = None
    """AWS Secrets Manager."""

    azure_key_vault: AzureKeyVault | None = None
    """Azure Key Vault."""

    google_secret_manager: GoogleSecretManager | None = None
    """Google Secret Manager."""

    hashicorp_vault: HashicorpVault | None = None
    """HashiCorp Vault or OpenBao."""

    kubernetes: Kubernetes | None = None
    """Secrets of another namespace or cluster."""

    fake: Fake | None = None
    """Values that are written in the spec, for development and tests."""

    rules = (
        one_of(
            "exactly one provider is needed (env, file, database, awsSecretsManager, azureKeyVault, googleSecretManager,"
            " hashicorpVault, kubernetes or fake); keep one, and make another object for another provider",
            *_MEMBERS,
        ),
        Rule(
            "!has(self.env) && !has(self.file)",
            "env and file read the operator's own environment and files, so they are for a ClusterSecretProvider only;"
            " make one of that kind",
            lambda provider: provider.env is None and provider.file is None,
            Kind.SECRET_PROVIDER,
        ),
    )

    @property
    def member(self) -> Member:
        """The one member that is set."""
        found: Member = next(member for name in _MEMBERS if (member := getattr(self, name)) is not None)
        return found

    @property
    def member_name(self) -> str:
        """What that one is called in the API."""
        name = next(name for name in _MEMBERS if getattr(self, name) is not None)
        return str(type(self).model_fields[name].alias)


def _is_only_read(provider: Provider) -> bool:
    """Whether Keyturn has no way to write there, whoever allows it."""
    is_document = provider.file is not None and provider.file.format not in {None, "Directory"}
    return is_document or provider.env is not None or provider.kubernetes is not None


class SecretProviderSpec(Spec):
    """A provider and how to log in to it, for the namespace of this object."""

    provider: Provider
    """Where the secrets are, and who logs in: exactly one member."""

    access: Literal["ReadOnly", "ReadWrite"] | None = None
    """Whether Keyturn may write to the provider too, as rotation will. In this version no value is written by way of a provider
    object: keyturn set writes to the default provider. ReadWrite is not for env, kubernetes and documents (file with JSON, YAML or
    Dotenv), which are only read. Default: ReadOnly."""

    controller_class: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Which operator serves this provider and all that refer to it, where more than one runs. Default: default."""

    rules = (
        Rule(
            "!has(self.access) || self.access != 'ReadWrite' || !(has(self.provider.env) || has(self.provider.kubernetes)"
            " || (has(self.provider.file) && has(self.provider.file.format) && self.provider.file.format != 'Directory'))",
            "access: ReadWrite is not for env, kubernetes and a file of format JSON, YAML or Dotenv, which are only read;"
            " remove access, or name a provider that is written",
            lambda spec: spec.access != "ReadWrite" or not _is_only_read(spec.provider),
        ),
    )


class NamespaceCondition(Spec):
    """Some namespaces. Those that any of the three names are admitted."""

    namespaces: list[NamespaceName] | None = Field(default=None, max_length=256)
    """Namespaces by name."""

    namespace_selector: LabelSelector | None = None
    """Namespaces by their labels."""

    namespace_regexes: list[Annotated[str, Field(min_length=1, max_length=256)]] | None = Field(default=None, max_length=32)
    """Namespaces by regular expressions that are found somewhere in the name; anchor them with ^ and $."""

    access: Literal["ReadOnly", "ReadWrite"] | None = None
    """What these namespaces may do, at most what the provider's own access allows. Default: ReadOnly."""

    rules = (
        Rule(
            "(has(self.namespaces) && self.namespaces.size() > 0) || has(self.namespaceSelector)"
            " || (has(self.namespaceRegexes) && self.namespaceRegexes.size() > 0)",
            "at least one of namespaces, namespaceSelector and namespaceRegexes is needed; add one, or remove the condition",
            lambda c: bool(c.namespaces) or c.namespace_selector is not None or bool(c.namespace_regexes),
        ),
    )


class ClusterSecretProviderSpec(SecretProviderSpec):
    """A provider and how to log in to it, for the namespaces that it admits."""

    conditions: list[NamespaceCondition] | None = Field(default=None, max_length=32)
    """Which namespaces may use it: those that any condition admits. Left out: every namespace."""
