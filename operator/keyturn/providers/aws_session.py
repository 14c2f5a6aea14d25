"""One identity at AWS Secrets Manager, and what happens when its credentials age, are replaced or die.

However many ask, one log-in is on its way at a time. There is no background work: credentials are cared for when they are next used.
"""

import asyncio
import copy
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.providers.aws_channel import Channel
from keyturn.providers.aws_login import Entrance
from keyturn.providers.aws_wire import Pass, Reply, failure
from keyturn.providers.dial import LIMIT, NO_ANSWER
from keyturn.providers.room import Hold

LOG_IN_S: Final = 30.0


class Session:
    """Requests to the service, as whoever comes in by the entrance. Raises a `ProviderError` where none could be made."""

    def __init__(
        self,
        channel: Channel,
        entrance: Entrance,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._channel = channel
        self._entrance = entrance
        self._clock = clock
        self._chance = chance
        self._pass: Pass | None = None
        self._flight: asyncio.Task[Pass] | None = None
        self._is_closed = False

    async def ask(
        self, operation: str, asked: Mapping[str, object], what: str, *, limit: int = LIMIT, room: Hold | None = None
    ) -> Mapping[str, Any]:
        """What is told. ``what`` stands for the request in errors. Raises what the refusal means."""
        self.check_open()
        had = await self._usable()
        reply = await self._send(operation, asked, had, limit, room)
        if reply.is_stranger:
            # A key that was replaced a moment ago, a session that has ended: the next one may be let in.
            fresh = await self._share(had, is_refused=True)
            if fresh is not had:
                reply = await self._send(operation, asked, fresh, limit, room)
        if reply.is_stranger:
            raise AuthFailed(f"AWS does not know {self._entrance}: it is wrong, or has ended; renew it", request_id=reply.request_id)
        if not reply.is_success:
            raise failure(reply, what)
        return reply.told

    def check_open(self) -> None:
        """Raises `Unavailable` once it is closed."""
        if self._is_closed:
            raise Unavailable("the provider is closed")

    async def close(self) -> None:
        """Ends the log-in that is on its way, and the connections."""
        self._is_closed = True
        if self._flight:
            self._flight.cancel()
            await asyncio.wait({self._flight})
        self._pass = None
        await self._channel.close()
        await self._entrance.close()

    async def _send(self, operation: str, asked: Mapping[str, object], way_in: Pass, limit: int, room: Hold | None) -> Reply:
        return await self._channel.ask(operation, asked, way_in, limit=limit, room=room)

    async def _usable(self) -> Pass:
        had = self._pass
        if had is not None and self._clock() < had.due_at_s:
            return had
        try:
            return await self._share(had)
        except Unavailable:
            # Due, and good for a while yet: whoever asks next looks after it.
            if had is None or self._is_closed or self._clock() >= had.ends_at_s:
                raise
            return had

    async def _share(self, had: Pass | None, *, is_refused: bool = False) -> Pass:
        """The pass that stands in for ``had``: another's finding, or a new one. All who ask meanwhile share it."""
        self.check_open()
        if self._pass is not None and self._pass is not had:
            return self._pass
        flight = self._flight
        if flight is None or flight.done():
            self._flight = flight = asyncio.create_task(self._renew(had, is_refused=is_refused), name="keyturn-aws-login")
        # wait() leaves the task alone when this waiter is cancelled: others still wait for it.
        await asyncio.wait({flight})
        if flight.cancelled():
            raise Unavailable("the provider is closed")
        if error := flight.exception():
            # One for each waiter: raising one object in many tasks would chain their tracebacks.
            raise copy.copy(error)
        return flight.result()

    async def _renew(self, had: Pass | None, *, is_refused: bool) -> Pass:
        try:
            async with asyncio.timeout(LOG_IN_S):
                fresh = await self._entrance.log_in(self._clock(), self._chance(), is_anew=is_refused)
        except TimeoutError:
            raise Unavailable(NO_ANSWER) from None
        if is_refused and had is not None and fresh.is_as(had):
            return had
        self._pass = fresh
        return fresh
