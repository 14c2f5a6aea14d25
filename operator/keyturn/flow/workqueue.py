"""The queue between events and workers: what is new goes before what is routine, fair by namespace.

An object is in it at most once, and with one worker at most. What arrives for an object at work
is kept until that worker is done. No namespace, and no provider, holds more workers than are left for
all others (``decide/share.py``). Decides nothing about objects and reads none.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from keyturn.flow.fair import Draws, Fair, Shares
from keyturn.model.ids import ObjectRef

ROUTINE_SHARE = 8
"""One of so many turns goes to the routine lane while both have work, so that neither starves."""


class Lane(IntEnum):
    """Lower goes first: URGENT is new, changed, drifted; ROUTINE is refresh and retry."""

    URGENT = 0
    ROUTINE = 1


@dataclass(slots=True)
class _Waiting:
    """In which lane an object waits, and since when."""

    lane: Lane
    since: float


class WorkQueue:
    """Two lanes and a timetable. ``clock`` gives monotonic seconds.

    ``waited`` is told of each object that is taken: its lane, and for how long it could have been taken.
    What a watchdog or a metric reads (`depth`, `untaken_since`, `longest_at_work`) may be read in any thread.
    """

    def __init__(self, clock: Callable[[], float] | None = None, waited: Callable[[str, float], None] = lambda _, __: None) -> None:
        self._clock = clock or asyncio.get_running_loop().time
        self._waited = waited
        self._lanes = (Fair(), Fair())
        self._queued: dict[ObjectRef, _Waiting] = {}
        self._at_work: dict[ObjectRef, float] = {}
        self._shares = Shares()
        self._holds: dict[ObjectRef, Draws] = {}
        self._draws_on: Callable[[ObjectRef], Draws] = lambda _: ()
        self._again: dict[ObjectRef, Lane] = {}
        self._timetable: list[tuple[float, int, ObjectRef, Lane]] = []
        self._due: dict[ObjectRef, int] = {}
        self._serial = itertools.count()
        self._turn = 0
        self._wake = asyncio.Event()
        self._moved_at = self._resumed_at = self._clock()
        self.is_paused = False
        self.is_open = True

    def share_out(self, hands: int, draws_on: Callable[[ObjectRef], Draws]) -> None:
        """From now on so many workers take from here; ``draws_on`` tells whose time an object may take."""
        self._shares.hands, self._draws_on = hands, draws_on
        self._lanes = (Fair(), Fair())
        for ref, waiting in self._queued.items():
            self._lanes[waiting.lane].push(ref, draws_on(ref))

    def __len__(self) -> int:
        return len(self._queued) + len(self._at_work)

    def depth(self, lane: Lane) -> int:
        """How many wait in a lane."""
        return sum(1 for held in list(self._queued.values()) if held.lane is lane)

    @property
    def untaken_since(self) -> float | None:
        """Since when nobody took anything though there was something to take; None where there is nothing, or we pause."""
        if self.is_paused:
            return None
        # Where the workers looked and slept again, what waits is over the share of its like.
        if self._queued and self._wake.is_set():
            return self._moved_at
        due = self._timetable[:1]
        return max(due[0][0], self._moved_at) if due else None

    @property
    def longest_at_work(self) -> tuple[ObjectRef, float] | None:
        """The object that a worker holds for longest, and since when."""
        return next(iter(list(self._at_work.items())[:1]), None)

    def add(self, ref: ObjectRef, lane: Lane = Lane.URGENT) -> None:
        """Puts an object in; one that waits already moves up if this lane goes first."""
        if not self.is_open:
            return
        self._due.pop(ref, None)
        if ref in self._at_work:
            self._again[ref] = min(lane, self._again.get(ref, lane))
            return
        held = self._queued.get(ref)
        if held is None:
            now = self._clock()
            if not self._queued:
                self._moved_at = now
            self._queued[ref] = _Waiting(lane, now)
        elif held.lane <= lane:
            return
        else:
            # One that moves up stays in its old lane as well; there it is passed over.
            held.lane = lane
        self._lanes[lane].push(ref, self._draws_on(ref))
        self._wake.set()

    def add_after(self, ref: ObjectRef, delay_s: float, lane: Lane = Lane.ROUTINE) -> None:
        """Puts an object in after ``delay_s`` seconds, unless it comes sooner; the newest timetable entry holds."""
        if not self.is_open:
            return
        serial = next(self._serial)
        self._due[ref] = serial
        heapq.heappush(self._timetable, (self._clock() + delay_s, serial, ref, lane))
        self._wake.set()

    def forget(self, ref: ObjectRef) -> None:
        """Takes an object out of every place but a worker's hands."""
        self._due.pop(ref, None)
        self._queued.pop(ref, None)
        self._again.pop(ref, None)

    async def get(self) -> ObjectRef:
        """The next object; it is at work until `done`."""
        while True:
            if not self.is_paused and (ref := self._next()) is not None:
                return ref
            self._wake.clear()
            await self._sleep()

    def done(self, ref: ObjectRef) -> None:
        """The worker is through; what came meanwhile goes into its lane."""
        if self._at_work.pop(ref, None) is not None:
            self._shares.give_back(ref.namespace, self._holds.pop(ref))
        if self._queued:
            self._wake.set()
        lane = self._again.pop(ref, None)
        if lane is not None:
            self.add(ref, lane)

    @property
    def is_at_work(self) -> bool:
        """Whether a worker has something in hand."""
        return bool(self._at_work)

    def close(self) -> None:
        """Forgets all that waits, and takes nothing in until `open`: what others work on must not pile up here."""
        self.is_open = False
        self._lanes = (Fair(), Fair())
        self._timetable.clear()
        for held in (self._queued, self._again, self._due):
            held.clear()

    def open(self) -> None:
        """Takes in again, beginning with nothing."""
        self.is_open = True

    def pause(self) -> None:
        """Hands out nothing until `resume`."""
        self.is_paused = True

    def resume(self) -> None:
        self._moved_at = self._resumed_at = self._clock()
        self.is_paused = False
        self._wake.set()

    def _next(self) -> ObjectRef | None:
        self._take_due()
        # Not set: another worker looked, and nothing has come or gone since.
        if not self._wake.is_set():
            return None
        self._turn += 1
        routine_first = self._turn % ROUTINE_SHARE == 0
        for lane in (Lane.ROUTINE, Lane.URGENT) if routine_first else (Lane.URGENT, Lane.ROUTINE):
            while found := self._lanes[lane].pop(self._shares):
                ref, draws = found
                held = self._queued.get(ref)
                if held is not None and held.lane is lane:
                    self._hand_out(ref, draws, held)
                    return ref
        return None

    def _hand_out(self, ref: ObjectRef, draws: Draws, held: _Waiting) -> None:
        del self._queued[ref]
        self._at_work[ref] = self._moved_at = now = self._clock()
        self._holds[ref] = draws
        self._shares.take(ref.namespace, draws)
        self._waited(held.lane.name.lower(), now - max(held.since, self._resumed_at))
        if self._lanes[held.lane] or self._timetable:
            self._wake.set()

    def _take_due(self) -> None:
        now = self._clock()
        while self._timetable and self._timetable[0][0] <= now:
            _, serial, ref, lane = heapq.heappop(self._timetable)
            if self._due.get(ref) == serial:
                self.add(ref, lane)

    async def _sleep(self) -> None:
        """Waits for something to do: a new object, or the next time in the timetable."""
        if self.is_paused or not self._timetable:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, self._timetable[0][0] - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            return
