"""A trail that answers in time, or is away: a server that stands still takes a question and never answers it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from keyturn.flow.audit_rows import Trail
from keyturn.model.audit import AuditRow, Head, Term
from keyturn.model.errors import Unavailable

ANSWER_S: Final = 10.0
"""More than a writer waits for others."""
NO_ANSWER: Final = "the database gave no answer in time"

_T = TypeVar("_T")
_left: Final[set[asyncio.Task[Any]]] = set()


def in_time(opened: Callable[[], Coroutine[Any, Any, Trail]]) -> Callable[[], Awaitable[Trail]]:
    """What opens a trail that is waited for no longer than that, and the opening alike."""

    async def patient() -> Trail:
        return PatientTrail(await answered(opened()))

    return patient


class PatientTrail:
    """The port `Trail` over one that may stand still. Whoever is called off leaves nothing half done there: see `AuditTrail.known`."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail

    async def _asked(self, question: Coroutine[Any, Any, _T]) -> _T:
        return await answered(question, renew=self._trail.renew)

    async def append(self, rows: Sequence[AuditRow], term: Term | None = None) -> Head:
        return await self._asked(self._trail.append(rows, term))

    async def known(self, events: Collection[str]) -> Collection[str]:
        return await self._asked(self._trail.known(events))

    async def head(self) -> Head:
        return await self._asked(self._trail.head())

    async def holds(self, anchor: Head, writer: str = "") -> bool:
        return await self._asked(self._trail.holds(anchor, writer))

    async def begin(self, office: str, holder: str, at: datetime) -> Term:
        return await self._asked(self._trail.begin(office, holder, at))

    async def open_intents(self, beginning: str, after: int, upto: int | None = None) -> Mapping[int, AuditRow]:
        return await self._asked(self._trail.open_intents(beginning, after, upto))

    async def renew(self) -> None:
        await self._trail.renew()


async def answered(
    asked: Coroutine[Any, Any, _T], within_s: float | None = None, *, renew: Callable[[], Awaitable[None]] | None = None
) -> _T:
    """Raises `Unavailable` after ``within_s`` seconds, `ANSWER_S` where none are given, once ``renew`` was there.

    Not `asyncio.wait_for`, which waits for what it calls off: a driver tells the server so, and waits for that answer too.
    """
    task = asyncio.create_task(asked, name="audit trail")
    try:
        done, _ = await asyncio.wait({task}, timeout=ANSWER_S if within_s is None else within_s)
    except asyncio.CancelledError:
        _leave(task)
        raise
    if done:
        return task.result()
    _leave(task)
    if renew is not None:
        await renew()
    raise Unavailable(NO_ANSWER)


def _leave(task: asyncio.Task[Any]) -> None:
    task.cancel()
    _left.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Any]) -> None:
    _left.discard(task)
    if not task.cancelled():
        task.exception()  # heard of, so that nobody logs it as unheard
