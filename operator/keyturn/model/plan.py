"""A Secret as it stands, as it should be, and the step between the two.

The same `Plan` is written to the audit trail and applied, so what is audited is what is done.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from keyturn.model.ids import OWNER_ANNOTATION, REVISION_ANNOTATION, SecretRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.status import SourceStatus


@dataclass(frozen=True, slots=True)
class Owner:
    """One ownerReference, as far as it matters here."""

    kind: str
    name: str
    uid: str
    controller: bool = False
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a Secret that one manager holds, by managedFields."""

    data: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()

    def __or__(self, other: "Fields") -> "Fields":
        return Fields(self.data | other.data, self.labels | other.labels, self.annotations | other.annotations)


@dataclass(frozen=True, slots=True)
class Live:
    """A Secret's metadata as last seen. Its data are not here: managedFields alone show drift (cluster rule 10).

    ``is_cut``: others put more there than is kept here. Whatever one of ours is not seen of may stand all the same.
    """

    ref: SecretRef
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owners: tuple[Owner, ...]
    managers: Mapping[str, Fields]
    created: datetime | None = None
    deleting: bool = False
    is_cut: bool = False

    @property
    def revision(self) -> str:
        """The revision in our mark, '' without one."""
        return self.annotations.get(REVISION_ANNOTATION, "")

    @property
    def marked_owner(self) -> str:
        """The ManagedSecret that the owner mark names, '' without one."""
        return self.annotations.get(OWNER_ANNOTATION, "")

    def fields_of(self, manager: str) -> Fields:
        """What that manager holds, over its Apply and its Update entry."""
        return self.managers.get(manager, Fields())

    def holders(self, key: str, besides: str) -> list[str]:
        """Other managers that hold this data key."""
        return sorted(name for name, fields in self.managers.items() if name != besides and key in fields.data)

    @property
    def standing_keys(self) -> frozenset[str]:
        """Every data key that anybody holds, as far as it is kept."""
        return frozenset().union(*(f.data for f in self.managers.values()))

    def may_have(self, names: AbstractSet[str], seen: AbstractSet[str]) -> frozenset[str]:
        """Which of these names stand, or may stand, where those of their sort that are ``seen`` do."""
        return frozenset(names if self.is_cut else names & seen)


@dataclass(frozen=True, slots=True)
class Desired:
    """The Secret as ordered: our fields alone, with all marks but changed-at."""

    ref: SecretRef
    type: str
    data: Mapping[str, Sensitive]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    revision: str
    owner: Owner | None
    manager: str
    sources: tuple[SourceStatus, ...] = ()


class Action(StrEnum):
    """What a plan does to the Secret."""

    NOTHING = "nothing"
    CREATE = "create"
    RECREATE = "recreate"
    CHANGE = "change"
    ADOPT = "adopt"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Leftover:
    """What we wrote once and no longer want: it has to go, whoever else holds it by now (cluster rule 3)."""

    data: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.data or self.labels or self.annotations)

    def standing_in(self, live: Live) -> "Leftover":
        """What of it still stands there, or may, whoever holds it."""
        return Leftover(
            live.may_have(self.data, live.standing_keys),
            live.may_have(self.labels, live.labels.keys()),
            live.may_have(self.annotations, live.annotations.keys()),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """One step towards what is ordered.

    ``once_ours`` is everything that we are known to have written to it before; ``is_drift`` says
    that the order did not change and somebody else's hand is undone; ``retire`` is a former
    target that goes when the new one stands. ``if_type_differs``: all that metadata show is as ordered
    already, and they do not show the type.
    """

    action: Action
    desired: Desired | None = None
    live: Live | None = None
    once_ours: Leftover = field(default_factory=Leftover)
    is_drift: bool = False
    needs_owner_alive: bool = False
    if_type_differs: bool = False
    retire: Live | None = None
    taken_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> SecretRef | None:
        return self.desired.ref if self.desired else self.live.ref if self.live else None
