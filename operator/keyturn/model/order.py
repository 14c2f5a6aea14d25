"""What users ask for, parsed: a ManagedSecret's spec as an `Order`, a provider object's as a `ProviderOrder`.

Defaults are applied here, not in the schema: the API server must never rewrite what a user wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from keyturn.model.aws import AwsConfig
from keyturn.model.azure import AzureConfig
from keyturn.model.database import DatabaseConfig
from keyturn.model.errors import ProviderError
from keyturn.model.google import GoogleConfig
from keyturn.model.ids import DEFAULT_PROVIDER, KeyRef, Kind, ObjectRef
from keyturn.model.kubernetes import KubernetesConfig
from keyturn.model.material import SourceRef, Value
from keyturn.model.reader import Reader, as_read_by, depends_on_reader
from keyturn.model.sensitive import Sensitive
from keyturn.model.vault import VaultConfig

DEFAULT_INTERVAL_S = 3600.0
DEFAULT_SECRET_TYPE = "Opaque"
ENV_PREFIX = "KEYTURN_SECRET_"


class CreationPolicy(StrEnum):
    OWNER = "Owner"
    ORPHAN = "Orphan"


class DeletionPolicy(StrEnum):
    RETAIN = "Retain"
    DELETE = "Delete"


class RefreshPolicy(StrEnum):
    PERIODIC = "Periodic"
    ON_CHANGE = "OnChange"
    CREATED_ONCE = "CreatedOnce"


class Decoding(StrEnum):
    NONE = "None"
    BASE64 = "Base64"
    BASE64_URL = "Base64URL"
    AUTO = "Auto"


class Access(StrEnum):
    READ_ONLY = "ReadOnly"
    READ_WRITE = "ReadWrite"


@dataclass(frozen=True, slots=True, order=True)
class ProviderRef:
    """The provider that a spec names; for the kind SecretProvider it is of the same namespace."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def provider_ref(ref: ProviderRef | None, namespace: str) -> ObjectRef:
    """The object behind a providerRef: a SecretProvider is always of the same namespace, and no providerRef means the default provider."""
    if ref is None:
        return DEFAULT_PROVIDER
    return ObjectRef(ref.kind, namespace if ref.kind is Kind.SECRET_PROVIDER else "", ref.name)


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the target and where its value comes from. ``provider`` None is the default provider.

    ``field`` is the path of the entry in the spec, for messages: ``spec.data[0]``.
    """

    secret_key: str
    provider: ProviderRef | None
    source: SourceRef
    property: str = ""
    decoding: Decoding = Decoding.NONE
    optional: bool = False
    default: str | None = None
    field: str = ""


Material = Mapping[tuple[ProviderRef | None, SourceRef], Value | ProviderError]
"""What providers gave for the sources of an order, or what stands for it."""


@dataclass(frozen=True, slots=True)
class Target:
    """The Secret that an order describes."""

    name: str
    type: str = DEFAULT_SECRET_TYPE
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    creation: CreationPolicy = CreationPolicy.OWNER
    deletion: DeletionPolicy = DeletionPolicy.RETAIN
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A ManagedSecret's spec. ``interval_s`` 0 means once, and again at each change of the spec."""

    entries: tuple[Entry, ...]
    target: Target
    refresh: RefreshPolicy = RefreshPolicy.PERIODIC
    interval_s: float = DEFAULT_INTERVAL_S
    suspend: bool = False

    def providers(self, namespace: str) -> tuple[ObjectRef, ...]:
        """The providers that it draws on, in the order of the spec and without repeats."""
        return tuple(dict.fromkeys(provider_ref(entry.provider, namespace) for entry in self.entries))


@dataclass(frozen=True, slots=True)
class Selector:
    """A Kubernetes label selector: ``expressions`` holds (key, operator, values)."""

    labels: Mapping[str, str] = field(default_factory=dict)
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """One item of a ClusterSecretProvider's conditions: which namespaces it admits, and with what access.

    A namespace is admitted when any of the three says so; a selector of None says nothing.
    """

    namespaces: frozenset[str] = frozenset()
    selector: Selector | None = None
    regexes: tuple[str, ...] = ()
    access: Access = Access.READ_ONLY


NOBODY: Final = Admission()
"""Admits no namespace."""


@dataclass(frozen=True, slots=True)
class EnvConfig:
    prefix: str = ENV_PREFIX


class FileFormat(StrEnum):
    DIRECTORY = "Directory"
    JSON = "JSON"
    YAML = "YAML"
    DOTENV = "Dotenv"


@dataclass(frozen=True, slots=True)
class FileConfig:
    path: str
    format: FileFormat = FileFormat.DIRECTORY


@dataclass(frozen=True, slots=True)
class FakeConfig:
    """``data`` maps (key, version) to the value; version '' is the newest."""

    data: Mapping[SourceRef, Sensitive]


ConfigWithLogin = VaultConfig | KubernetesConfig | DatabaseConfig | AzureConfig | AwsConfig | GoogleConfig
ProviderConfig = EnvConfig | FileConfig | FakeConfig | ConfigWithLogin


@dataclass(frozen=True, slots=True)
class ProviderOrder:
    """A provider object's spec. ``admissions`` empty = every namespace (only for the cluster kind).

    ``member`` is what the API calls its kind of provider, '' for one that stands in no object. ``is_per_reader``: its log-in is
    left open until it is known which namespace reads. Found once: it is asked for in every sync.
    """

    config: ProviderConfig
    access: Access = Access.READ_ONLY
    admissions: tuple[Admission, ...] = ()
    controller_class: str = ""
    member: str = ""
    is_per_reader: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_per_reader", depends_on_reader(self.config))

    def read_by(self, reader: Reader) -> "ProviderOrder":
        """The order for this reader, with nothing left open. Raises `Unavailable`."""
        return replace(self, config=as_read_by(self.config, reader))

    @property
    def is_open(self) -> bool:
        """Whether there can be a namespace that it admits."""
        return not self.admissions or any(item != NOBODY for item in self.admissions)

    @property
    def references(self) -> frozenset[KeyRef]:
        """What in Secrets and ConfigMaps the provider needs to log in: it follows their changes."""
        return self.config.references if isinstance(self.config, ConfigWithLogin) else frozenset()
