"""One identity at AWS Secrets Manager, and what happens when its credentials age, are replaced or die.

Keeps no credentials: those are with the `Passes`.
"""

import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar, cast

from keyturn.model.errors import AuthFailed
from keyturn.providers.aws_channel import Channel
from keyturn.providers.aws_login import Entrance
from keyturn.providers.aws_wire import Pass, failure
from keyturn.providers.dial import LIMIT, NO_ANSWER
from keyturn.providers.passes import Passes
from keyturn.providers.room import Hold

_T = TypeVar("_T")


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
        self._passes = Passes[Pass]("keyturn-aws-login", self._log_in, clock=clock, silence=NO_ANSWER)

    async def ask(
        self, operation: str, asked: Mapping[str, object], what: str, kind: type[_T], *, limit: int = LIMIT, room: Hold | None = None
    ) -> _T:
        """What is told, which is a ``kind`` of ``aws_json``. ``what`` stands for the request in errors. Raises what the refusal means."""
        had = await self._passes.usable()
        send = partial(self._channel.ask, operation, asked, kind=kind, limit=limit, room=room)
        reply = await send(way_in=had)
        if reply.is_stranger:
            # A key that was replaced a moment ago, a session that has ended: the next one may be let in.
            fresh = await self._passes.share(had, partial(self._log_in, refused=had))
            if fresh is not had:
                reply = await send(way_in=fresh)
        if reply.is_stranger:
            raise AuthFailed(f"AWS does not know {self._entrance}: it is wrong, or has ended; renew it", request_id=reply.request_id)
        if not reply.is_success:
            raise failure(reply, what, operation, self.who)
        return cast("_T", reply.told)

    @property
    def who(self) -> str:
        """Who asks, for messages."""
        return str(self._entrance)

    def check_open(self) -> None:
        """Raises `Unavailable` once it is closed."""
        self._passes.check_open()

    async def close(self) -> None:
        """Ends the log-in that is on its way, and the connections."""
        await self._passes.close()
        await self._channel.close()
        await self._entrance.close()

    async def _log_in(self, refused: Pass | None = None) -> Pass:
        """A new pass, or the ``refused`` one where there is no other."""
        fresh = await self._entrance.log_in(self._clock(), self._chance(), is_anew=refused is not None)
        return refused if refused is not None and fresh.is_as(refused) else fresh
