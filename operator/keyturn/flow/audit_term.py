"""What whoever acts alone owes the audit trail in each of its terms: before the first effect, and to whoever comes after."""

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyturn.decide.auditrow import texts_of
from keyturn.flow.audit_rows import Trail
from keyturn.model.audit import AuditEntry, AuditRow, Head, Outcome, Term
from keyturn.model.checkpoint import AuditTampered, AuditTruncated
from keyturn.model.errors import AuditUnavailable, NotLeading
from keyturn.ports import Clock

log = logging.getLogger("keyturn.audit")

STRETCH: Final = 5000
"""Rows that are looked at in one go, which a writer may wait for."""
MOST_STRETCHES: Final = 10_000
"""They are longer where there would be more of them: numbers may have been left out by whoever has the database."""
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
        return AuditRow.of(entry, f"{self.mark}{self._serial}", self.clock.now(), f"{self.kind}/{self.name}", settles, outcome, reason)

    def called_off(self, intent: AuditRow) -> AuditRow:
        """Settles one whose maker was to act after it, and was called off while it was written."""
        return self.row(intent.entry, intent.event, Outcome.FAILURE, "Cancelled")


@dataclass(slots=True)
class _Odd:
    """Open intents that nothing can settle: how many, and the first."""

    count: int = 0
    first: str = ""


