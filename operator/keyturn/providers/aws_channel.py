"""One service of AWS's as it is asked: signed by the SDK in a thread, sent by the dialer, read by ``aws_json``, or STS's XML by the SDK.

The threads are few and never wait for a server, so that nobody's silent one takes them from others, and one tenant has one of them at
a time. Belongs to no identity: each request comes with its own.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakValueDictionary

from keyturn.model.errors import Unavailable
from keyturn.providers import aws_json
from keyturn.providers.aws_wire import Pass, Reply
from keyturn.providers.dial import LIMIT, Dialer, Line
from keyturn.providers.room import Hold
from keyturn.providers.tls import context

if TYPE_CHECKING:
    from keyturn.providers.aws_sdk import Sdk

_T = TypeVar("_T")

THREADS: Final = 4
_pool: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="keyturn-aws")

_turns: Final = WeakValueDictionary[tuple[int, str], asyncio.Lock]()
"""By event loop and tenant, as long as somebody waits for his."""


async def in_thread(work: Callable[[], _T], tenant: str) -> _T:
    """What comes of work that takes a millisecond or more, and waits for nobody: of a tenant's one at a time."""
    loop = asyncio.get_running_loop()
    turn = _turns.setdefault((id(loop), tenant), asyncio.Lock())
    async with turn:
        return await loop.run_in_executor(_pool, work)


class Channel:
    """A service, by its name at the SDK, over a dialer, for a ``tenant``: where that is '' it stands for itself."""

    def __init__(self, service: str, region: str, endpoint: str, dialer: Dialer, tenant: str) -> None:
        self._service, self._region, self._endpoint = service, region, endpoint
        self._dialer = dialer
        self._tenant = tenant or f"/{id(self)}"
        self._turn = asyncio.Lock()
        self._opened: tuple[Sdk, ssl.SSLContext] | None = None
        self._lines: dict[str, Line] = {}
        self._is_closed = False

    async def ask(
        self,
        operation: str,
        asked: Mapping[str, object],
        way_in: Pass | None,
        kind: type[object] | None = None,
        *,
        limit: int = LIMIT,
        room: Hold | None = None,
    ) -> Reply:
        """What the service says, be it a refusal. ``limit`` is the longest answer, in bytes, which ``room`` is claimed for.

        ``kind`` is of ``aws_json``; None is for STS, whose answers are XML, short, and no tenant's. Raises `Unavailable` where it
        says nothing, `TooLong` where it says too much.
        """
        sdk, tls = await self._open()
        signed = await in_thread(partial(sdk.sign, operation, asked, way_in), self._tenant)
        send = partial(self._line(signed.server, tls).send, "POST", signed.path, headers=signed.headers, body=signed.body)
        answer = await send(limit=limit, knows=aws_json.is_aws, room=room)
        if kind is None:
            return await in_thread(partial(sdk.read, operation, answer), self._tenant)
        return aws_json.read(answer, kind)

    async def close(self) -> None:
        """Ends the connections; may be called twice."""
        self._is_closed = True
        lines, self._lines = self._lines, {}
        for line in lines.values():
            await line.close()

    async def _open(self) -> "tuple[Sdk, ssl.SSLContext]":
        async with self._turn:
            if self._opened is None:
                self._opened = await in_thread(partial(_make, self._service, self._region, self._endpoint), self._tenant)
            return self._opened

    def _line(self, server: str, tls: ssl.SSLContext) -> Line:
        """There is one, but for a service whose requests the SDK sends to several places."""
        if self._is_closed:
            raise Unavailable("the provider is closed")
        if server not in self._lines:
            self._lines[server] = self._dialer.open(server, tls)
        return self._lines[server]


def _make(service: str, region: str, endpoint: str) -> "tuple[Sdk, ssl.SSLContext]":
    from keyturn.providers.aws_sdk import Sdk

    return Sdk(service, region, endpoint), context(None, "", None, "")
