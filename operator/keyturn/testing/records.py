"""What happened, in the order in which it happened: one tape for all fakes of a world."""

from collections.abc import Callable
from dataclasses import dataclass, field

from keyturn.model.audit import AuditEntry, Findings, Outcome
from keyturn.model.errors import AuditUnavailable
from keyturn.model.ids import ObjectRef
from keyturn.model.objects import Managed, ProviderObject

WRITES = ("create", "apply", "strip", "delete", "status")
READS = ("look", "read", "alive")


@dataclass(slots=True)
class Tape:
    """Effects as lines of a verb and what it was done to: ``create Secret/shop/app-db``."""

    lines: list[str] = field(default_factory=list)

    def note(self, verb: str, what: object) -> None:
        self.lines.append(f"{verb} {what}")

    def only(self, *verbs: str) -> list[str]:
        """The lines with one of these verbs."""
        return [line for line in self.lines if line.split(" ", 1)[0] in verbs]

    @property
    def writes(self) -> list[str]:
        """Writes to Secrets and ManagedSecrets."""
        return self.only(*WRITES)

    @property
    def reads(self) -> list[str]:
        """Reads from the API server."""
        return self.only(*READS)

    def rewind(self) -> None:
        """Forgets all lines."""
        self.lines.clear()


@dataclass(slots=True)
class RecordingAudit:
    """An audit trail in memory; ``is_down`` refuses intents. ``open_intents`` are those without a settlement."""

    tape: Tape
    is_down: bool = False
    is_down_for: Callable[[AuditEntry], bool] = lambda _: False
    entries: list[tuple[AuditEntry, Outcome | None, str]] = field(default_factory=list)

    async def intend(self, entry: AuditEntry) -> str:
        if self.is_down or self.is_down_for(entry):
            raise AuditUnavailable("the audit trail takes no entry")
        self.tape.note("intend", f"{entry.action} {entry.target}")
        self.entries.append((entry, None, ""))
        return str(len(self.entries) - 1)

    async def settle(self, intent: str, outcome: Outcome, reason: str = "", found: Findings | None = None) -> None:
        entry, before, _ = self.entries[int(intent)]
        entry = found.of(entry) if found else entry
        assert before is None, f"{entry.action} was settled twice"
        self.tape.note("settle", f"{entry.action} {outcome}")
        self.entries[int(intent)] = (entry, outcome, reason)

    def record(self, entry: AuditEntry, outcome: Outcome, reason: str = "") -> None:
        self.tape.note("record", f"{entry.action} {outcome}")
        self.entries.append((entry, outcome, reason))

    @property
    def open_intents(self) -> list[str]:
        return [entry.action for entry, outcome, _ in self.entries if outcome is None]


@dataclass(slots=True)
class RecordingEvents:
    """Kubernetes events as (kind, reason, note), also on the tape."""

    tape: Tape
    posted: list[tuple[str, str, str]] = field(default_factory=list)
    _about: list[ObjectRef] = field(default_factory=list)

    def post(self, about: Managed | ProviderObject, kind: str, reason: str, note: str) -> None:
        self.tape.note("event", f"{about.ref.name} {kind} {reason}")
        self.posted.append((kind, reason, note))
        self._about.append(about.ref)

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.posted]

    def of(self, about: ObjectRef) -> list[str]:
        """The reasons told on one object."""
        return [reason for ref, reason in zip(self._about, self.reasons, strict=True) if ref == about]


@dataclass(slots=True)
class Counts:
    """Telemetry as plain lists."""

    outcomes: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    lanes: list[str] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)

    def synced(self, outcome: str, seconds: float) -> None:
        _ = seconds
        self.outcomes.append(outcome)

    def waited(self, lane: str, seconds: float) -> None:
        _ = seconds
        self.lanes.append(lane)

    def passed(self, phase: str, seconds: float) -> None:
        _ = seconds
        self.phases.append(phase)

    def wrote(self, what: str) -> None:
        self.writes.append(what)

    def called(self, provider: str, call: str, result: str, seconds: float) -> None:
        _ = seconds
        self.calls.append(f"{provider} {call} {result}")
