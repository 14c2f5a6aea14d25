"""The one way to a server whose address somebody wrote into a spec: one question, and its answer or always the same error.

For a tenant's server each address is checked that a name stands for, and again each one that a socket
is made for, so that no spelling, and no name that changes its mind, leads elsewhere. Whatever fails there,
fails alike and at the same moment, and so does whatever is no answer of the protocol that was spoken: a tenant
must not learn by us what is where. Of a server that an admin chose, or that is a cloud's own, the cause is told.
Follows no redirect, keeps no cookie, unpacks nothing. Never logs a path, a header or a body.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from keyturn import __version__
from keyturn.decide.address import AddressRules, may_dial
from keyturn.model.errors import Unavailable
from keyturn.providers.meter import Meter, Metered
from keyturn.providers.names import FOR_ADMINS, FOR_TENANTS
from keyturn.providers.room import Hold
from keyturn.providers.silence import SYSTEM, Cause, Teller, cause_of, in_words, silent

NO_ANSWER: Final = "the server gave no answer"
LIMIT: Final = 64 << 10  # bytes

POOL: Final = 32
CONNECT_S: Final = 3.0
"""For name, connection and TLS together, once there is a place in the pool."""
TOTAL_S: Final = 10.0
"""From the call on."""
# For a tenant, after it had its place: a little after each of the two limits, so that it does not matter what was met before.
FAILS_AT_S: Final = (CONNECT_S + 0.5, TOTAL_S + 0.5)

_LONGEST_PAUSE_S: Final = 3600.0

_HEADERS: Final = {"User-Agent": f"keyturn/{__version__}", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, whatever its status but a redirect. Names of headers are in lower case.

    ``is_cut``: the body was longer than asked for, and this is its beginning. Seen by a `Knows` alone.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def pause_s(self) -> float | None:
        """The pause that it asks for, an hour at most; None where it asks for none."""
        text = self.headers.get("retry-after", "")
        return min(float(text), _LONGEST_PAUSE_S) if text.isascii() and text.isdigit() and len(text) < 10 else None

    is_cut: bool = False


Knows = Callable[[Answer], bool]
"""Says that this is an answer of the protocol that was spoken, be it a failure. Where it is long, asked in a thread."""


def _anything(_: Answer) -> bool:
    return True


class TooLong(Unavailable):
    """An answer came, and is longer than the asker takes. In the words of all others: told from them by its class alone."""


class _Useless(OSError):
    """An address or an answer that we do not take. Its text is ours."""


class _Endless(_Useless):
    """An answer that is too long."""


class Dialer:
    """Opens lines to servers. Without rules a server was chosen by an admin, and is taken as it is: proxy and all.

    ``tenant`` is who chose the others, whose names share some threads; ``is_named``: he also chose a part of the names for which
    there are no rules. ``is_direct``: no proxy of the environment's is for it. ``trust`` is what helps where an admin's server is
    of an authority that is not trusted.
    """

    def __init__(
        self, rules: AddressRules | None, tenant: str = "", *, is_direct: bool = False, is_named: bool = False, trust: str = SYSTEM
    ) -> None:
        self._rules = rules
        self._tenant = tenant if rules is not None or is_named else ""
        self._trust = trust
        self._is_direct = is_direct or rules is not None

    def open(self, server: str, tls: ssl.SSLContext) -> "Line":
        """A line to the server at this URL, without I/O."""
        client = _Client(tls, self._rules, self._tenant, is_direct=self._is_direct)
        return Line(server, client, is_tenants=self._rules is not None, trust=self._trust)


class Line:
    """Connections to one server, as one client: whoever logs in by another certificate or authority opens another."""

    def __init__(self, server: str, client: "_Client", *, is_tenants: bool, trust: str = SYSTEM) -> None:
        self._server = server
        self._client = client
        self._is_tenants = is_tenants
        self._trust = trust
        self._teller = Teller()
        # In a queue of the client's own the time to connect would run: those behind slow answers would be told that there is none.
        self._places = asyncio.Semaphore(POOL)

    async def send(
        self,
        verb: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int = LIMIT,
        knows: Knows = _anything,
        room: Hold | None = None,
    ) -> Answer:
        """Asks at the server's URL with ``path``, encoded and with its slash, behind it; ``limit`` is the longest body, in bytes,
        which ``room`` is claimed for.

        Raises `Unavailable` where no answer comes that is of use, of a tenant's server always in the same words: `TooLong` where
        it was for its length. What a tenant's server says and ``knows`` does not know is none.
        """
        if self._client.is_closed:
            raise Unavailable(NO_ANSWER)
        begun = asyncio.get_running_loop().time()
        failed: type[Unavailable] = Unavailable
        told = NO_ANSWER
        try:
            async with asyncio.timeout(TOTAL_S), self._places:
                begun = asyncio.get_running_loop().time()
                answer = await self._client.ask(verb, f"{self._server}{path}", headers, body, limit, room)
                if self._is_tenants and not await _judge(answer, knows):
                    raise _Useless("its answer is none of the protocol that was spoken")
                if answer.is_cut:
                    raise _Endless(f"its answer is longer than {limit} bytes")
                return answer
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # ValueError: what no URL, name or header can hold. RuntimeError: the session was closed meanwhile.
            failed = TooLong if isinstance(error, _Endless) else Unavailable
            told = self._told(error)
        if self._is_tenants:
            await fail_in_time(begun)
        raise failed(told)  # here, where no library's text hangs on it

    async def close(self) -> None:
        """Ends the connections; may be called twice. What is asked after it, or still under way, gets no answer."""
        await self._client.close()

    def _told(self, error: Exception) -> str:
        """What whoever asked is told; whoever runs the operator learns why in any case, once in a while."""
        inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(inner, _Useless):
            cause: Cause | None = Cause(str(inner))
        else:
            cause = cause_of(error, self._server, is_direct=self._client.is_direct)
        self._teller.tell(self._server, in_words(cause, self._server, self._trust) if cause else type(inner).__name__)
        if self._is_tenants:
            return NO_ANSWER
        return silent(self._server, cause or error, trust=self._trust, is_direct=self._client.is_direct)


async def _body(response: aiohttp.ClientResponse, limit: int, room: Hold | None) -> bytearray:
    """Its body, or the beginning of one that is longer. It is read as far as there is room for it."""
    length, found = response.content_length, bytearray()
    claimed = min(limit, LIMIT if length is None else length)
    if room is not None:
        await room.claim(claimed)
    async for part in response.content.iter_any():
        found += part
        if len(found) > limit:
            break
        if len(found) > claimed and room is not None:
            await room.claim(limit, instead_of=claimed)
            claimed = limit
    if room is not None:
        room.give_back(claimed - min(len(found), claimed))
    return found


async def _judge(answer: Answer, knows: Knows) -> bool:
    return await asyncio.to_thread(knows, answer) if len(answer.body) > LIMIT else knows(answer)


async def fail_in_time(begun: float) -> None:
    """Waits for the next of the moments at which a tenant's request fails."""
    past = asyncio.get_running_loop().time() - begun
    await asyncio.sleep(next((moment - past for moment in FAILS_AT_S if moment > past), 0))


