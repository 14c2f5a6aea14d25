"""What the fake provider holds: versions, which of them is which stage, and what was deleted. As strict as real stores are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from keyturn.model.errors import Conflict, Invalid, NotFound
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, SourceRef, Value, Version
from keyturn.model.sensitive import Sensitive


@dataclass(slots=True)
class Kept:
    """One version. Of one that is deleted, the value is here and is not read."""

    data: Sensitive
    token: str = ""
    created: datetime | None = None
    is_deleted: bool = False


@dataclass(slots=True)
class Held:
    """One key. ``buried`` has the stages and ``fallen`` the versions that a deletion took; ``last`` never goes back."""

    versions: dict[str, Kept] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    buried: dict[str, str] = field(default_factory=dict)
    fallen: list[Kept] = field(default_factory=list)
    last: int = 0

    def move(self, stage: str, name: str) -> None:
        """From now on this stage is that version."""
        if stage == CURRENT and self.stages.get(CURRENT, name) != name:
            self.stages[PREVIOUS] = self.stages[CURRENT]
        self.stages[stage] = name
        if stage == CURRENT and self.stages.get(PENDING) == name:
            del self.stages[PENDING]

    def next_name(self) -> str:
        self.last += 1
        return str(self.last) if str(self.last) not in self.versions else self.next_name()


@dataclass(slots=True)
class Store:
    """All keys, also those that were purged: their numbers go on."""

    keys: dict[str, Held] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Mapping[SourceRef, Sensitive]) -> Self:
        """Values as an object has them; the version without a name is the newest."""
        store = cls()
        for ref, secret in data.items():
            held = store.keys.setdefault(ref.key, Held())
            held.versions[ref.version] = Kept(secret)
            if held.stages.get(CURRENT) != "":
                held.stages[CURRENT] = ref.version
        return store

    def read(self, ref: SourceRef) -> Value | None:
        """A version or a stage; None where that is not there."""
        held = self.keys.get(ref.key, Held())
        name = ref.version if ref.version and ref.version in held.versions else held.stages.get(ref.version or CURRENT)
        if name is None or (kept := held.versions[name]).is_deleted:
            return None
        return Value(kept.data, name, kept.created)

    def put(self, key: str, data: Sensitive, token: str, expect: str | None, stage: str, tags: Mapping[str, str] | None) -> str:
        """As the port `Writer` has it; so are the others."""
        if not key.isprintable() or not key or not 32 <= len(token) <= 64 or stage not in {CURRENT, PENDING}:
            raise Invalid("a put needs a key of printable characters, a token of 32 to 64, and the stage current or pending")
        held = self.keys.get(key, Held())
        for name, kept in held.versions.items():
            if kept.token == token and kept.data != data:
                raise Conflict(f"another value was put to {key} with the same token")
            if kept.token == token:
                return name
        if expect is not None and (expect or None) != held.stages.get(CURRENT):
            raise Conflict(f"the version of {key} that is current is not the one that was expected")
        self.keys[key] = held
        name = held.next_name()
        held.versions[name] = Kept(data, token, datetime.now(UTC))
        held.move(stage, name)
        held.buried, held.fallen = {}, []
        held.tags = held.tags if tags is None else dict(tags)
        return name

    def promote(self, key: str, version: str) -> None:
        held = self._there(key)
        if version not in held.versions or held.versions[version].is_deleted:
            raise NotFound(f"the fake provider holds no {SourceRef(key, version)}")
        held.move(CURRENT, version)

    def versions(self, key: str) -> Sequence[Version]:
        held = self._there(key)
        stages = {name: frozenset(stage for stage, at in held.stages.items() if at == name) for name in held.versions}
        return [
            Version(name, stages[name], kept.created, not kept.is_deleted, kept.token) for name, kept in reversed(held.versions.items())
        ]

    def delete(self, key: str, *, purge: bool) -> None:
        held = self.keys.get(key, Held())
        if held.stages:
            held.buried, held.stages = held.stages, {}
            held.fallen = [kept for kept in held.versions.values() if not kept.is_deleted]
        for kept in held.fallen:
            kept.is_deleted = True
        if purge:
            held.versions, held.buried, held.tags, held.fallen = {}, {}, {}, []

    def undelete(self, key: str) -> None:
        held = self._there(key)
        if held.buried:
            held.stages, held.buried = held.buried, {}
            for kept in held.fallen:
                kept.is_deleted = False

    def _there(self, key: str) -> Held:
        if not (held := self.keys.get(key)) or not held.versions:
            raise NotFound(f"the fake provider holds no {key}")
        return held
