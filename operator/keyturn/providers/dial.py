"""The one way to a server whose address somebody wrote into a spec: one question, and its answer or always the same error.

For a tenant's server each address is checked that a name stands for, and again each one that a socket
is made for, so that no spelling, and no name that changes its mind, leads elsewhere. Whatever fails,
fails alike and at the same moment: a tenant must not learn by us what is where. Follows no redirect,
keeps no cookie, unpacks nothing. Never logs a path, a header or a body.
"""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from keyturn import __version__
from keyturn.decide.address import AddressRules, may_dial
from keyturn.model.errors import Unavailable

log = logging.getLogger("keyturn.dial")

NO_ANSWER: Final = "the server gave no answer"
LIMIT: Final = 64 << 10  # bytes

POOL: Final = 32
CONNECT_S: Final = 3.0
TOTAL_S: Final = 10.0
# After its begin, for a tenant: a little after each of the two limits, so that it does not matter what was met before.
FAILS_AT_S: Final = (CONNECT_S + 0.5, TOTAL_S + 0.5)
TOLD_EVERY_S: Final = 60.0

_HEADERS: Final = {"User-Agent": f"keyturn/{__version__}", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, whatever its status but a redirect. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class TooLong(Unavailable):
    """An answer came, and is longer than the asker takes. In the words of all others: told from them by its class alone."""


class _Useless(OSError):
    """An address or an answer that we do not take. Its text is ours, for the log."""


class _Endless(_Useless):
    """An answer that is too long."""


class Dialer:
    """Opens lines to servers. Without rules a server was chosen by an admin, and is taken as it is: proxy and all."""

    def __init__(self, rules: AddressRules | None) -> None:
        self._rules = rules

    def open(self, server: str, tls: ssl.SSLContext) -> "Line":
        """A line to the server at this URL, without I/O."""
        return Line(server, tls, self._rules)


class Line:
    """Connections to one server, as one client: whoever logs in by another certificate or authority opens another."""

    def __init__(self, server: str, tls: ssl.SSLContext, rules: AddressRules | None) -> None:
        self._server = server
        self._tls = tls
        self._rules = rules
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self._silent_until = 0.0

    async def send(self, verb: str, path: str, *, headers: Mapping[str, str], body: bytes | None = None, limit: int = LIMIT) -> Answer:
        """Asks at the server's URL with ``path``, encoded and with its slash, behind it; ``limit`` is the longest body, in bytes.

        Raises `Unavailable`, always in the same words, where no answer comes that is of use: `TooLong` where it was for its length.
        """
        if self._is_closed:
            raise Unavailable(NO_ANSWER)
        begun = asyncio.get_running_loop().time()
        failed: type[Unavailable] = Unavailable
        try:
            async with asyncio.timeout(TOTAL_S):
                return await self._ask(verb, path, headers, body, limit)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # ValueError: what no URL, name or header can hold. RuntimeError: the session was closed meanwhile.
            self._tell(error)
            failed = TooLong if isinstance(error, _Endless) else Unavailable
        if self._rules is not None:
            await _hold(begun)
        raise failed(NO_ANSWER)  # here, where no library's text hangs on it

    async def close(self) -> None:
        """Ends the connections; may be called twice. What is asked after it, or still under way, gets no answer."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, verb: str, path: str, headers: Mapping[str, str], body: bytes | None, limit: int) -> Answer:
        session = self._session = self._session or self._opened()
        url = URL(f"{self._server}{path}", encoded=True)
        async with session.request(verb, url, headers=headers, data=body, allow_redirects=False) as response:
            if not 200 <= response.status < 300 and response.status < 400:
                raise _Useless(f"its answer is a redirect or none at all ({response.status})")
            found = bytearray()
            async for part in response.content.iter_any():
                found += part
                if len(found) > limit:
                    raise _Endless(f"its answer is longer than {limit} bytes")
            return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(found))

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=POOL, ssl=self._tls, resolver=_Names(self._rules), socket_factory=self._socket if self._rules else None
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S),
            auto_decompress=False,
            trust_env=self._rules is None,
        )

    def _socket(self, target: tuple[Any, ...]) -> socket.socket:
        """Literal addresses come past the resolver, in any spelling that a library knows: here they all come by."""
        family, kind, protocol, _, address = target
        if self._rules is not None and not may_dial(str(address[0]), self._rules):
            raise _Useless("its address is not allowed; see --allow-addresses")
        return socket.socket(family, kind, protocol)

    def _tell(self, error: Exception) -> None:
        """For whoever runs the operator: why, once in a while. Of a library's error the class alone."""
        now = asyncio.get_running_loop().time()
        if now < self._silent_until:
            return
        self._silent_until = now + TOLD_EVERY_S
        inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        log.info("no answer", extra={"server": self._server, "why": str(inner) if isinstance(inner, _Useless) else type(inner).__name__})


async def _hold(begun: float) -> None:
    """Waits for the next of the moments at which a tenant's request fails."""
    past = asyncio.get_running_loop().time() - begun
    await asyncio.sleep(next((moment - past for moment in FAILS_AT_S if moment > past), 0))


class _Names(AbstractResolver):
    """Looks names up. What it gives is connected to as it is, and kept some seconds: the name is not asked again on the way.

    aiohttp has one look-up under way for each line and name, also when nobody waits for it any more.
    """

    def __init__(self, rules: AddressRules | None) -> None:
        self._rules = rules

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        addresses = await _look_up(host, family)
        # One that is refused spoils the name: to try the others would tell of it, and who answers so is up to no good.
        if self._rules is not None and not all(may_dial(address, self._rules) for address in addresses):
            raise _Useless("its name stands for an address that is not allowed; see --allow-addresses")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is kept open."""


async def _look_up(host: str, family: int) -> list[str]:
    """In a thread of its own, which nobody waits for: in a shared pool, names that hang would stop all others."""
    answer: Future[list[str]] = Future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except (OSError, ValueError) as error:
            answer.set_exception(error)
        else:
            answer.set_result(list(dict.fromkeys(str(address[0]) for *_, address in found)))

    answer.set_running_or_notify_cancel()
    threading.Thread(target=ask, name="keyturn-name", daemon=True).start()
    return await asyncio.wrap_future(answer)
