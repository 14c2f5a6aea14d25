"""The audit trail of a process, written in groups: at once while it is idle, and what gathers during a commit is the next group.

An intent waits until it is on the disk; a settlement waits for nobody, and is kept until it is there. While the trail takes nothing,
intents are refused, and so nothing is changed.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from keyturn.flow.audit_counts import AuditCounts
from keyturn.model.audit import AuditEntry, AuditRow, Findings, Head, Outcome
from keyturn.model.errors import AuditUnavailable, Invalid, KeyturnError
from keyturn.ports import Clock

log = logging.getLogger("keyturn.audit")

MOST: Final = 500
"""Rows of one commit."""
RETRY_S: Final = 1.0
LEAVE_S: Final = 5.0
UNREADABLE: Final = "the audit trail cannot hold this entry"


class AuditRows(Protocol):
    """A trail that keeps rows in one chain, whoever adds to it. Raises `ProviderError` where it cannot."""

    async def append(self, rows: Sequence[AuditRow]) -> Head:
        """Adds these, or none, and gives the end; what is there already, and what settles an intent that is settled, is passed over.

        Raises `Invalid` where one of them can never be added.
        """

    async def known(self, events: Collection[str]) -> Collection[str]:
        """Those of these rows that are there."""

    async def head(self) -> Head:
        """The end."""

    async def holds(self, anchor: Head) -> bool:
        """Whether it has the row that this is an end of, or somebody accepted that it has not."""

    async def open_intents(self, actors: str) -> Sequence[AuditRow]:
        """Those of actors whose name begins so that nothing settles, the oldest thousand."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A row that is to be written, and who waits for it; nobody waits for a settlement."""

    row: AuditRow
    told: asyncio.Future[None] | None = None

    @property
    def is_answered(self) -> bool:
        """Whether somebody acts upon it; whoever was called off meanwhile does not."""
        return self.told is not None and self.told.done() and not self.told.cancelled()


async def _nothing() -> Sequence[Head]:
    return ()