class _Client:
    """HTTP, and all that is aiohttp's. Raises what it meets."""

    def __init__(self, tls: ssl.SSLContext, rules: AddressRules | None, tenant: str, *, is_direct: bool) -> None:
        self._tls = tls
        self.is_direct = is_direct
        self._rules = rules
        self._tenant = tenant
        self._meter = Meter()
        self._session: aiohttp.ClientSession | None = None
        self.is_closed = False

    async def ask(self, verb: str, url: str, headers: Mapping[str, str], body: bytes | None, limit: int, room: Hold | None) -> Answer:
        if self.is_closed:
            raise _Useless("the provider was closed")
        session = self._session = self._session or self._opened()
        request = session.request(verb, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False)
        with self._meter.asking():
            try:
                return await self._read(request, limit, room)
            except AssertionError:  # aiohttp's, where it was closed under a request that it would send once more
                if not self.is_closed:
                    raise
        raise _Useless("the provider was closed")

    async def _read(self, request: AbstractAsyncContextManager[aiohttp.ClientResponse], limit: int, room: Hold | None) -> Answer:
        async with request as response:
            if not 200 <= response.status < 300 and response.status < 400:
                raise _Useless(f"its answer is a redirect or none at all ({response.status})")
            self._meter.expect(limit)
            found = await _body(response, limit, room)
            told = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, told, bytes(found[:limit]), is_cut=len(found) > limit)

    async def close(self) -> None:
        self.is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=POOL, ssl=self._tls, resolver=_Names(self._rules, self._tenant), socket_factory=self._socket if self._rules else None
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S),
            auto_decompress=False,
            trust_env=not self.is_direct,
        )

    def _socket(self, target: tuple[Any, ...]) -> socket.socket:
        """Literal addresses come past the resolver, in any spelling that a library knows: here they all come by."""
        family, kind, protocol, _, address = target
        if self._rules is not None and not may_dial(str(address[0]), self._rules):
            raise _Useless("its address is not allowed; see --allow-addresses")
        return Metered(self._meter, family, kind, protocol)


class _Names(AbstractResolver):
    """Looks names up. What it gives is connected to as it is, and kept some seconds: the name is not asked again on the way."""

    def __init__(self, rules: AddressRules | None, tenant: str) -> None:
        self._rules = rules
        self._tenant = tenant

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        # An admin's name shares with nobody: each is an asker of its own.
        is_admins = self._rules is None and not self._tenant
        addresses = await (FOR_ADMINS.ask(host, host, family) if is_admins else FOR_TENANTS.ask(self._tenant, host, family))
        # One that is refused spoils the name: to try the others would tell of it, and who answers so is up to no good.
        if self._rules is not None and not all(may_dial(address, self._rules) for address in addresses):
            raise _Useless("its name stands for an address that is not allowed; see --allow-addresses")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is kept open."""
