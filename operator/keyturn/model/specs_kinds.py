"""The kinds as whole objects: spec and status together, as a CRD describes them."""

from pydantic import Field, JsonValue

from keyturn.model.ids import Kind
from keyturn.model.specs import ManagedSecretSpec
from keyturn.model.specs_base import Rule, Spec
from keyturn.model.specs_provider import ClusterSecretProviderSpec, SecretProviderSpec
from keyturn.model.specs_status import ManagedSecretStatus, ProviderStatus
from keyturn.model.specs_target import RESERVED_NAME

# kstatus takes an object without a status for finished; so it is "not looked at yet" from its first instant, at no write.
_UNSEEN: dict[str, JsonValue] = {"default": {"observedGeneration": -1}}


class ManagedSecret(Spec):
    """Says which provider values become which Kubernetes Secret of its namespace, and keeps it so."""

    spec: ManagedSecretSpec
    """What is wanted."""

    status: ManagedSecretStatus | None = Field(default=None, json_schema_extra=_UNSEEN)
    """What the operator last did. Users never write it."""

    rules = (
        Rule(
            f"(has(self.spec.target) && has(self.spec.target.name)) || !self.metadata.name.startsWith('{RESERVED_NAME}')",
            "metadata.name: names that begin with keyturn- are the operator's own; set spec.target.name to another name",
            lambda _whole: True,
        ),
    )


class SecretProvider(Spec):
    """A provider of secrets and how to log in to it, for its own namespace."""

    spec: SecretProviderSpec
    """What is wanted."""

    status: ProviderStatus | None = Field(default=None, json_schema_extra=_UNSEEN)
    """What the operator last learnt. Users never write it."""


class ClusterSecretProvider(Spec):
    """A provider of secrets and how to log in to it, for the namespaces that it admits."""

    spec: ClusterSecretProviderSpec
    """What is wanted."""

    status: ProviderStatus | None = Field(default=None, json_schema_extra=_UNSEEN)
    """What the operator last learnt. Users never write it."""


MODELS: dict[Kind, type[Spec]] = {
    Kind.MANAGED_SECRET: ManagedSecret,
    Kind.SECRET_PROVIDER: SecretProvider,
    Kind.CLUSTER_SECRET_PROVIDER: ClusterSecretProvider,
}
