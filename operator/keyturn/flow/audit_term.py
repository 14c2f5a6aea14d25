"""What whoever acts alone owes the audit trail in each of its terms: before the first effect, and to whoever comes after."""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyturn.flow.audit_rows import Trail
from keyturn.model.audit import AuditEntry, AuditRow, Head, Outcome, Term
from keyturn.model.errors import AuditUnavailable, NotLeading
from keyturn.ports import Clock

NOT_OURS: Final = "another replica leads, or may do so in a moment"


Look = Callable[[], Awaitable[Sequence[Head]]]
"""Gives ends that the trail lacks, by what else knows of them."""


async def nothing() -> Sequence[Head]:
    """Nobody knows of any."""
    return ()


@dataclass(slots=True)
class Actor:
    """Who acts. Its rows are told by their ids, which begin with `mark`: by those of all who ever were in its ``office``, '' for none,
    and by those of this process among them.
    """

    kind: str
    name: str
    clock: Clock
    office: str = ""
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    _serial: int = 0

    @property
    def office_mark(self) -> str:
        """What ids of rows begin with that somebody in our office made."""
        return f"{hashlib.sha256(self.office.encode()).hexdigest()[:8]}." if self.office else ""

    @property
    def mark(self) -> str:
        """What ids of rows begin with that this process made."""
        return f"{self.office_mark}{self.epoch}-"

    def row(self, entry: AuditEntry, settles: str = "", outcome: str = "", reason: str = "") -> AuditRow:
        """A new row of ours."""
        self._serial += 1
        return AuditRow(
            f"{self.mark}{self._serial}",
            self.clock.now(),
            f"{self.kind}/{self.name}",
            entry.action,
            entry.subject,
            entry.target,
            entry.trigger,
            entry.keys,
            entry.details,
            entry.attempt,
            settles,
            outcome,
            reason,
        )

    def called_off(self, intent: AuditRow) -> AuditRow:
        """Settles one whose maker was to act after it, and was called off while it was written."""
        return self.row(entry_of(intent), intent.event, Outcome.FAILURE, "Cancelled")


@dataclass(slots=True)
class OwnTerm:
    """The term of an actor that has an office. ``floors`` has of each intent of ours that is not settled in the trail a row before it."""

    actor: Actor
    must_begin: bool = False
    _term: Term | None = None
    _anchor: Head | None = None
    _round: int = 0
    _floors: dict[str, int] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether we may intend something at all: always where we have no office."""
        return not self.actor.office or self.must_begin or self._term is not None

    def check(self) -> None:
        """Raises `NotLeading` where it is not for us to act."""
        if not self.is_ours:
            raise NotLeading(NOT_OURS)

    def expect(self, anchor: str) -> None:
        """It is for us to act from now on, once `begin` was there."""
        self._anchor, self._term, self.must_begin = Head.parse(anchor), None, True
        self._round += 1

    def end(self) -> None:
        """It is for us no more."""
        self._term, self.must_begin = None, False
        self._round += 1

    async def begin(self, trail: Trail, look: Look) -> None:
        """Takes the office in the trail. Raises `AuditUnavailable` where rows of the trail are lost."""
        lost = [each for each in (self._anchor,) if each is not None and not await trail.holds(each)]
        if lost := [*lost, *await look()]:
            last = max(each.seq for each in lost)
            raise AuditUnavailable(
                f"AuditTruncated: the database's audit trail lacks row {last}, which the cluster knows: it is another database, or an older"
                " backup; restore the right one, or accept the loss: keyturn audit acknowledge-loss"
                f" {' '.join(f'--anchor {each}' for each in lost)}"
            )
        if self._term is None:
            now = self._round
            begun = await trail.begin(self.actor.office, self.actor.name, self.actor.clock.now())
            if now == self._round:  # else it ended, or another one began, meanwhile
                self._term = begun

    async def close_dead(self, trail: Trail) -> None:
        """Whoever made an intent and ended before it settled it left nobody who knows. Once `begin` was there nobody makes new ones."""
        if self._term is None:
            return
        now, after = self._round, self._term.settled_to
        while dead := [row for row in await trail.open_intents(self.actor.office_mark, after) if not row.event.startswith(self.actor.mark)]:
            ended = (Outcome.UNKNOWN, "ProcessEnded")
            await trail.append([self.actor.row(entry_of(row), row.event, *ended) for row in dead])
        if now == self._round:
            self.must_begin = False

    def note_intent(self, event: str, head: Head | None) -> None:
        """It is, or may be, in the trail, behind this end."""
        if self.actor.office:
            self._floors[event] = head.seq if head is not None else 0

    def note_settled(self, event: str) -> None:
        """The trail has its settlement, or never had it."""
        self._floors.pop(event, None)

    def now(self, head: Head | None) -> Term | None:
        """As `as_of`, for whoever is about to act. Raises `NotLeading`."""
        self.check()
        return self.as_of(head)

    def as_of(self, head: Head | None) -> Term | None:
        """The term to prove, with what is settled as of this end; None where there is none."""
        if self._term is None:
            return None
        # The floors only grow, so that the first is the lowest.
        settled_to = next(iter(self._floors.values()), head.seq if head is not None else 0)
        return Term(self._term.office, self._term.epoch, settled_to)


def entry_of(row: AuditRow) -> AuditEntry:
    """What it was made of."""
    return AuditEntry(row.action, row.subject, row.target, row.trigger, row.keys, row.details, row.attempt)
