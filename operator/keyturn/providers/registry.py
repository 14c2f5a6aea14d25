"""From a provider object's spec to the provider: the only place that knows which class serves which member.

A provider's module is imported when the first object of its kind appears, so that nobody pays for
an SDK that is not used. Logs in to nothing: that is ``validate``.
"""

import os
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, assert_never

from keyturn.decide.address import AddressRules, check_scheme
from keyturn.decide.reach import Reach, check_file_path, check_prefix
from keyturn.model import aws, azure
from keyturn.model.aws import AwsConfig
from keyturn.model.azure import AzureConfig
from keyturn.model.database import DatabaseConfig, OtherDatabase
from keyturn.model.errors import MissingExtra, Rejected
from keyturn.model.google import AmbientLogin, ConfigLogin, FileLogin, GoogleConfig, GooglePlaces
from keyturn.model.ids import Kind
from keyturn.model.kubernetes import KubernetesConfig
from keyturn.model.order import Access, EnvConfig, FakeConfig, FileConfig, FileFormat, ProviderConfig, ProviderOrder
from keyturn.model.tenant import ServiceAccount
from keyturn.model.vault import VaultConfig
from keyturn.ports import Databases, Provider, References, TenantTokens, Writer
from keyturn.providers.guard import LOCAL, REMOTE, Guard, Observer, Pace
from keyturn.providers.guarded_writer import GuardedWriter
from keyturn.providers.room import Room

SQL: Final = replace(REMOTE, batch=1000)
"""One query brings as many as that."""

PAGES: Final = replace(REMOTE, deadline_s=30.0)
"""A list of thousands comes in hundreds of pages, one after the other, each of which has its own time to come."""

TWENTIES: Final = replace(PAGES, batch=100)
"""Five calls to AWS bring as many as that; a list comes in pages too."""

_BUNDLE: Final = "name that authority in caBundle"
"""What helps where a server that an admin chose is of another authority than those that are trusted."""
_VAULTS: Final = f"{_BUNDLE}, or in VAULT_CACERT for the default provider"

VAULT_TOKEN_FILE: Final = Path("/var/run/secrets/keyturn.dev/vault/token")
"""The operator's own token with audience `vault`, as deploy/ mounts it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of spec.provider: its name there, its extra ('' is the base install), and who may use it."""

    name: str
    extra: str = ""
    is_cluster_only: bool = False
    pace: Pace = LOCAL


