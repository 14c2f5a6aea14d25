"""Feels the pulse of whatever has to go on for ever. Asked by the health server's threads, so that it may only read.

Decides nothing: ``decide/watchdog.py`` says what has stood still, and the health server what follows.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from keyturn.decide.watchdog import LAG_S, Pulse, Watching, stalled, watching
from keyturn.flow.workqueue import WorkQueue
from keyturn.handlers.hearing import Hearing
from keyturn.kube.watch import MetadataWatch

log = logging.getLogger("keyturn.watchdog")

BEAT_S = 1.0
REMEMBERED = 60
"""Beats whose lateness is remembered: a scrape each minute misses none."""


@dataclass(slots=True)
class Watchdog:
    """The pulses of the event loop, the watches, the queue and the workers. Times are in seconds of the monotonic clock."""

    queue: WorkQueue
    watches: Sequence[MetadataWatch]
    stall_limit_s: float
    dead_limit_s: float
    hearing: Hearing = field(default_factory=Hearing)
    _beat_s: float | None = None
    _late_s: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _timer: asyncio.TimerHandle | None = None
    _loop_thread: int = 0
    _told: frozenset[str] = frozenset()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def times(self) -> Watching:
        """What a watch must keep to, so that a healthy one is not taken for stalled."""
        return watching(self.stall_limit_s)

    def begin(self) -> None:
        """Beats from now on, on the running loop."""
        self._loop_thread, self._beat_s = threading.get_ident(), time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def end(self) -> None:
        """Beats no more, and expects nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._beat_s = None

    def _beat(self) -> None:
        now, before = time.monotonic(), self._beat_s
        self._late_s.append(max(0.0, now - before - BEAT_S) if before is not None else 0.0)
        self._beat_s = now
        self.hearing.look()
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)
        self.problems()

    @property
    def lag_s(self) -> float:
        """How late the loop was at most within the last minute, and is now."""
        overdue = time.monotonic() - self._beat_s - BEAT_S if self._beat_s is not None else 0.0
        return max(0.0, overdue, *tuple(self._late_s))

    def problems(self) -> list[str]:
        """What stands still, in plain words; logged where it is new."""
        now = time.monotonic()
        found = stalled(self._loop(LAG_S), self._parts(), now)
        self._tell(found, now)
        return [pulse.told(now) for pulse in found]

    def deaths(self) -> list[str]:
        """Why only a new process helps."""
        loop, now = self._loop(self.dead_limit_s), time.monotonic()
        return [loop.told(now)] if loop.is_stalled(now) else []

    def _loop(self, limit_s: float) -> Pulse:
        return Pulse("the event loop stands still", self._beat_s, limit_s)

    def _parts(self) -> Iterator[Pulse]:
        for watch in self.watches:
            # Where it says itself what is wrong, that is told instead.
            yield Pulse(f"the watch of {watch.path} brings nothing", None if watch.problem else watch.heard_s, self.stall_limit_s)
        for path, heard in self.hearing.watches.items():
            yield Pulse(f"the watch of {path} brings nothing", heard.heard_s, self.stall_limit_s)
        yield Pulse("objects wait in the queue, and no worker takes one", self.queue.untaken_since, self.stall_limit_s)
        held = self.queue.longest_at_work
        yield Pulse("a worker is busy with one object", held[1] if held else None, self.stall_limit_s)

    def _tell(self, found: Sequence[Pulse], now: float) -> None:
        with self._lock:
            told, self._told = self._told, frozenset(pulse.claim for pulse in found)
            fresh = [pulse for pulse in found if pulse.claim not in told]
        for pulse in fresh:
            log.warning("stalled: %s", pulse.told(now), extra=self._more(pulse))
        for claim in sorted(told - self._told):
            log.info("stalled no more: %s", claim)

    def _more(self, pulse: Pulse) -> dict[str, object]:
        """What helps to find the cause, and is not for strangers: the object, or the place in our code."""
        if pulse.claim == self._loop(0).claim:
            frame = sys._current_frames().get(self._loop_thread)
            return {"at": [f"{f.name} in {f.filename}:{f.lineno}" for f in traceback.extract_stack(frame)[-12:]] if frame else []}
        held = self.queue.longest_at_work
        return {"object": str(held[0])} if held and pulse.beat_s == held[1] else {}
