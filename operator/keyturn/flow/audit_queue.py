"""The audit trail of a process, written in groups: at once while it is idle, and what gathers meanwhile is the next group.

An intent waits until it is on the disk; a settlement waits for nobody, and is kept until it is there. While the trail takes nothing,
intents are refused, and so nothing is changed; what may be done all the same is kept in memory, or goes to a spool.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyturn.decide import audit_told
from keyturn.flow.audit_counts import AuditCounts
from keyturn.flow.audit_rows import Spool, Trail
from keyturn.flow.audit_term import NOT_OURS, Actor, Look, OwnTerm, nothing
from keyturn.flow.audit_waiting import Line, Waiting, odd, tell
from keyturn.model.audit import AuditEntry, Findings, Head, Outcome
from keyturn.model.errors import AuditUnavailable, Fenced, Invalid, KeyturnError, NotLeading, ProviderError
from keyturn.ports import Clock

log = logging.getLogger("keyturn.audit")

MOST: Final = 500  # rows of one commit
KEPT: Final = 10_000
"""Rows that are kept in memory while the trail takes none."""
RETRY_S: Final = 1.0
LEAVE_S: Final = 5.0
UNREADABLE: Final = "the audit trail cannot hold this entry"
CLOSED: Final = "the audit trail is closed"


@dataclass(slots=True)
class AuditQueue:
    """The port `AuditLog` over a trail that ``open`` gives. Use `run` beside it.

    ``kind`` and ``name`` say who acts here. ``office``: what one alone may act in, between `begin_term` and `end_term`; '' where
    anybody may at any time. ``keeps_repairs``: whether what was audited once is done again while the trail is away. ``on_fenced`` is
    told where another one took the office, ``on_back`` where the trail takes entries again. ``look`` is asked before a term begins.
    """

    open: Callable[[], Awaitable[Trail]]
    clock: Clock
    kind: str
    name: str
    office: str = ""
    keeps_repairs: bool = False
    spool: Spool | None = None
    on_fenced: Callable[[], None] = lambda: None
    on_back: Callable[[], None] = lambda: None
    problem: str = ""
    is_away: bool = True  # until the trail was looked at, at the start and in each term
    look: Look = nothing
    head: Head | None = None  # of the trail, once it is known to hold what its anchor says
    _own: OwnTerm = field(init=False)
    _trail: Trail | None = None
    _line: Line = field(default_factory=Line)
    _intents: dict[str, AuditEntry] = field(default_factory=dict)
    _doubtful: dict[str, AuditEntry] = field(default_factory=dict)
    _is_outage: bool = False
    _why: str = ""  # as `problem`, for whoever is refused
    _spooling: asyncio.Task[None] | None = None
    _is_closed: bool = False
    counts: AuditCounts = field(default_factory=AuditCounts)

    def __post_init__(self) -> None:
        self._own = OwnTerm(Actor(self.kind, self.name, self.clock, self.office))

    async def intend(self, entry: AuditEntry) -> str:
        if self._is_closed:
            raise AuditUnavailable(CLOSED)
        self._own.check()
        told = asyncio.get_running_loop().create_future()
        waiting = Waiting(self._own.actor.row(entry), told, may_stay=entry.repairs and self.keeps_repairs)
        if not self.problem or self._spools or self._stays(waiting, AuditUnavailable(self._why)):
            self._put(waiting)
        try:
            await told
        except asyncio.CancelledError:
            if waiting.told is None:  # it was written, and nobody heard of that any more
                self._put(Waiting(self._own.actor.called_off(waiting.row)))
            raise
        self._intents[waiting.row.event] = entry
        return waiting.row.event

    async def settle(self, intent: str, outcome: Outcome, reason: str = "", found: Findings | None = None) -> None:
        if (entry := self._intents.pop(intent, None)) is not None:
            self.counts.ended(entry.action, outcome, reason)
            self._put(Waiting(self._own.actor.row(found.of(entry) if found else entry, settles=intent, outcome=outcome, reason=reason)))

    def record(self, entry: AuditEntry, outcome: Outcome, reason: str = "") -> None:
        self.counts.ended(entry.action, outcome, reason)
        if self._line.is_full_of_records(KEPT, outcome):
            log.error("an entry is lost: too many wait for the audit trail", extra={"action": entry.action, "outcome": str(outcome)})
        else:
            self._put(Waiting(self._own.actor.row(entry, outcome=outcome, reason=reason)))

    def begin_term(self, anchor: str) -> None:
        """From now on we alone act. Before the next effect it is seen that the trail has the row that ``anchor`` (NUMBER:HASH, or '')
        was taken of, our office is taken there, and intents of those before us, which nobody will settle, are closed.
        """
        self._own.expect(anchor)
        self.head, self.is_away = None, True
        self._line.is_wanted.set()

    def end_term(self) -> None:
        """It is for others to act; what was done is still written."""
        self._own.end()
        self._refuse(NotLeading(NOT_OURS))

    @property
    def lag(self) -> int:
        """Rows that are not written yet."""
        return len(self._line.rows) + (self.spool.rows if self.spool is not None else 0)

    @property
    def oldest_s(self) -> float:
        """For how many seconds the oldest of them has waited."""
        return self._line.oldest_s(self.clock.now())

    async def run(self) -> None:
        """Writes until it is cancelled; what is left then is for `close`."""
        while True:
            is_trying, now = self.is_away, self._own.round
            try:
                if self.is_away or self._trail is None:
                    await self._come_back()
                elif self._line.is_wanted.is_set():
                    await self._write(self._trail)
                    await self._line.gather()
                elif self._own.has_unswept:
                    await self._own.sweep(self._trail)
                else:
                    await self._line.is_wanted.wait()
            except NotLeading as error:
                if now == self._own.round:  # else it is of a term that was ended in any case
                    self._lose(error)
            except Exception as error:  # noqa: BLE001  # whatever lies in the database, nobody changes anything, and it is said
                self._fail(error if isinstance(error, KeyturnError) else odd(error))
                if is_trying:
                    await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        """Writes what is left, for some seconds, once nobody acts any more and `run` has ended; may be called twice."""
        self._is_closed, why = True, self.problem
        try:
            await asyncio.wait_for(self._flush(), LEAVE_S)
        except (KeyturnError, TimeoutError) as error:
            why = str(error) or why or "it gave no answer in time"
        self._refuse(AuditUnavailable(CLOSED))
        if left := len(self._line.rows):
            log.error("%d rows of the audit trail were not written: %s", left, why, extra={"rows": left})

    async def _flush(self) -> None:
        if self._spools or (self.spool is not None and self.spool.rows):
            await self._spool_all()
        elif self._trail is not None and (self._is_outage or not self.problem):
            while self._line.rows:
                await self._write(self._trail)

    async def _come_back(self) -> None:
        """One try to have a trail that takes entries, with all in it that has to be there before the next one."""
        trail = self._trail = self._trail or await self.open()
        now = self._own.round
        if self._own.must_begin:
            await self._own.begin(trail, self.look)
        await self._replay(trail)
        if self._own.must_begin:
            await self._own.close_dead(trail)
        for row in await self._own.closings(trail, self._doubtful):
            self._put(Waiting(row))
        if now != self._own.round:
            return  # another term has an anchor of its own, and is to be begun
        await self._write(trail)
        # One that can only be read is away too.
        head = await trail.append((), self._own.as_of(self.head))
        await self._replay(trail)  # the last to be waited for: nothing may come to lie there after it
        was_away, self.problem, self._is_outage = bool(self.problem), "", False
        if not self._own.must_begin:
            self.head, self.is_away = head, False
        if was_away:
            log.info("the audit trail takes entries")
            self.on_back()

    async def _write(self, trail: Trail) -> None:
        """One group; where it cannot be written, who waits is refused by whoever catches that, and the rest is kept."""
        group = self._line.taken(MOST)
        try:
            await self._commit(trail, group)
        except NotLeading as error:
            tell(group, error)
            self._line.give_back(group)
            raise
        except BaseException:
            # Whether the answer was lost or the rows: it is looked up before anything else is written.
            self._line.give_back(group, is_sent=True)
            raise

    def _lose(self, error: NotLeading) -> None:
        """Somebody else acts in our office; what we did is written all the same."""
        self.end_term()
        if isinstance(error, Fenced):
            log.error("nothing is changed: %s", error)
            self.on_fenced()

    async def _commit(self, trail: Trail, group: Sequence[Waiting]) -> None:
        """Writes a group; halves it where one of its rows can never be written, until that one is alone."""
        before, now = self.head, self._own.round
        term = self._own.now(before) if any(each.is_awaited for each in group) else None
        try:
            head = await trail.append([each.row for each in group], term) if group else before
        except Invalid as error:
            if len(group) == 1:
                self.counts.refused += 1
                log.error("an entry of the audit trail was refused: %s", error, extra={"action": group[0].row.action})
                return tell(group, AuditUnavailable(UNREADABLE))
            half = len(group) // 2
            await self._commit(trail, group[:half])
            return await self._commit(trail, group[half:])
        self.head = self.head if self.is_away else head
        return self._acknowledge(group, before, is_ours=now == self._own.round)

    def _acknowledge(self, group: Sequence[Waiting], before: Head | None, *, is_ours: bool = True) -> None:
        for each in group:
            self._own.note_settled(each.row.settles)
            if not each.is_awaited:
                continue
            self._own.note_intent(each.row.event, before)
            if not is_ours:  # our term ended while it was written
                tell([each], NotLeading(NOT_OURS))
            if not each.acknowledge():
                self._put(Waiting(self._own.actor.called_off(each.row)))

    @property
    def _spools(self) -> bool:
        """Whether rows go to the spool: nothing else keeps them from the trail than that it is away."""
        return self.spool is not None and self._is_outage

    def _fail(self, error: KeyturnError) -> None:
        self.counts.failures += 1
        self.is_away, self._is_outage, self._why = True, isinstance(error, ProviderError), audit_told.refusal(error)
        if self.problem != (problem := audit_told.told(error)):
            what = "so that changes are spooled" if self._spools else "so that nothing is changed"
            log.error("the audit trail takes no entry, %s: %s", what, problem)
        self.problem = problem
        if self._spools:
            self._spool_soon()
        else:
            self._refuse(AuditUnavailable(self._why))

    def _refuse(self, error: KeyturnError) -> None:
        """Whoever waits is told so; the rest is kept."""
        self._line.keep(lambda each: self._stays(each, error))

    def _stays(self, each: Waiting, error: KeyturnError) -> bool:
        """Whether it is kept until the trail is back: what is history, and what may be done all the same, of which it is told here."""
        if each.may_stay and self._is_outage and isinstance(error, AuditUnavailable) and len(self._line.rows) < KEPT and each.is_awaited:
            log.warning("done before its row is in the audit trail", extra={"action": each.row.action, "target": each.row.target})
            self._own.note_intent(each.row.event, self.head)
            each.acknowledge()
        if each.told is None:
            return True
        if each.is_sent:
            self._doubtful[each.row.event] = each.row.entry
            self._own.note_intent(each.row.event, self.head)
        tell([each], error)
        return False

    def _spool_soon(self) -> None:
        if self._line.rows and (self._spooling is None or self._spooling.done()):
            self._spooling = asyncio.create_task(self._spool_all(), name="audit spool")

    async def _spool_all(self) -> None:
        """What waits goes to the spool; where that takes no more, intents are refused and the rest is kept."""
        while self._line.rows and self.spool is not None:
            group = self._line.taken(MOST)
            try:
                await self.spool.append([each.row for each in group])
            except (KeyturnError, asyncio.CancelledError) as error:
                self._line.give_back(group)
                if isinstance(error, asyncio.CancelledError):
                    raise
                log.error("%s", error)
                return self._refuse(AuditUnavailable(self._why))
            self._acknowledge(group, self.head)
        return None

    async def _replay(self, trail: Trail) -> None:
        """All that was spooled goes to the trail, in its order; after a cut what is there already is passed over."""
        while self.spool is not None and (self.spool.rows or (self._spooling and not self._spooling.done())):
            if self._spooling:
                await asyncio.wait({self._spooling})
            rows = await self.spool.first(MOST)
            await self._commit(trail, [Waiting(row) for row in rows])
            await self.spool.drop(len(rows))

    def _put(self, waiting: Waiting) -> None:
        self._line.put(waiting)
        if self._spools:
            self._spool_soon()
