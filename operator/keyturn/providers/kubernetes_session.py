"""One identity at one API server: its connection and its token, and what happens when the token ages or dies.

A tenant's token goes to the operator's own API server and nowhere else, by connections that know nobody else.
"""

import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.model.ids import KeyPair
from keyturn.model.kubernetes import OtherCluster
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.ports import References, TenantTokens
from keyturn.providers.dial import LIMIT, NO_ANSWER, Answer, Dialer, Line
from keyturn.providers.kubernetes_wire import JSON, is_kubernetes
from keyturn.providers.passes import Pass, Passes
from keyturn.providers.room import Hold
from keyturn.providers.tls import context_of

_CERTIFICATE: Final = Sensitive(b"")
"""For a pass of which nothing is shown: who comes is known by the connection."""


class Entrance(Protocol):
    """A way in to one API server, as one identity."""

    async def connect(self) -> Line:
        """Opens it. Raises a `ProviderError`."""

    async def log_in(self, now_s: float) -> Pass:
        """A pass that is new, or as new as there is. Raises a `ProviderError`."""

    def __str__(self) -> str:
        """Who comes in by it."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A ServiceAccount of this cluster, at its own API server."""

    who: ServiceAccount
    tokens: TenantTokens
    server: str
    tls: ssl.SSLContext
    dialer: Dialer
    chance: Callable[[], float] = random.random

    async def connect(self) -> Line:
        return self.dialer.open(self.server, self.tls)

    async def log_in(self, now_s: float) -> Pass:
        token = await self.tokens.at_home(self.who)
        return Pass.of(_as_token(token.secret, str(self.who)), now_s, token.length_s, self.chance())

    def __str__(self) -> str:
        return str(self.who)


@dataclass(frozen=True, slots=True)
class Stranger:
    """Whoever has a credential for another cluster."""

    config: OtherCluster
    references: References
    dialer: Dialer

    async def connect(self) -> Line:
        login = self.config.login
        tls = await context_of(self.references, self.config.authority, "server.caProvider", login if isinstance(login, KeyPair) else None)
        return self.dialer.open(self.config.server, tls)

    async def log_in(self, now_s: float) -> Pass:  # noqa: ARG002  # nobody tells when it ends
        login = self.config.login
        if isinstance(login, KeyPair):
            return Pass(_CERTIFICATE)
        return Pass(_as_token(await self.references.read(login), f"{login}, key {login.key},"))

    def __str__(self) -> str:
        login = self.config.login
        return f"the client certificate in {login.certificate}" if isinstance(login, KeyPair) else f"the token in {login}"


class Session:
    """Requests by one entrance. Raises a `ProviderError` where none could be made."""

    def __init__(self, entrance: Entrance, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._entrance = entrance
        self._clock = clock
        self._line: Line | None = None
        self._passes = Passes[Pass]("keyturn-kubernetes-login", self._log_in, clock=clock, silence=NO_ANSWER)

    async def ask(
        self, verb: str, path: str, *, accept: str = JSON, body: bytes | None = None, limit: int = LIMIT, room: Hold | None = None
    ) -> Answer:
        """The answer, be it a refusal of what is asked. Raises `AuthFailed` where the refusal is of the identity."""
        headers = {"Accept": accept} | ({"Content-Type": JSON} if body is not None else {})
        had = await self._passes.usable()
        answer = await self._send(verb, path, had, headers, body, limit, room)
        if answer.status != 401:
            return answer
        # A ServiceAccount that was made anew, a token that was replaced a moment ago: the next one may be let in.
        fresh = await self._passes.share(had, partial(self._log_in, refused=had))
        if fresh is not had:
            answer = await self._send(verb, path, fresh, headers, body, limit, room)
        if answer.status == 401:
            raise AuthFailed(f"the API server does not know {self._entrance}: it has ended, or is of another cluster; renew it")
        return answer

    def check_open(self) -> None:
        """Raises `Unavailable` once it is closed."""
        self._passes.check_open()

    async def close(self) -> None:
        """Ends the log-in that is on its way, and the connections."""
        await self._passes.close()
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def _log_in(self, refused: Pass | None = None) -> Pass:
        """A new pass, or the ``refused`` one where there is no other."""
        if self._line is None:
            self._line = await self._entrance.connect()
        fresh = await self._entrance.log_in(self._clock())
        return refused if refused is not None and fresh.secret == refused.secret else fresh

    async def _send(
        self, verb: str, path: str, way_in: Pass, headers: Mapping[str, str], body: bytes | None, limit: int, room: Hold | None
    ) -> Answer:
        if self._line is None:
            raise Unavailable("the provider is closed")
        if way_in.secret:
            headers = {**headers, "Authorization": f"Bearer {way_in.secret.reveal().decode('ascii')}"}
        return await self._line.send(verb, path, headers=headers, body=body, limit=limit, knows=is_kubernetes, room=room)


def _as_token(value: Sensitive, source: str) -> Sensitive:
    """The token without white space around it; what no header takes, its refusal would quote."""
    word = value.reveal().strip()
    if not word or any(not 0x21 <= byte <= 0x7E for byte in word):
        raise AuthFailed(f"{source} holds no token: it is empty, or has other characters than a token has")
    return Sensitive(word)
