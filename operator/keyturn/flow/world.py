"""All that a sync needs from outside, in one place, and what the running process remembers of each object."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from keyturn.decide.admit import Limits
from keyturn.decide.fingerprint import FingerprintKey
from keyturn.decide.judge import Patience, Record
from keyturn.decide.story import Marks
from keyturn.flow.budgets import Budget, Budgets, Own
from keyturn.flow.denials import Denials
from keyturn.flow.refresher import Refresher
from keyturn.flow.workqueue import WorkQueue
from keyturn.model.errors import FingerprintKeyChanged
from keyturn.model.ids import ObjectRef
from keyturn.ports import AuditLog, Clock, EventStream, Fence, Objects, SecretReader, SecretWriter, Statuses, Telemetry

SPECS_OF_OBJECT: Final = Budget(10, 60)
SPECS_OF_NAMESPACE: Final = Budget(1000, 6)
"""How many specs of SecretProviders are looked at: each is a log-in, and some rows of the audit trail."""


@dataclass(slots=True)
class Memory:
    """What is remembered of one object between two syncs; lost at a restart, and nothing wrong comes of that.

    ``marks`` are of the values that the Secret holds, where this process wrote or saw them; ``denied`` is what the audit trail was told
    last of why it may not have what it asks for, and ``generation`` of which spec of a provider. ``has_acted``: there may be a Secret.
    """

    uid: str
    is_dirty: bool = False
    must_look: bool = False
    attempts: int = 0
    failing_reason: str = ""
    failing_since: datetime | None = None
    told: str = ""
    unsaid: int = 0
    takes: dict[str, tuple[datetime, ...]] = field(default_factory=dict)
    marks: Marks | None = None
    denied: str = ""
    denials: Own = field(default_factory=Own)
    specs: Own = field(default_factory=Own)
    generation: int = -1
    has_acted: bool = False

    def note_success(self) -> None:
        """``is_dirty`` stays: it may tell of what changed while the work was done."""
        self.must_look = False
        self.attempts, self.failing_reason, self.failing_since, self.told, self.denied = 0, "", None, "", ""

    def note_failure(self, reason: str, now: datetime) -> None:
        if reason != self.failing_reason:
            self.attempts, self.failing_reason, self.failing_since = 0, reason, now
        self.attempts += 1

    def record(self, last_good: datetime, now: datetime) -> Record:
        """As the judge wants it; ``last_good`` is when the sources were last read well: a sync out of the cache is no read."""
        return Record(last_good, self.failing_since or now, self.attempts)


@dataclass(slots=True)
class KeyHolder:
    """The fingerprint key, once it is loaded and trusted."""

    key: FingerprintKey | None = None
    problem: str = "the fingerprint key is not loaded yet"

    def get(self) -> FingerprintKey:
        """Raises `FingerprintKeyChanged` while no Secret may be written."""
        if self.key is None or self.problem:
            raise FingerprintKeyChanged(self.problem)
        return self.key


@dataclass(slots=True)
class World:
    """The ports, the settings that decisions take, and the memories. Made once, by ``app``.

    ``cluster_id`` gives what a `Reader` is told apart from those of other clusters by, '' where that is not known.
    """

    objects: Objects
    statuses: Statuses
    reader: SecretReader
    writer: SecretWriter
    refresher: Refresher
    audit: AuditLog
    events: EventStream
    telemetry: Telemetry
    clock: Clock
    fence: Fence
    queue: WorkQueue
    limits: Limits
    patience: Patience
    entropy: Callable[[], float]
    started: datetime
    controller_class: str = ""
    cluster_id: Callable[[], str] = lambda: ""
    fingerprint: KeyHolder = field(default_factory=KeyHolder)
    mark_key: bytes = field(default_factory=partial(secrets.token_bytes, 32))
    denials: Denials = field(default_factory=Denials)
    specs: Budgets = field(default_factory=lambda: Budgets(SPECS_OF_OBJECT, SPECS_OF_NAMESPACE))
    memories: dict[ObjectRef, Memory] = field(default_factory=dict)

    def memory(self, ref: ObjectRef, uid: str) -> Memory:
        """The memory of this incarnation; a successor of the same name starts anew."""
        memory = self.memories.get(ref)
        if memory is None or memory.uid != uid:
            memory = self.memories[ref] = Memory(uid)
        return memory

    def mark_dirty(self, ref: ObjectRef) -> None:
        """Something that the object draws on may have changed: its next sync reads its sources."""
        managed = self.objects.managed(ref)
        if managed is not None:
            self.memory(ref, managed.uid).is_dirty = True

    def forget(self, ref: ObjectRef) -> None:
        """The object is gone."""
        self.memories.pop(ref, None)
        self.refresher.forget(ref)
        self.queue.forget(ref)
