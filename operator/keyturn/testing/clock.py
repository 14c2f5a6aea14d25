"""Time that passes only when nothing else is left to do, so that an hour of a test takes a millisecond."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

_T = TypeVar("_T")

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class _Impatient(selectors.DefaultSelector):
    """Does not wait for the time that the loop would sleep; it is added to ``skipped_s`` instead."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is None or timeout > 0 else timeout)
        if not ready and timeout is None:
            # Nothing is planned, so only a thread or a signal can bring something: that takes real time.
            return super().select(timeout)
        if not ready and timeout is not None and timeout > 0:
            self.skipped_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer. For work that waits for no thread and no socket."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.skipped_s


class FakeClock:
    """Wall-clock time that goes with the running loop's; ``jump`` sets it forward alone, as an administrator would."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=asyncio.get_running_loop().time())

    def jump(self, seconds: float) -> None:
        """Moves the wall clock and not the loop."""
        self._start += timedelta(seconds=seconds)


def play(story: Callable[[], Awaitable[_T]]) -> _T:
    """Runs a coroutine function to its end on virtual time."""

    async def tell() -> Any:
        return await story()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(tell())  # type: ignore[no-any-return]  # Runner is typed by the coroutine, which wraps an Awaitable