@dataclass(frozen=True, slots=True)
class Home:
    """The cluster that the operator runs in: its API server, for tenants' own log-ins. ``tls`` shows no certificate of ours."""

    server: str
    tls: ssl.SSLContext
    tokens: TenantTokens


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What providers need of the operator that they run in, and what its flags let them reach."""

    reach: Reach
    addresses: AddressRules
    references: References
    vault_token_file: Path = VAULT_TOKEN_FILE
    room: Room = field(default_factory=Room)
    home: Home | None = None
    databases: Databases | None = None
    google: GooglePlaces = field(default_factory=GooglePlaces)


MEMBERS: dict[type[ProviderConfig], Member] = {
    EnvConfig: Member("env", is_cluster_only=True),
    FileConfig: Member("file", is_cluster_only=True),
    FakeConfig: Member("fake"),
    VaultConfig: Member("hashicorpVault", extra="vault", pace=REMOTE),
    KubernetesConfig: Member("kubernetes", extra="operator", pace=REMOTE),
    DatabaseConfig: Member("database", extra="database", pace=SQL),
    AwsConfig: Member("awsSecretsManager", extra="aws", pace=TWENTIES),
    AzureConfig: Member("azureKeyVault", extra="azure", pace=PAGES),
    GoogleConfig: Member("googleSecretManager", extra="gcp", pace=REMOTE),
}


def build(order: ProviderOrder, *, kind: Kind, around: Surroundings, namespace: str = "", observe: Observer | None = None) -> Provider:
    """Makes the guarded provider of an object of this kind, in this namespace; raises `Rejected` or `MissingExtra`."""
    member = MEMBERS[type(order.config)]
    if member.is_cluster_only and kind is not Kind.CLUSTER_SECRET_PROVIDER:
        message = f"spec.provider.{member.name} reads what belongs to the operator; only a ClusterSecretProvider may, made by an admin"
        raise Rejected(message)
    try:
        provider = _open(order.config, kind, around, namespace, order.access)
    except ModuleNotFoundError as missing:
        if not member.extra:
            raise
        raise MissingExtra(member.extra, f"spec.provider.{member.name}") from missing
    may_write = order.access is Access.READ_WRITE and isinstance(provider, Writer)
    return (GuardedWriter if may_write else Guard)(provider, member.pace, observe=observe)


def _open(config: ProviderConfig, kind: Kind, around: Surroundings, namespace: str, access: Access) -> Provider:
    match config:
        case EnvConfig(prefix):
            from keyturn.providers.env import EnvProvider

            if not around.reach.is_own:
                check_prefix(prefix, around.reach.env_prefixes)
            return EnvProvider(prefix)
        case FileConfig(path, file_format):
            return _file(path, file_format, around.reach, access)
        case FakeConfig(data):
            from keyturn.providers.fake import FakeProvider

            return FakeProvider(data)
        case VaultConfig():
            return _vault(config, kind, namespace, around, access)
        case KubernetesConfig():
            return _kubernetes(config, kind, namespace, around)
        case DatabaseConfig(other):
            return _database(other, namespace, around)
        case AwsConfig():
            return _aws(config, kind, namespace, around, access)
        case AzureConfig():
            return _azure(config, kind, namespace, around, access)
        case GoogleConfig():
            return _google(config, kind, namespace, around, access)
        case _:
            assert_never(config)


def _file(path: str, file_format: FileFormat, reach: Reach, access: Access) -> Provider:
    from keyturn.providers.file import FileProvider
    from keyturn.providers.file_writer import FileWriter

    place = check_file_path(path, reach)
    # A document is whoever's who wrote it.
    if access is Access.READ_WRITE and file_format is FileFormat.DIRECTORY:
        return FileWriter(place, reach)
    return FileProvider(place, file_format, reach)


def _vault(config: VaultConfig, kind: Kind, namespace: str, around: Surroundings, access: Access) -> Provider:
    from keyturn.providers.dial import Dialer
    from keyturn.providers.vault import VaultProvider
    from keyturn.providers.vault_writer import VaultWriter

    check_scheme("spec.provider.hashicorpVault.server", config.server, around.addresses)
    # Where a server is, a tenant chooses; what an admin wrote is taken as it is.
    dialer = Dialer(around.addresses if kind is Kind.SECRET_PROVIDER else None, namespace, trust=_VAULTS)
    opened = VaultWriter if access is Access.READ_WRITE else VaultProvider
    tokens = around.home.tokens if around.home else None
    return opened(config, around.references, dialer, around.vault_token_file, around.room, namespace, tokens=tokens)


def _database(other: OtherDatabase | None, namespace: str, around: Surroundings) -> Provider:
    from keyturn.providers.database import DatabaseProvider, OwnDatabase, TenantDatabase

    databases = around.databases
    if databases is None:
        raise MissingExtra("database", "spec.provider.database")
    if other is not None:
        return DatabaseProvider(TenantDatabase(other, around.references, databases, around.addresses, namespace, around.room))
    if not databases.has_own:
        raise Rejected("spec.provider.database: the operator has no database; start it with DATABASE_URL and SECRET_KEY")
    return DatabaseProvider(OwnDatabase(databases))


def _kubernetes(config: KubernetesConfig, kind: Kind, namespace: str, around: Surroundings) -> Provider:
    from keyturn.providers.dial import Dialer
    from keyturn.providers.kubernetes import KubernetesProvider
    from keyturn.providers.kubernetes_session import Entrance, Session, Stranger, Tenant

    entrance: Entrance
    if isinstance(config.via, ServiceAccount):
        if around.home is None:
            raise Rejected("spec.provider.kubernetes.auth.serviceAccount: its token is made by the operator in its cluster; name a server")
        home = around.home
        entrance = Tenant(config.via, home.tokens, home.server, home.tls, Dialer(None, is_direct=True))
    else:
        check_scheme("spec.provider.kubernetes.server.url", config.via.server, around.addresses)
        dialer = Dialer(around.addresses if kind is Kind.SECRET_PROVIDER else None, namespace, trust=_BUNDLE)
        entrance = Stranger(config.via, around.references, dialer)
    # An admin's provider stands for itself.
    return KubernetesProvider(config.namespace, Session(entrance), around.room, namespace or str(entrance))


def _aws(config: AwsConfig, kind: Kind, namespace: str, around: Surroundings, access: Access) -> Provider:
    from keyturn.providers.aws_open import opened

    is_tenants = kind is Kind.SECRET_PROVIDER
    if isinstance(config.login, aws.OwnLogin) and (is_tenants or config.endpoint):
        raise Rejected("spec.provider.awsSecretsManager.auth: the operator's own identity is for a ClusterSecretProvider without endpoint")
    if config.endpoint:
        check_scheme("spec.provider.awsSecretsManager.endpoint", config.endpoint, around.addresses)
    rules, tokens = around.addresses if is_tenants else None, around.home.tokens if around.home else None
    return opened(config, rules, around.references, tokens, around.room, namespace, may_write=access is Access.READ_WRITE)


def _azure(config: AzureConfig, kind: Kind, namespace: str, around: Surroundings, access: Access) -> Provider:
    from keyturn.providers.azure import AzureProvider
    from keyturn.providers.azure_login import Entrance
    from keyturn.providers.azure_road import Road
    from keyturn.providers.azure_session import Session
    from keyturn.providers.azure_writer import AzureWriter

    if config.is_ambient and kind is not Kind.CLUSTER_SECRET_PROVIDER:
        raise Rejected("spec.provider.azureKeyVault.authType: the operator's own identity is for a ClusterSecretProvider only")
    if isinstance(config.login, azure.TenantLogin) and around.home is None:
        raise Rejected("spec.provider.azureKeyVault.serviceAccountRef: its token is made by the operator in its cluster; use authSecretRef")
    rules = around.addresses if kind is Kind.SECRET_PROVIDER else None
    road = Road(f".{config.vault.partition('.')[2]}", rules, namespace)
    entrance = Entrance(config, around.references, around.home.tokens if around.home else None, road)
    opened = AzureWriter if access is Access.READ_WRITE else AzureProvider
    return opened(Session(config, entrance, road), around.room, namespace or config.vault)


def _google(config: GoogleConfig, kind: Kind, namespace: str, around: Surroundings, access: Access) -> Provider:
    # As it is imported gRPC looks whether it may write to standard error by itself, past our log, when a server ends a connection.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from keyturn.providers.google_open import opened

    login, is_tenants = config.login, kind is Kind.SECRET_PROVIDER
    if isinstance(login, AmbientLogin | FileLogin) and is_tenants:
        raise Rejected("spec.provider.googleSecretManager.auth: the operator's own identity is for a ClusterSecretProvider only; add auth")
    if isinstance(login, ConfigLogin) and login.endpoint:
        field = "spec.provider.googleSecretManager.auth.workloadIdentityFederation.externalTokenEndpoint"
        check_scheme(field, login.endpoint.partition("?")[0], around.addresses)
    rules, tokens = around.addresses if is_tenants else None, around.home.tokens if around.home else None
    return opened(config, around.google, rules, around.references, tokens, around.room, namespace, may_write=access is Access.READ_WRITE)