@dataclass(slots=True)
class AuditQueue:
    """The port `AuditLog` over a trail that ``open`` gives. Use `run` beside it.

    ``kind`` and ``name`` say who acts here; no two of a kind act at a time. ``epoch`` is of this process alone: ids of its rows
    begin with it.
    """

    open: Callable[[], Awaitable[AuditRows]]
    clock: Clock
    kind: str
    name: str
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    problem: str = ""
    look: Callable[[], Awaitable[Sequence[Head]]] = _nothing
    """Gives ends that the trail lacks by what else knows of them; asked before a term's first effect."""
    _trail: AuditRows | None = None
    _serial: int = 0
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _intents: dict[str, AuditEntry] = field(default_factory=dict)
    _doubtful: dict[str, AuditEntry] = field(default_factory=dict)
    head: Head | None = None
    """The end of the trail, once it is known to hold what its anchor says."""
    _anchor: Head | None = None
    _must_begin: bool = True
    _is_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _is_closed: bool = False
    counts: AuditCounts = field(default_factory=AuditCounts)

    async def intend(self, entry: AuditEntry) -> str:
        row = self._row(entry)
        told = asyncio.get_running_loop().create_future()
        if self._is_closed:
            raise AuditUnavailable("the audit trail is closed")
        self._put(_Waiting(row, told))
        await told
        self._intents[row.event] = entry
        return row.event

    async def settle(self, intent: str, outcome: Outcome, reason: str = "", found: Findings | None = None) -> None:
        if (entry := self._intents.pop(intent, None)) is not None:
            self.counts.ended(entry.action, outcome, reason)
            told = found.of(entry) if found else entry
            self._put(_Waiting(self._row(told, settles=intent, outcome=outcome, reason=reason)))

    def record(self, entry: AuditEntry, outcome: Outcome, reason: str = "") -> None:
        self.counts.ended(entry.action, outcome, reason)
        self._put(_Waiting(self._row(entry, outcome=outcome, reason=reason)))

    def begin_term(self, anchor: str) -> None:
        """From now on we alone act. Before the next effect it is seen that the trail has the row that ``anchor`` (NUMBER:HASH, or '')
        was taken of, and intents of those before us, which nobody will settle, are closed.
        """
        self._anchor, self.head, self._must_begin = Head.parse(anchor), None, True
        self._is_wanted.set()

    @property
    def lag(self) -> int:
        """Rows that are not written yet."""
        return len(self._waiting)

    @property
    def oldest_s(self) -> float:
        """For how many seconds the oldest of them has waited; may be asked by another thread."""
        try:
            return max(0.0, (self.clock.now() - self._waiting[0].row.at).total_seconds())
        except IndexError:
            return 0.0

    async def run(self) -> None:
        """Writes until it is cancelled; what is left then is for `close`."""
        while True:
            await self._is_wanted.wait()
            await self._write()

    async def close(self) -> None:
        """Writes what is left, for some seconds, once nobody acts any more and `run` has ended; may be called twice."""
        self._is_closed = True
        try:
            await asyncio.wait_for(self._flush(), LEAVE_S)
        except (KeyturnError, TimeoutError) as error:
            log.error("rows of the audit trail were not written: %s", error, extra={"rows": len(self._waiting)})
        self._refuse("the audit trail is closed")

    async def _flush(self) -> None:
        while self._waiting and self._trail is not None:
            await self._commit(self._trail, self._taken())

    async def _write(self) -> None:
        """One group; where it cannot be written, intents are refused and the rest is kept."""
        try:
            trail = self._trail = self._trail or await self.open()
            if self._must_begin:
                await self._begin(trail)
            await self._look_after_doubtful(trail)
            group = self._taken()
        except KeyturnError as error:
            self._fail(error)
            await asyncio.sleep(RETRY_S)
            return
        try:
            await self._commit(trail, group)
        except KeyturnError as error:
            # Whether the answer was lost or the rows: who waits is refused, and it is looked up before anything else is written.
            waiting = [each for each in group if each.told is not None and not each.is_answered]
            self._doubtful.update((each.row.event, _entry_of(each.row)) for each in waiting)
            self._waiting.extendleft(reversed([each for each in group if each.told is None]))
            _tell(waiting, str(error))
            self._fail(error)
            await asyncio.sleep(RETRY_S)
        except asyncio.CancelledError:
            # Written or not: whoever closes writes it, and what is there already is passed over.
            self._waiting.extendleft(reversed([each for each in group if not each.is_answered]))
            raise
        else:
            if self.problem:
                log.info("the audit trail takes entries")
            self.problem = ""

    async def _commit(self, trail: AuditRows, group: Sequence[_Waiting]) -> None:
        """Writes a group; halves it where one of its rows can never be written, until that one is alone."""
        try:
            if group:
                self.head = await trail.append([each.row for each in group])
        except Invalid as error:
            if len(group) == 1:
                self.counts.refused += 1
                log.error("an entry of the audit trail was refused: %s", error, extra={"action": group[0].row.action})
                return _tell(group, UNREADABLE)
            half = len(group) // 2
            await self._commit(trail, group[:half])
            return await self._commit(trail, group[half:])
        for each in group:
            if each.told is not None and each.told.cancelled():
                # Whoever was to act after it was called off while it was written.
                entry = _entry_of(each.row)
                self._put(_Waiting(self._row(entry, settles=each.row.event, outcome=Outcome.FAILURE, reason="Cancelled")))
            elif each.told is not None:
                each.told.set_result(None)
        return None

    async def _begin(self, trail: AuditRows) -> None:
        """Raises `AuditUnavailable` where rows of the trail are lost."""
        lost = [each for each in (self._anchor,) if each is not None and not await trail.holds(each)]
        if lost := [*lost, *await self.look()]:
            last = max(each.seq for each in lost)
            raise AuditUnavailable(
                f"AuditTruncated: the database's audit trail lacks row {last}, which the cluster knows: it is another database, or an older"
                " backup; restore the right one, or accept the loss: keyturn audit acknowledge-loss"
                f" {' '.join(f'--anchor {each}' for each in lost)}"
            )
        # Whoever made an intent and ended before it settled it left nobody who knows.
        while dead := [row for row in await trail.open_intents(f"{self.kind}/") if not row.event.startswith(self.epoch)]:
            outcome, reason = Outcome.UNKNOWN, "ProcessEnded"
            await trail.append([self._row(_entry_of(row), settles=row.event, outcome=outcome, reason=reason) for row in dead])
        self.head = await trail.head()
        self._must_begin = False

    async def _look_after_doubtful(self, trail: AuditRows) -> None:
        """Intents whose writing had no answer: nothing was done after them, which is said of those that arrived."""
        for event in await trail.known(list(self._doubtful)) if self._doubtful else ():
            self._put(_Waiting(self._row(self._doubtful[event], settles=event, outcome=Outcome.FAILURE, reason=AuditUnavailable.reason)))
        self._doubtful.clear()

    def _fail(self, error: KeyturnError) -> None:
        self.counts.failures += 1
        if self.problem != (problem := str(error)):
            log.error("the audit trail takes no entry, so that nothing is changed: %s", problem)
        self.problem = problem
        self._refuse(problem)

    def _refuse(self, problem: str) -> None:
        _tell([each for each in self._waiting if each.told is not None], problem)
        self._waiting = deque(each for each in self._waiting if each.told is None)
        if self._waiting:
            self._is_wanted.set()  # what could not be written is tried again, though nobody adds to it
        else:
            self._is_wanted.clear()

    def _put(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._is_wanted.set()

    def _taken(self) -> list[_Waiting]:
        group = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        if not self._waiting:
            self._is_wanted.clear()
        return group

    def _row(self, entry: AuditEntry, settles: str = "", outcome: str = "", reason: str = "") -> AuditRow:
        self._serial += 1
        return AuditRow(
            f"{self.epoch}-{self._serial}",
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


def _tell(group: Sequence[_Waiting], problem: str) -> None:
    for each in group:
        if each.told is not None and not each.told.done():
            each.told.set_exception(AuditUnavailable(problem))


def _entry_of(row: AuditRow) -> AuditEntry:
    return AuditEntry(row.action, row.subject, row.target, row.trigger, row.keys, row.details, row.attempt)
