"""One identity at Secret Manager: its connection, its token, and what happens when the token ages or dies.

However many ask, one log-in is on its way at a time. There is no background work: a token is cared for when it is next used.
Nothing here is shared with another provider object, not the connection either.
"""

import asyncio
import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keyturn.decide.audience import RENEW_AT
from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.model.google import GooglePlaces
from keyturn.model.sensitive import Sensitive
from keyturn.providers.google_login import Entrance
from keyturn.providers.google_names import Place
from keyturn.providers.google_wire import TooLong, Wire

LOG_IN_S: Final = 20.0
SPREAD: Final = 0.1
"""Up to this part earlier, so that many that began together do not come back together."""


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """What lets us in, until when it is used without a look, and until when it holds."""

    secret: Sensitive
    due_at_s: float
    ends_at_s: float


class Session:
    """Requests by one entrance. Raises a `ProviderError` where none could be made."""

    def __init__(
        self,
        place: Place,
        entrance: Entrance,
        places: GooglePlaces,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._server = places.regional.format(location=place.location) if place.location else places.secrets
        self._authority = places.authority
        self._entrance = entrance
        self._clock = clock
        self._chance = chance
        self._wire: Wire | None = None
        self._trusted: bytes | None = None
        self._pass: Pass | None = None
        self._flight: asyncio.Task[Pass] | None = None
        self._is_closed = False

    async def ask(self, method: str, request: Any, what: str) -> Any:
        """What a method of Google's client gives; ``what`` was asked for, in words, such as "the key db"."""
        had = await self._usable()
        try:
            return await self._send(method, request, had, what)
        except AuthFailed as error:
            refusal = error.with_traceback(None)
        # A token that was revoked, an account that was made anew: the next one may be let in.
        fresh = await self._share(had)
        if fresh is had or fresh.secret == had.secret:
            raise refusal
        return await self._send(method, request, fresh, what)

    def check_open(self) -> None:
        """Raises `Unavailable` once it is closed."""
        if self._is_closed:
            raise Unavailable("the provider is closed")

    async def close(self) -> None:
        """Ends the log-in that is on its way, and the connection."""
        self._is_closed = True
        if self._flight:
            self._flight.cancel()
            await asyncio.wait({self._flight})
        wire, self._wire, self._pass = self._wire, None, None
        if wire is not None:
            await wire.close()

    async def _usable(self) -> Pass:
        self.check_open()
        had = self._pass
        if had is not None and self._clock() < had.due_at_s:
            return had
        try:
            return await self._share(had)
        except Unavailable:
            # Due, and good for a third of its life yet: whoever asks next looks after it.
            if had is None or self._is_closed or self._clock() >= had.ends_at_s:
                raise
            return had

    async def _share(self, had: Pass | None) -> Pass:
        """The pass that stands in for ``had``: another's finding, or a new one. All who ask meanwhile share it."""
        self.check_open()
        if self._pass is not None and self._pass is not had:
            return self._pass
        flight = self._flight
        if flight is None or flight.done():
            self._flight = flight = asyncio.create_task(self._renew(), name="keyturn-google-login")
        # wait() leaves the task alone when this waiter is cancelled: others still wait for it.
        await asyncio.wait({flight})
        if flight.cancelled():
            raise Unavailable("the provider is closed")
        if error := flight.exception():
            # One for each waiter: raising one object in many tasks would chain their tracebacks.
            raise copy.copy(error)
        return flight.result()

    async def _renew(self) -> Pass:
        began = self._clock()
        try:
            async with asyncio.timeout(LOG_IN_S):
                token = await self._entrance.log_in()
        except TimeoutError:
            raise Unavailable("Google's token service gave no answer") from None
        use_s = token.length_s * RENEW_AT * (1 - SPREAD * self._chance())
        self._pass = Pass(token.secret, began + use_s, began + token.length_s)
        return self._pass

    async def _send(self, method: str, request: Any, way_in: Pass, what: str) -> Any:
        wire = await self._connected()
        try:
            return await wire.ask(method, request, way_in.secret, what)
        except TooLong:
            raise
        except Unavailable:
            # gRPC would refuse calls by itself until its own back-off is over, also when the server is there again.
            if self._wire is wire:
                self._wire = None
            await wire.retire()
            raise

    async def _connected(self) -> Wire:
        if self._authority and self._trusted is None:
            self._trusted = await asyncio.to_thread(self._read_authority)
        self.check_open()
        if self._wire is None:
            self._wire = Wire(self._server, self._trusted)
        return self._wire

    def _read_authority(self) -> bytes:
        try:
            return Path(self._authority).read_bytes()
        except OSError:
            problem = f"{self._authority}, which holds whom to trust at Google, cannot be read"
        raise AuthFailed(problem)
