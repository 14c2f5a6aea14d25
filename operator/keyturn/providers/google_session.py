"""One identity at Secret Manager: its connection, its token, and what happens when the token ages or dies.

Nothing here is shared with another provider object, not the connection either.
"""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.model.google import GooglePlaces
from keyturn.providers.google_login import Entrance
from keyturn.providers.google_names import Place
from keyturn.providers.google_wire import TooLong, Wire
from keyturn.providers.passes import Pass, Passes

LOG_IN_S: Final = 20.0


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
        silence = "Google's token service gave no answer"
        self._passes = Passes[Pass]("keyturn-google-login", self._log_in, clock=clock, silence=silence, log_in_s=LOG_IN_S)

    async def ask(self, method: str, request: Any, what: str) -> Any:
        """What a method of Google's client gives; ``what`` was asked for, in words, such as "the key db"."""
        had = await self._passes.usable()
        try:
            return await self._send(method, request, had, what)
        except AuthFailed as error:
            refusal = error.with_traceback(None)
        # A token that was revoked, an account that was made anew: the next one may be let in.
        fresh = await self._passes.share(had)
        if fresh is had or fresh.secret == had.secret:
            raise refusal
        return await self._send(method, request, fresh, what)

    def check_open(self) -> None:
        """Raises `Unavailable` once it is closed."""
        self._passes.check_open()

    async def close(self) -> None:
        """Ends the log-in that is on its way, and the connection."""
        await self._passes.close()
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def _log_in(self) -> Pass:
        began_s = self._clock()
        token = await self._entrance.log_in()
        return Pass.of(token.secret, began_s, token.length_s, self._chance())

    async def _send(self, method: str, request: Any, way_in: Pass, what: str) -> Any:
        wire = await self._connected()
        try:
            return await wire.ask(method, request, way_in.secret, what, str(self._entrance).rstrip(","))
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