@dataclass(slots=True)
class OwnTerm:
    """The term of an actor that has an office. ``floors`` has of each intent of ours that is not settled in the trail a row before it."""

    actor: Actor
    must_begin: bool = False
    _term: Term | None = None
    round: int = 0
    """Of beginnings and ends: what was found out in a former one says nothing of the present one."""
    _anchor: Head | None = None
    _floors: dict[str, int] = field(default_factory=dict)
    _odd: _Odd = field(default_factory=_Odd)
    _swept: int = 0

    @property
    def has_unswept(self) -> bool:
        """Whether there is something to do for `sweep`."""
        return not self.must_begin and self._term is not None and self._swept < self._term.settled_to

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
        self._anchor, self._term, self.must_begin, self._swept = Head.parse(anchor), None, True, 0
        self.round += 1

    def end(self) -> None:
        """It is for us no more."""
        self._term, self.must_begin = None, False
        self.round += 1

    async def begin(self, trail: Trail, look: Look) -> None:
        """Takes the office in the trail, unless our term ends meanwhile. Raises `AuditTruncated` where rows of the trail are lost."""
        now = self.round
        mark = self.actor.office_mark
        lost = [each for each in (self._anchor,) if each is not None and not await trail.holds(each, mark)]
        lost += [each for each in await look() if each not in lost]
        if now != self.round:
            return  # another one may have begun, which has an anchor of its own
        if lost:
            raise AuditTruncated(self._truncated(lost))
        if self._term is None:
            begun = await trail.begin(self.actor.office, self.actor.name, self.actor.clock.now())
            if now == self.round:  # else it ended, or another one began, meanwhile
                self._term = begun

    def _truncated(self, lost: Sequence[Head]) -> str:
        last, namespace = max(each.seq for each in lost), self.actor.office.partition("/")[0]
        return (
            f"the database's audit trail lacks row {last}, which the cluster knows: it is another database, or an older"
            " backup; restore the right one, or accept the loss, which needs the master keys and so the operator's pod:"
            f" kubectl -n {namespace} exec deployment/keyturn -- keyturn audit acknowledge-loss"
            f" {' '.join(f'--anchor {each}' for each in lost)}"
        )

    async def close_dead(self, trail: Trail) -> None:
        """Whoever made an intent and ended before it settled it left nobody who knows. Once `begin` was there nobody makes new ones."""
        if (term := self._term) is None:
            return
        now, odd = self.round, _Odd()
        await self._close(trail, term, odd, term.settled_to)
        if now != self.round:
            return
        self.must_begin = False
        if odd.count and odd != self._odd:
            log.error(
                "the audit trail has %d open intents that are not as an operator writes them, and are left as they are; the first is %s;"
                " see keyturn audit verify",
                odd.count,
                ascii(odd.first)[:100],
            )
        self._odd = odd

    async def sweep(self, trail: Trail) -> None:
        """As `close_dead`, for the next rows of those before which nothing should be open: only the database says so, to which others may
        write, and rows that settle something may have been lost.
        """
        if (term := self._term) is None:
            return
        now, upto = self.round, min(self._swept + max(STRETCH, term.settled_to // MOST_STRETCHES), term.settled_to)
        await self._close(trail, term, _Odd(), self._swept, upto)
        if now == self.round:
            self._swept = upto

    async def _close(self, trail: Trail, term: Term, odd: _Odd, after: int, upto: int | None = None) -> None:
        now = self.round
        # Some hundred at a time: whoever has the database may have put any number there that nothing can settle.
        while found := await self._found(trail, after, upto):
            if now != self.round:
                return
            if dead := self._closable(found.values(), odd):
                await trail.append(dead, term)
            after = max(found)

    async def _found(self, trail: Trail, after: int, upto: int | None) -> Mapping[int, AuditRow]:
        try:
            return await trail.open_intents(self.actor.office_mark, after, upto)
        except AuditTampered as error:
            if upto is None:
                raise
            # What no term's beginning meets does not end one.
            log.error("rows %d to %d of the audit trail were not looked at for open intents: %s", after + 1, upto, error)
            return {}

    def _closable(self, found: Iterable[AuditRow], odd: _Odd) -> Sequence[AuditRow]:
        """Settlements of those that were made before us; what nothing can settle is counted."""
        dead = [row for row in found if not row.event.startswith(self.actor.mark)]
        made = [(row, settlement(self.actor, row)) for row in dead]
        for row in (row for row, closing in made if closing is None):
            odd.count, odd.first = odd.count + 1, odd.first or row.event
        return [closing for _, closing in made if closing is not None]

    async def closings(self, trail: Trail, doubtful: dict[str, AuditEntry]) -> Sequence[AuditRow]:
        """Of intents whose writing had no answer: nothing was done after them, which is said of those that arrived. Takes them out."""
        asked, made = dict(doubtful), []
        known = await trail.known(list(asked)) if asked else ()
        for event, entry in asked.items():
            del doubtful[event]
            if event in known:
                made.append(self.actor.row(entry, event, Outcome.FAILURE, AuditUnavailable.reason))
            else:
                self.note_settled(event)
        return made

    def note_intent(self, event: str, head: Head | None) -> None:
        """It is, or may be, in the trail, behind this end."""
        if self.actor.office:
            self._floors[event] = head.seq if head is not None else 0

    def note_settled(self, event: str) -> None:
        """The trail has its settlement, or never had it."""
        self._floors.pop(event, None)

    def now(self, head: Head | None) -> Term | None:
        """As `as_of`, for whoever is about to act: whoever has an office, in a term that is proven. Raises `NotLeading`."""
        self.check()
        if self.actor.office and self._term is None:
            raise NotLeading(NOT_OURS)
        return self.as_of(head)

    def as_of(self, head: Head | None) -> Term | None:
        """The term to prove, with what is settled as of this end; None where there is none."""
        if self._term is None:
            return None
        # The floors only grow, so that the first is the lowest.
        settled_to = next(iter(self._floors.values()), head.seq if head is not None else 0)
        return Term(self._term.office, self._term.epoch, settled_to)


def settlement(actor: Actor, dead: AuditRow) -> AuditRow | None:
    """Says that whoever made it ended before it was settled; None where no row can settle it, as none of ours is."""
    made = actor.row(dead.entry, dead.event, Outcome.UNKNOWN, "ProcessEnded")
    try:
        return made if texts_of(made)["settles"] == dead.event else None
    except (TypeError, ValueError, AttributeError, RecursionError):
        return None  # its keys or details are no texts
