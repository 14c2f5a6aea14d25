"""Servers on loopback for the dialer, in a thread of their own: one that speaks HTTP, a rough one, and one that takes no connection."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from multidict import CIMultiDictProxy

from controlplane.servers import LOOPBACK

_LIMIT_S = 20


async def never() -> None:
    """Waits until it is cancelled."""
    await asyncio.Event().wait()


@contextmanager
def elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in another thread, whose tasks are ended with it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(_LIMIT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LIMIT_S)
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    peer: Any


class Listener:
    """Listens while it is entered, and counts whom it hears."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str = LOOPBACK, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.host, self.port, self.tls = host, port, tls
        self.accepted = 0
        self._loop = loop
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._server = self._run(self._loop.create_server(self._accept, self.host, self.port, ssl=self.tls))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._loop.call_soon_threadsafe(self._server.close)

    def _run(self, job: Coroutine[Any, Any, asyncio.Server]) -> asyncio.Server:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(_LIMIT_S)

    def _accept(self) -> asyncio.Protocol:
        self.accepted += 1
        return self._speaker()

    def _speaker(self) -> asyncio.Protocol:
        raise NotImplementedError


class Http(Listener):
    """Answers each target as ``answers`` or ``streams`` say, and any other with 200."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str = LOOPBACK, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(loop, host, port, tls)
        self.answers: dict[str, Callable[[], web.Response]] = {}
        self.streams: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {}
        self.asked: list[Asked] = []
        self._http = web.Server(self._answer, loop=loop)

    def _speaker(self) -> asyncio.Protocol:
        return self._http()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        self.asked.append(Asked(request.method, request.raw_path, request.headers, peer))
        if request.raw_path in self.streams:
            return await self.streams[request.raw_path](request)
        return self.answers.get(request.raw_path, web.Response)()


@dataclass(kw_only=True)
class Front:
    """Stands for a server, or before one, in a loop of its own, so that its tasks are none of the provider's."""

    loop: asyncio.AbstractEventLoop
    port: int = 0
    tls: ssl.SSLContext | None = None
    _speaks: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{LOOPBACK}:{self.port}"

    async def listen(self) -> None:
        """On the port that it had, if any."""
        self.speak()
        await self.there(self._listen())

    async def leave(self) -> None:
        """Nobody listens there any more, and what is open is cut."""
        await self.there(self._leave())

    def hush(self) -> None:
        """From now on it takes requests and answers none."""
        self.loop.call_soon_threadsafe(self._speaks.clear)

    def speak(self) -> None:
        """Whoever waits has an answer."""
        self.loop.call_soon_threadsafe(self._speaks.set)

    async def there(self, job: Coroutine[Any, Any, Any]) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(job, self.loop))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    async def was_silent(self) -> bool:
        """Says whether it was; comes back when it speaks again, and whoever asked is to be refused."""
        if self._speaks.is_set():
            return False
        return await self._speaks.wait()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=4 << 20)
        app.router.add_route("*", "/{tail:.*}", self.serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port, ssl_context=self.tls, reuse_address=True).start()
        [(_, self.port)] = [address[:2] for address in self._runner.addresses]

    async def _leave(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()


class _Saying(asyncio.Protocol):
    def __init__(self, speech: bytes | None) -> None:
        self._speech = speech

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._speech is not None:
            transport.write(self._speech)
            transport.close()


class Rough(Listener):
    """Says the same on each connection and ends it; None says nothing, and holds it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, speech: bytes | None) -> None:
        super().__init__(loop)
        self._speech = speech

    def _speaker(self) -> asyncio.Protocol:
        return _Saying(self._speech)


class _Babbler(asyncio.Protocol):
    """Says one thing first and another without an end, as fast as it is taken or every so many seconds."""

    def __init__(self, told: "Babbling", loop: asyncio.AbstractEventLoop) -> None:
        self._told, self._loop = told, loop
        self._transport: asyncio.Transport | None = None
        self._is_ready = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._told.first)
        self._go_on()

    def pause_writing(self) -> None:
        self._is_ready = False

    def resume_writing(self) -> None:
        self._is_ready = True
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def _go_on(self) -> None:
        if self._transport is None or not self._is_ready:
            return
        self._transport.write(self._told.again)
        self._told.taken += len(self._told.again)
        self._loop.call_later(self._told.every_s, self._go_on)


class Babbling(Listener):
    """Never comes to an end; ``taken`` is how much was taken from it, in bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, first: bytes, again: bytes, every_s: float = 0.0) -> None:
        super().__init__(loop)
        self.first, self.again, self.every_s = first, again, every_s
        self.taken = 0

    def _speaker(self) -> asyncio.Protocol:
        return _Babbler(self, self._loop)


@contextmanager
def deaf() -> Iterator[str]:
    """The URL of a port that takes no connection: its queue is full, so that the kernel drops who knocks, as a filter would."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        for _ in range(8):
            knock = stack.enter_context(socket.socket())
            knock.setblocking(False)
            knock.connect_ex(listener.getsockname())
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
