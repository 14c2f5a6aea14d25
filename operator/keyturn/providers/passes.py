"""The pass of one identity at one server, whatever it is made of, and the one log-in that brings it to all who ask.

However many ask, one log-in is on its way at a time. There is no background work: a pass is cared for when it is next used, and
one that nobody uses may end.
"""

import asyncio
import copy
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from keyturn.decide.tokenlife import due_after_s
from keyturn.model.errors import Unavailable
from keyturn.model.sensitive import Sensitive

LOG_IN_S: Final = 30.0


class Lasting(Protocol):
    """What lets us in."""

    @property
    def due_at_s(self) -> float:
        """Until when it is used without a look, in seconds of the clock of its `Passes`."""

    @property
    def ends_at_s(self) -> float:
        """Until when it holds, so that it is used while whoever gives a new one is away. No less than ``due_at_s``."""


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """A token that is shown with each request; without a time it is one of which nobody tells when it ends."""

    secret: Sensitive
    due_at_s: float = float("inf")
    ends_at_s: float = float("inf")

    @classmethod
    def of(cls, secret: Sensitive, now_s: float, length_s: float, chance: float) -> "Pass":
        """One that was given at ``now_s`` for so long; ``chance`` is in [0, 1)."""
        return cls(secret, now_s + due_after_s(length_s, chance), now_s + length_s)


_P = TypeVar("_P", bound=Lasting)


class Passes(Generic[_P]):
    """The pass that there is now, and the way to the next: ``log_in``, which raises a `ProviderError`.

    ``name`` is the log-in's among tasks, ``silence`` what is said of one that takes longer than ``log_in_s``. ``kept`` is the pass;
    a log-in may set it before it has brought it, or take away one that is dead.
    """

    def __init__(
        self,
        name: str,
        log_in: Callable[[], Coroutine[Any, Any, _P]],
        *,
        clock: Callable[[], float],
        silence: str,
        log_in_s: float = LOG_IN_S,
    ) -> None:
        self.kept: _P | None = None
        self._name = name
        self._log_in = log_in
        self._clock = clock
        self._silence = silence
        self._log_in_s = log_in_s
        self._flight: asyncio.Task[_P] | None = None
        self._is_closed = False

    async def usable(self) -> _P:
        """The pass, or a new one where it is due. Raises what the log-in raises, where the pass does not hold for longer."""
        self.check_open()
        had = self.kept
        if had is not None and self._clock() < had.due_at_s:
            return had
        try:
            return await self.share(had)
        except Unavailable:
            # Due, and good for a while yet: whoever asks next looks after it.
            if had is None or self._is_closed or self._clock() >= had.ends_at_s:
                raise
            return had

    async def share(self, had: _P | None, start: Callable[[], Coroutine[Any, Any, _P]] | None = None) -> _P:
        """The pass that stands in for ``had``: another's finding, or what ``start`` brings, which is a log-in where it is not told.

        All who ask meanwhile share it, or its failure. What it brings may be ``had``.
        """
        self.check_open()
        if self.kept is not None and self.kept is not had:
            return self.kept
        flight = self._flight
        if flight is None or flight.done():
            self._flight = flight = asyncio.create_task(self._fly(start or self._log_in), name=self._name)
            flight.add_done_callback(_heard)
        # wait() leaves the task alone when this waiter is cancelled: others still wait for it.
        await asyncio.wait({flight})
        if flight.cancelled():
            raise Unavailable("the provider is closed")
        if error := flight.exception():
            # One for each waiter: raising one object in many tasks would chain their tracebacks.
            raise copy.copy(error)
        return flight.result()

    def check_open(self) -> None:
        """Raises `Unavailable` once it is closed."""
        if self._is_closed:
            raise Unavailable("the provider is closed")

    async def close(self) -> _P | None:
        """Ends the log-in that is on its way. Gives the pass to the first who closes, who may want to give it back."""
        self._is_closed = True
        if self._flight:
            self._flight.cancel()
            await asyncio.wait({self._flight})
        had, self.kept = self.kept, None
        return had

    async def _fly(self, start: Callable[[], Coroutine[Any, Any, _P]]) -> _P:
        # Those who wait have a deadline, the log-in has none of theirs.
        try:
            async with asyncio.timeout(self._log_in_s):
                self.kept = await start()
        except TimeoutError:
            raise Unavailable(self._silence) from None
        return self.kept


def _heard(flight: asyncio.Task[_P]) -> None:
    """Those who waited may have gone before it failed: then it is nobody's error, and none for the log."""
    if not flight.cancelled():
        flight.exception()
