"""The way to a cloud: connections to hosts of its own names, as one client, with proxies and private authorities of the environment.

A tenant chooses a name under the cloud's suffix and nothing else, so that a proxy may stand between; where there is none, what
the name stands for is checked like any other address. The one session is handed to the SDK, which would make a TLS context for each call.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from keyturn import __version__
from keyturn.decide.address import AddressRules, may_dial
from keyturn.providers.dial import CONNECT_S, NO_ANSWER, POOL, TOTAL_S, TooLong
from keyturn.providers.names import FOR_ADMINS, FOR_TENANTS
from keyturn.providers.silence import Teller, cause_of, in_words, silent
from keyturn.providers.tls import context

READ_S: Final = TOTAL_S
"""Between two pieces of an answer."""

LIMIT: Final = 256 << 10
"""Of an answer, in bytes. A vault takes values of 25 KiB, of which JSON may make six times as much, and 15 tags."""

_limit: ContextVar[int] = ContextVar("keyturn-azure-limit", default=LIMIT)


@contextmanager
def answers_of(limit: int) -> Iterator[None]:
    """While it is entered an answer that has more bytes is `TooLong`."""
    former = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(former)


class Road:
    """Opens sessions to hosts that end in ``suffix``, and to the cloud's own others. ``rules`` None: an admin chose, and is trusted."""

    def __init__(self, suffix: str, rules: AddressRules | None, tenant: str) -> None:
        self._suffix = suffix
        self._rules = rules
        self._tenant = tenant
        self._teller = Teller()

    async def open(self) -> aiohttp.ClientSession:
        """A session that whoever asked for it closes."""
        tls = await asyncio.to_thread(context, None, "", None, "")
        connector = aiohttp.TCPConnector(limit=POOL, ssl=tls, resolver=_Names(self._suffix, self._rules, self._tenant))
        return _session(connector, is_direct=False)

    def open_local(self) -> aiohttp.ClientSession:
        """One to the machine's own metadata service, which no proxy knows."""
        return _session(aiohttp.TCPConnector(limit=1), is_direct=True)

    def silence_of(self, host: str, error: BaseException) -> str:
        """What is told of ``host``, which gave no answer because of ``error``; whoever runs the operator learns why in any case.

        A vault of a tenant's choice can be at a private address: of that one nothing is told but what everybody may know.
        """
        cause = cause_of(error, host)
        self._teller.tell(host, in_words(cause, host) if cause else type(error).__name__)
        is_tenants = self._rules is not None and host.endswith(self._suffix)
        if is_tenants and (cause is None or not cause.is_public):
            return NO_ANSWER
        return silent(host, cause or error)


def _session(connector: aiohttp.TCPConnector, *, is_direct: bool) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"keyturn/{__version__}"},
        # The SDK sets those of each request: without this one a proxy that says nothing would be waited for without an end.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S),
        response_class=_Bounded,
        trust_env=not is_direct,
    )
    # It would send a PUT again whose answer was lost on the way; for it the two are one, and a vault makes two versions.
    session._retry_connection = False
    return session


class _Bounded(aiohttp.ClientResponse):
    """An answer that is read no further than the call that waits for it says."""

    async def read(self) -> bytes:
        if self._body is None:
            try:
                self._body = await self._beginning(_limit.get())
            except BaseException:
                self.close()
                raise
        return await super().read()

    async def _beginning(self, limit: int) -> bytes:
        found = bytearray()
        async for part in self.content.iter_any():
            found += part
            if len(found) > limit:
                raise TooLong("the server's answer is longer than any that is asked for")
        return bytes(found)


class _Names(AbstractResolver):
    """Looks names up in threads of their own. Of a tenant's vault each address is checked; a proxy's is an admin's."""

    def __init__(self, suffix: str, rules: AddressRules | None, tenant: str) -> None:
        self._suffix = suffix
        self._rules = rules
        self._tenant = tenant

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        rules = self._rules if host.endswith(self._suffix) else None
        addresses = await (FOR_ADMINS.ask(host, host, family) if rules is None else FOR_TENANTS.ask(self._tenant, host, family))
        if rules is not None and not all(may_dial(address, rules) for address in addresses):
            raise OSError("its name stands for an address that is not allowed; see --allow-addresses")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is kept open."""
