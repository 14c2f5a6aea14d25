"""Our own objects as the cache holds them: parsed once when they arrive, read by every step after that."""

from dataclasses import dataclass, replace

from keyturn.model.errors import Rejected
from keyturn.model.ids import API_VERSION, Kind, ObjectRef, SecretRef
from keyturn.model.order import Order, ProviderOrder
from keyturn.model.plan import Owner
from keyturn.model.reader import Reader
from keyturn.model.status import ProviderStatus, Status


@dataclass(frozen=True, slots=True)
class Managed:
    """A ManagedSecret. ``order`` is the `Rejected` itself where the spec cannot be parsed."""

    ref: ObjectRef
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    order: Order | Rejected
    status: Status
    reconcile_token: str = ""

    @property
    def target(self) -> SecretRef | None:
        """The Secret that the order describes, where there is an order."""
        return None if isinstance(self.order, Rejected) else SecretRef(self.ref.namespace, self.order.target.name)

    @property
    def as_owner(self) -> Owner:
        """Ourselves as an ownerReference, without ``controller`` and ``blockOwnerDeletion`` (cluster rule 4)."""
        return Owner(Kind.MANAGED_SECRET, self.ref.name, self.uid, api_version=API_VERSION)

    @property
    def is_asked(self) -> bool:
        """Somebody asked by annotation for a look at the sources, and had no answer yet."""
        return self.reconcile_token != self.status.handled_reconcile

    @property
    def is_synced(self) -> bool:
        """Something was written and stands, as far as we know."""
        return self.status.target is not None


@dataclass(frozen=True, slots=True)
class ProviderObject:
    """A SecretProvider or ClusterSecretProvider."""

    ref: ObjectRef
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    order: ProviderOrder | Rejected
    status: ProviderStatus

    @property
    def is_per_reader(self) -> bool:
        """Whether it logs in for each namespace that reads in another way, so that it can be used as `read_by` one alone."""
        return isinstance(self.order, ProviderOrder) and self.order.is_per_reader

    def read_by(self, reader: Reader) -> "ProviderObject":
        """The provider for this reader: itself, where the log-in is the same for all. Raises `Unavailable`."""
        if not isinstance(self.order, ProviderOrder) or not self.order.is_per_reader:
            return self
        return replace(self, ref=replace(self.ref, namespace=reader.namespace), order=self.order.read_by(reader))

    def is_same_order(self, other: "ProviderObject") -> bool:
        """Whether the two are one incarnation with one spec."""
        return (self.uid, self.generation) == (other.uid, other.generation)


Cached = Managed | ProviderObject
