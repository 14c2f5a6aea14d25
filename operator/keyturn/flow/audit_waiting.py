"""A row on its way to the audit trail, and who waits for it."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keyturn.model.audit import AuditRow, Outcome
from keyturn.model.errors import AuditUnavailable, KeyturnError

MANY: Final = 4
GATHER_S: Final = 0.01
"""A commit costs as much CPU as a dozen rows, and more where the machine is busy: so rows that come in numbers share one."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A row that is to be written. ``told`` None: nobody waits, since it is history.

    ``may_stay``: it may be acted upon although the trail is away. ``is_sent``: it was sent off, and may have arrived.
    """

    row: AuditRow
    told: "asyncio.Future[None] | None" = None
    may_stay: bool = False
    is_sent: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether somebody acts upon it, or would have if it had not been called off."""
        return self.told is not None and (not self.told.done() or self.told.cancelled())

    @property
    def is_wanted(self) -> bool:
        """Whether it is still to be written: what was refused, or is written, is not."""
        return self.told is None or self.is_awaited

    def acknowledge(self) -> bool:
        """Tells whoever waits to act; False where that was called off. From now on it is history."""
        told, self.told = self.told, None
        if told is None or told.done():
            return False
        told.set_result(None)
        return True


@dataclass(slots=True)
class Line:
    """Rows in the order in which they are to be written. ``is_wanted`` is set while there are any."""

    rows: deque[Waiting] = field(default_factory=deque)
    is_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _is_crowded: bool = False

    def put(self, each: Waiting) -> None:
        self.rows.append(each)
        self.is_wanted.set()

    def is_full_of_records(self, most: int, outcome: Outcome) -> bool:
        """Whether one more, that ended so, is too much for a line of that length: a half is for intents and what settles them, and of the
        other one a half for what is no denial.
        """
        if len(self.rows) < most // 4:
            return False
        records = [each.row.outcome for each in self.rows if each.row.outcome and not each.row.settles]
        is_over = outcome == Outcome.DENIED and records.count(Outcome.DENIED) >= most // 4
        return is_over or len(records) >= most // 2 or len(self.rows) >= most

    def give_back(self, group: Sequence[Waiting], *, is_sent: bool = False) -> None:
        """Those of a group that are still wanted come first again."""
        for each in reversed([each for each in group if each.is_wanted]):
            each.is_sent |= is_sent
            self.rows.appendleft(each)
        self._note()

    def taken(self, most: int) -> list[Waiting]:
        """The first of them, which are in the line no more."""
        group = [self.rows.popleft() for _ in range(min(most, len(self.rows)))]
        self._is_crowded = len(group) >= MANY
        self._note()
        return group

    async def gather(self) -> None:
        """Where the last ones taken were many, waits a moment for the next."""
        if self._is_crowded:
            await asyncio.sleep(GATHER_S)

    def oldest_s(self, now: datetime) -> float:
        """For how many seconds the first has waited; may be asked by another thread."""
        try:
            return max(0.0, (now - self.rows[0].row.at).total_seconds())
        except IndexError:
            return 0.0

    def keep(self, stays: Callable[[Waiting], bool]) -> None:
        """Those of which that holds."""
        self.rows = deque(each for each in self.rows if stays(each))
        self._note()

    def _note(self) -> None:
        if self.rows:
            self.is_wanted.set()
        else:
            self.is_wanted.clear()


def odd(error: Exception) -> AuditUnavailable:
    """Of something that no database of ours gives."""
    return AuditUnavailable(f"the audit trail's database holds what no operator wrote there ({type(error).__name__}): keyturn audit verify")


def tell(group: Iterable[Waiting], error: KeyturnError) -> None:
    """Whoever waits for one of them is not to act."""
    for each in group:
        if each.told is not None and not each.told.done():
            each.told.set_exception(error)
