"""A fake Azure that a whole process can be led to: vaults and Entra under their real names, by TLS, behind a proxy.

    with Cloud() as cloud, cloud.surroundings():
        vault = cloud.vault("shop")
        ...

Names, addresses and checks in the product stay what they are: only the environment says that a proxy is on the way, and which
authority signs certificates, as in many a company. Runs in a thread and a loop of its own, and listens on loopback alone.
"""

import asyncio
import contextlib
import os
import ssl
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import trustme
from aiohttp import web

from keyturn.providers import tls
from keyturn.testing.azure_entra import Entra
from keyturn.testing.azure_vault import Vault

LOOPBACK: Final = "127.0.0.1"
_LIMIT_S: Final = 20.0
_HEAD: Final = 16 << 10

_T = TypeVar("_T")


class Cloud:
    """One cloud, whose vaults' names end in ``suffix``, with one tenant in its Entra."""

    def __init__(self, suffix: str = ".vault.azure.net", login: str = "login.microsoftonline.com") -> None:
        self.suffix = suffix
        self.entra = Entra(login)
        self.vaults: dict[str, Vault] = {}
        self.authority = trustme.CA()
        self.asked_proxy: list[str] = []
        """The hosts that the proxy was asked for."""
        self.beyond: dict[str, int] = {}
        """Other hosts that the proxy lets through to, with their ports on loopback: what else is reached from the same place."""
        self.is_losing = False
        """What is written is done, and no answer to it arrives."""
        self._loop = asyncio.new_event_loop()
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._port = self._proxy_port = self._metadata_port = 0
        self._proxy: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[Any]] = set()

    def vault(self, name: str) -> Vault:
        """The vault of this name, made at first use."""
        host = f"{name}{self.suffix}"
        return self.vaults.setdefault(host, Vault(host, self.entra))

    @property
    def proxy(self) -> str:
        return f"http://{LOOPBACK}:{self._proxy_port}"

    @property
    def metadata(self) -> str:
        """Where the machine's metadata service is."""
        return f"http://{LOOPBACK}:{self._metadata_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-azure")
        self._thread.start()
        self._there(self._start())
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._there(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT_S)
        self._loop.close()

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """While it is entered this process's environment leads to the cloud."""
        with tempfile.TemporaryDirectory() as folder:
            trusted = Path(folder) / "authority.pem"
            self.authority.cert_pem.write_to_path(trusted)
            with _environment(self.environment(trusted)):
                # What was trusted before is kept, as long as a process lives: here it shall be this authority.
                tls._shared.cache_clear()
                try:
                    yield
                finally:
                    tls._shared.cache_clear()

    def environment(self, trusted: Path) -> dict[str, str]:
        """The variables of a process that is to come here; ``trusted`` is the file with the authority's certificate."""
        return {
            "HTTPS_PROXY": self.proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "SSL_CERT_FILE": str(trusted),
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": self.metadata,
        }

    # -- trouble ----------------------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """On the port that it had, if any."""
        self.speak()
        self._there(self._listen())

    def leave(self) -> None:
        """Nobody listens at the proxy any more, and what is open is cut."""
        self._there(self._leave())

    def hush(self) -> None:
        """From now on requests are taken, and none is answered."""
        self._loop.call_soon_threadsafe(self._speaks.clear)

    def speak(self) -> None:
        """Whoever waits has an answer."""
        self._loop.call_soon_threadsafe(self._speaks.set)

    # -- in its own loop --------------------------------------------------------------------------------------------------------

    def _there(self, job: Coroutine[Any, Any, _T]) -> _T:
        future: Future[_T] = asyncio.run_coroutine_threadsafe(job, self._loop)
        return future.result(_LIMIT_S)

    async def _start(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(f"*{self.suffix}", self.entra.host).configure_cert(context)
        self._sites = [await _site(self._serve), await _site(self.entra.serve_metadata)]
        self._port = await _port(self._sites[0], context)
        self._metadata_port = await _port(self._sites[1], None)

    async def _stop(self) -> None:
        for site in self._sites:
            await site.cleanup()

    async def _listen(self) -> None:
        self._proxy = await asyncio.start_server(self._accept, LOOPBACK, self._proxy_port, limit=_HEAD)
        self._proxy_port = self._proxy.sockets[0].getsockname()[1]

    async def _leave(self) -> None:
        if self._proxy is not None:
            self._proxy.close()
        for pipe in tuple(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        await self._speaks.wait()
        host = request.host.partition(":")[0]
        if host == self.entra.host:
            return await self.entra.serve(request)
        if host not in self.vaults:
            return web.Response(status=404)
        answer = await self.vaults[host].serve(request)
        if self.is_losing and request.method != "GET" and answer.status < 300 and request.transport:
            request.transport.abort()
        return answer

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A request to be let through to a host of the cloud; whoever asks for another is refused."""
        task = asyncio.current_task()
        assert task
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            verb, target, *_ = head.split()
            host = target.decode("ascii").removesuffix(":443")
            self.asked_proxy.append(host)
            port = self._port if host == self.entra.host or host in self.vaults else self.beyond.get(host, 0)
            if verb != b"CONNECT" or not port:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            inner, outer = await asyncio.open_connection(LOOPBACK, port)
            with contextlib.closing(outer):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pass(reader, outer))
                    both.create_task(_pass(inner, writer))


async def _site(serve: Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]) -> web.AppRunner:
    app = web.Application(client_max_size=8 << 20)
    app.router.add_route("*", "/{rest:.*}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    return runner


async def _port(runner: web.AppRunner, context: ssl.SSLContext | None) -> int:
    await web.TCPSite(runner, LOOPBACK, 0, ssl_context=context).start()
    return int(runner.addresses[0][1])


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes on what comes, until there is no more, and says so."""
    with contextlib.suppress(OSError):
        while part := await reader.read(64 << 10):
            writer.write(part)
            await writer.drain()
    writer.close()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    former = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
