"""Names of things: which object, which kind. Nothing here knows what an object holds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

GROUP = "keyturn.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

MANAGED_LABEL = f"{GROUP}/managed"
OWNER_ANNOTATION = f"{GROUP}/owner"
CLASS_ANNOTATION = f"{GROUP}/class"
REVISION_ANNOTATION = f"{GROUP}/revision"
SOURCE_ANNOTATION = f"{GROUP}/source"
CHANGED_AT_ANNOTATION = f"{GROUP}/changed-at"
RECONCILE_ANNOTATION = f"{GROUP}/reconcile-requested-at"
AUDIT_HEAD_ANNOTATION = f"{GROUP}/audit-head"
ROTATE_ANNOTATION = f"{GROUP}/rotate-requested-at"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "keyturn"


class Kind(StrEnum):
    """The kinds that the operator keeps in its cache; the value is the Kubernetes kind."""

    MANAGED_SECRET = "ManagedSecret"
    SECRET_PROVIDER = "SecretProvider"
    CLUSTER_SECRET_PROVIDER = "ClusterSecretProvider"

    @property
    def plural(self) -> str:
        """The resource name in URLs and in RBAC."""
        return f"{self.value.lower()}s"

    @property
    def is_namespaced(self) -> bool:
        return self is not Kind.CLUSTER_SECRET_PROVIDER


READER: Final = "*"
"""Stands where a name is left open: it is that of the namespace that reads, which can never be called so."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """One object of ours by name; it says nothing of which incarnation (that is its uid).

    ``namespace`` is empty for cluster-scoped kinds, but for a provider whose log-in is that of whoever reads: with a namespace
    it is that provider as this namespace reads by it, and shares nothing with what others do.
    """

    kind: Kind
    namespace: str
    name: str

    @property
    def reader(self) -> str:
        """The namespace for which alone a provider of the cluster is meant; '' for everything else."""
        return "" if self.kind.is_namespaced else self.namespace

    def holds(self, other: "ObjectRef") -> bool:
        """Whether ``other`` is this object, or this object as some namespace reads by it."""
        return (self.kind, self.name) == (other.kind, other.name) and self.namespace in ("", other.namespace)

    def __str__(self) -> str:
        if not self.name:
            return "default"
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


DEFAULT_PROVIDER: Final = ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "", "")
"""The default provider. No object of Kubernetes stands for it, and none can be called so."""


@dataclass(frozen=True, slots=True, order=True)
class SecretRef:
    """A core Secret by name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"Secret/{self.namespace}/{self.name}"


class Carrier(StrEnum):
    """The core kinds that hold what provider objects refer to; the value is the Kubernetes kind.

    The last two are no kinds, and hold what the default provider refers to, and nobody else.
    """

    SECRET = "Secret"
    CONFIG_MAP = "ConfigMap"
    ENVIRONMENT = "the environment"
    FILE = "the file"

    @property
    def plural(self) -> str:
        """The resource name in URLs and in RBAC."""
        return f"{self.value.lower()}s"


@dataclass(frozen=True, slots=True, order=True)
class KeyRef:
    """One key of a Secret or ConfigMap that a provider object refers to: a credential, or certificates to trust.

    Of the default provider, ``key`` is a variable, and ``name`` the file that it names, if it names one.
    """

    carrier: Carrier
    namespace: str
    name: str
    key: str

    def __str__(self) -> str:
        if not self.namespace:
            return f"{self.carrier} {self.name}".rstrip()
        return f"{self.carrier}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A client certificate and its private key, both PEM."""

    certificate: KeyRef
    key: KeyRef
