"""A Secret as the API server keeps it: values, and who holds which field.

The rules are the API server's, seen on a real one: a manager's Apply and Update entries are two
holders; an apply takes away what its own Apply entry held before and nobody else holds; a change
by update takes the field from all others; an apply onto an object without managedFields first
gives all that stands to ``before-first-apply``; until then no update of it is tracked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from keyturn.model.ids import CHANGED_AT_ANNOTATION, SecretRef
from keyturn.model.plan import Desired, Fields, Live, Owner
from keyturn.model.sensitive import Sensitive

Path = tuple[str, str]
"""``("data", key)``, ``("labels", key)``, ``("annotations", key)``, ``("owners", uid)`` or ``("type", "")``."""

Holder = tuple[str, str]
"""A field manager and its operation, ``Apply`` or ``Update``."""

BEFORE_FIRST_APPLY: Holder = ("before-first-apply", "Update")


def fields_of(desired: Desired, changed_at: str) -> dict[Path, object]:
    """The fields that a create or an apply of ``desired`` sends."""
    annotations = {**desired.annotations, CHANGED_AT_ANNOTATION: changed_at}
    sent: dict[Path, object] = {("type", ""): desired.type}
    sent |= {("data", key): value for key, value in desired.data.items()}
    sent |= {("labels", key): value for key, value in desired.labels.items()}
    sent |= {("annotations", key): value for key, value in annotations.items()}
    return sent | ({("owners", desired.owner.uid): desired.owner} if desired.owner else {})


@dataclass(slots=True)
class FakeSecret:
    """One incarnation of a Secret. Each change returns whether anything moved, as a resourceVersion would."""

    ref: SecretRef
    uid: str
    values: dict[Path, object] = field(default_factory=dict)
    holders: dict[Holder, set[Path]] = field(default_factory=dict)
    version: int = 1
    created: datetime | None = None
    finalizers: tuple[str, ...] = ()
    deleting: bool = False

    @classmethod
    def posted(cls, ref: SecretRef, uid: str, manager: str, values: Mapping[Path, object], created: datetime | None = None) -> "FakeSecret":
        """As it is after a POST, which makes an Update entry, also for a manager that applies later."""
        return cls(ref, uid, dict(values), {(manager, "Update"): set(values)}, created=created)

    @property
    def type(self) -> str:
        return str(self.values.get(("type", ""), "Opaque"))

    @property
    def data(self) -> dict[str, Sensitive]:
        return {name: cast("Sensitive", value) for name, value in self._group("data").items()}

    @property
    def labels(self) -> dict[str, str]:
        return {name: str(value) for name, value in self._group("labels").items()}

    @property
    def annotations(self) -> dict[str, str]:
        return {name: str(value) for name, value in self._group("annotations").items()}

    @property
    def owners(self) -> tuple[Owner, ...]:
        return tuple(cast("Owner", value) for value in self._group("owners").values())

    def apply(self, manager: str, sent: Mapping[Path, object]) -> bool:
        """A forced server-side apply."""
        before = self._state()
        if not self.holders:
            self.holders[BEFORE_FIRST_APPLY] = set(self.values)
        me: Holder = (manager, "Apply")
        for path, value in sent.items():
            if path in self.values and self.values[path] != value:
                self._release(path, besides=me)
            self.values[path] = value
        for path in self.holders.get(me, set()) - sent.keys():
            if not any(path in held for holder, held in self.holders.items() if holder != me):
                self.values.pop(path, None)
        self.holders[me] = set(sent)
        return self._moved(before)

    def update(self, manager: str, changes: Mapping[Path, object]) -> bool:
        """A PUT or PATCH by ``manager``; a value of None takes the field away. What does not change stays whose it was."""
        before, is_tracked = self._state(), bool(self.holders)
        for path, value in changes.items():
            if value is None:
                if self.values.pop(path, None) is not None:
                    self._release(path)
            elif path not in self.values or self.values[path] != value:
                self._release(path)
                self.values[path] = value
                if is_tracked:
                    self.holders.setdefault((manager, "Update"), set()).add(path)
        return self._moved(before)

    def co_own(self, manager: str, paths: Iterable[Path]) -> bool:
        """Another manager applies the same values, and holds these fields as well from now on."""
        before = self._state()
        if not self.holders:
            self.holders[BEFORE_FIRST_APPLY] = set(self.values)
        self.holders.setdefault((manager, "Apply"), set()).update(path for path in paths if path in self.values)
        return self._moved(before)

    def strip_managed_fields(self) -> bool:
        """Somebody sends ``managedFields: [{}]``: nobody holds anything any more."""
        before = self._state()
        self.holders.clear()
        return self._moved(before)

    def live(self) -> Live:
        """Its metadata, as a watch or an answer brings them."""
        managers: dict[str, Fields] = {}
        for (manager, _), held in self.holders.items():
            managers[manager] = managers.get(manager, Fields()) | _grouped(held)
        return Live(
            ref=self.ref,
            uid=self.uid,
            resource_version=str(self.version),
            labels=self.labels,
            annotations=self.annotations,
            owners=self.owners,
            managers=managers,
            created=self.created,
            deleting=self.deleting,
        )

    def _group(self, kind: str) -> dict[str, object]:
        return {name: value for (group, name), value in self.values.items() if group == kind}

    def _release(self, path: Path, besides: Holder | None = None) -> None:
        for holder in list(self.holders):
            if holder != besides:
                self.holders[holder].discard(path)
                if not self.holders[holder]:
                    del self.holders[holder]

    def _state(self) -> tuple[dict[Path, object], dict[Holder, frozenset[Path]]]:
        return dict(self.values), {holder: frozenset(held) for holder, held in self.holders.items()}

    def _moved(self, before: tuple[dict[Path, object], dict[Holder, frozenset[Path]]]) -> bool:
        return before != self._state()


def _grouped(held: Iterable[Path]) -> Fields:
    paths = set(held)
    names = {kind: frozenset(name for group, name in paths if group == kind) for kind in ("data", "labels", "annotations")}
    return Fields(**names)
