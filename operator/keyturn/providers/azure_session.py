"""One identity at one vault: the SDK's client over a session of ours, its token, and what happens when that ages or dies.

The SDK checks that what a vault asks for is a token of the domain that the vault is in; here it has to be the cloud's one resource besides.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import aiohttp
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.keyvault.secrets._shared import HttpChallengeCache
from azure.keyvault.secrets.aio import SecretClient

from keyturn.model.azure import AzureConfig
from keyturn.model.errors import AuthFailed, ProviderError, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.providers.azure_login import PATIENCE, Entrance, transport
from keyturn.providers.azure_road import LIMIT, Road, answers_of
from keyturn.providers.azure_wire import failure
from keyturn.providers.dial import NO_ANSWER
from keyturn.providers.passes import Pass, Passes

_T = TypeVar("_T")

# They tell names of secrets with each call, and repeat the words of a server that refuses a log-in.
for _name in ("azure", "msal"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


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
        self._opening = asyncio.Lock()
        self._passes = Passes[Pass]("keyturn-azure-login", self._log_in, clock=clock, silence=NO_ANSWER)

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
                failed = failure(error, f"{what} in {self.vault}", self._silence)
                if error.status_code != 401:
                    break
            except (AzureError, aiohttp.ClientError, OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
                failed = failure(error, f"{what} in {self.vault}", self._silence)
                break
            finally:
                _way.reset(mark)
            # A vault that the SDK does not know yet is asked for its challenge first, and after that refuses one token alone.
            if is_last or way.is_second or way.given is None:
                break
            await self._passes.share(way.given)
        raise failed  # here, where no library's text hangs on it

    @property
    def vault(self) -> str:
        """The vault's host."""
        return self._config.vault

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """For the SDK, which asks for each request, and a second time where the first token was refused."""
        if scopes != (self._scope,):
            # The SDK has it for the whole process, and would come with it again when the vault asks for the right one.
            HttpChallengeCache.remove_challenge_for_url(f"https://{self._config.vault}")
            raise AuthFailed("the server asks for a token of another resource than this cloud's Key Vault, and none was sent")
        way = _way.get()
        way.is_second = way.given is not None
        way.given = await (self._passes.usable() if way.given is None else self._passes.share(way.given))
        # As if it had ended: else the SDK would keep it, and nobody would know which one it is that was refused.
        return AccessToken(way.given.secret.reveal().decode(), 0)

    def check_open(self) -> None:
        """Raises `Unavailable` once it is closed."""
        self._passes.check_open()

    async def close(self) -> None:
        """Ends the log-in that is on its way, and the connections."""
        await self._passes.close()
        async with self._opening:
            line, client = self._line, self._client
            self._line = self._client = None
        if client is not None:
            await client.close()
        if line is not None:
            await line.close()

    def _silence(self, error: Exception) -> str:
        return self._road.silence_of(self._config.vault, error)

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

    async def _log_in(self) -> Pass:
        if self._line is None:
            raise Unavailable("the provider is closed")
        token, ends_at = await self._entrance.log_in(self._line, self._scope)
        # When a token ends is told by the calendar; until then it is kept by a clock that nobody sets.
        return Pass.of(Sensitive.of(token), self._clock(), max(0.0, ends_at - time.time()), self._chance())
