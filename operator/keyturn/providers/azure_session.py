"""One identity at one vault: the SDK's client over a session of ours, its token, and what happens when that ages or dies.

However many ask, one log-in is on its way. There is no background work: a token is cared for when it is next used. The SDK checks
that what a vault asks for is a token of the domain that the vault is in; here it has to be the cloud's one resource besides.
"""

import asyncio
import copy
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

import aiohttp
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.keyvault.secrets._shared import HttpChallengeCache
from azure.keyvault.secrets.aio import SecretClient

from keyturn.model.azure import AzureConfig
from keyturn.model.errors import AuthFailed, ProviderError, Unavailable
from keyturn.providers.azure_login import PATIENCE, Entrance, transport
from keyturn.providers.azure_road import LIMIT, Road, answers_of
from keyturn.providers.azure_wire import failure
from keyturn.providers.dial import NO_ANSWER

_T = TypeVar("_T")

LOG_IN_S: Final = 30.0
RENEW_AT: Final = 2 / 3
"""The part of its life after which a token is asked for anew."""
SPREAD: Final = 0.1
"""Up to this part earlier, so that many that began together do not come back together."""

# They tell names of secrets with each call, and repeat the words of a server that refuses a log-in.
for _name in ("azure", "msal"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """A token, until when it is used without a look, and until when it holds."""

    token: str = field(repr=False)
    due_at_s: float
    ends_at_s: float


@dataclass(slots=True, eq=False)
class _Way:
    """One request on its way: what it was let in with, and whether that is a second one, after the first was refused."""

    given: Pass | None = None
    is_second: bool = False


_way: ContextVar[_Way] = ContextVar("keyturn-azure-way")


class _Departure(SansIOHTTPPolicy[Any, Any]):
    """Tells a call's requests apart: to wait for a deletion takes several."""

    def on_request(self, request: PipelineRequest[Any]) -> None:  # noqa: ARG002  # they are alike
        way = _way.get()
        way.given, way.is_second = None, False


class Session:
    """Calls to the vault of an `AzureConfig`. Raises a `ProviderError` where none could be made."""

    def __init__(
        self,
        config: AzureConfig,
        entrance: Entrance,
        road: Road,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._scope = f"https://{config.vault.partition('.')[2]}/.default"
        self._entrance = entrance
        self._road = road
        self._clock = clock
        self._chance = chance
        self._line: aiohttp.ClientSession | None = None
        self._client: SecretClient | None = None
        self._pass: Pass | None = None
        self._opening = asyncio.Lock()
        self._flight: asyncio.Task[Pass] | None = None
        self._is_closed = False

    async def ask(self, call: Callable[[SecretClient], Awaitable[_T]], what: str, *, limit: int = LIMIT) -> _T:
        """What the SDK's client gives for ``call``, which asks for ``what`` and may be made twice. ``limit`` is of its answer, in bytes."""
        client = await self._connected()
        failed: ProviderError = Unavailable(NO_ANSWER)
        for is_last in (False, True):
            way = _Way()
            mark = _way.set(way)
            try:
                with answers_of(limit):
                    return await call(client)
            except HttpResponseError as error:
                failed = failure(error, what)
                if error.status_code != 401:
                    break
            except (AzureError, aiohttp.ClientError, OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
                failed = failure(error, what)
                break
            finally:
                _way.reset(mark)
            # A vault that the SDK does not know yet is asked for its challenge first, and after that refuses one token alone.
            if is_last or way.is_second or way.given is None:
                break
            await self._share(way.given)
        raise failed  # here, where no library's text hangs on it

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """For the SDK, which asks for each request, and a second time where the first token was refused."""
        if scopes != (self._scope,):
            # The SDK has it for the whole process, and would come with it again when the vault asks for the right one.
            HttpChallengeCache.remove_challenge_for_url(f"https://{self._config.vault}")
            raise AuthFailed("the server asks for a token of another resource than this cloud's Key Vault; none was sent")
        way = _way.get()
        way.is_second = way.given is not None
        way.given = await (self._usable() if way.given is None else self._share(way.given))
        # As if it had ended: else the SDK would keep it, and nobody would know which one it is that was refused.
        return AccessToken(way.given.token, 0)

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
        async with self._opening:
            line, client = self._line, self._client
            self._line = self._client = self._pass = None
        if client is not None:
            await client.close()
        if line is not None:
            await line.close()

    async def _connected(self) -> SecretClient:
        async with self._opening:
            self.check_open()
            if self._client is None:
                self._line = await self._road.open()
                credential = cast("Any", self)  # which the SDK never enters: it lives as long as we do
                self._client = SecretClient(
                    f"https://{self._config.vault}",
                    credential,
                    transport=transport(self._line),
                    per_call_policies=[_Departure()],
                    **PATIENCE,
                )
            return self._client

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
            self._flight = flight = asyncio.create_task(self._renew(), name="keyturn-azure-login")
        # wait() leaves the task alone when this waiter is cancelled: others still wait for it.
        await asyncio.wait({flight})
        if flight.cancelled():
            raise Unavailable("the provider is closed")
        if error := flight.exception():
            # One for each waiter: raising one object in many tasks would chain their tracebacks.
            raise copy.copy(error)
        return flight.result()

    async def _renew(self) -> Pass:
        if self._line is None:
            raise Unavailable("the provider is closed")
        try:
            async with asyncio.timeout(LOG_IN_S):
                token, ends_at = await self._entrance.log_in(self._line, self._scope)
        except TimeoutError:
            raise Unavailable(NO_ANSWER) from None
        # When a token ends is told by the calendar; until then it is kept by a clock that nobody sets.
        life_s = max(0.0, ends_at - time.time())
        now_s = self._clock()
        self._pass = Pass(token, now_s + life_s * RENEW_AT * (1 - SPREAD * self._chance()), now_s + life_s)
        return self._pass
