"""A TLS proxy between the operator and the API server: writes down how it asked, and can refuse in the server's place.

The audit log does not say what form of answer was asked for; this does. Bodies pass through unread.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import trustme
from aiohttp import web

from cluster.audit import may_list
from controlplane.installation import NAMESPACE, SERVICE_ACCOUNT
from controlplane.plane import ControlPlane
from controlplane.servers import LOOPBACK, kubeconfig_text, write_private

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "content-length", "te", "trailer"}
_MOST = 4 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """How something was asked for."""

    verb: str
    path: str
    selector: str
    field_selector: str
    is_watch: bool
    accept: str
    content: str
    agent: str
    included: str = ""

    @property
    def wants_metadata(self) -> bool:
        """Whether every form of answer that it takes is without data."""
        forms = self.accept.split(",")
        return all("as=PartialObjectMetadata" in form or ("as=Table" in form and self.included == "None") for form in forms)

    @property
    def is_narrow(self) -> bool:
        """Whether a list or watch of Secrets is one of the two sorts that there may be."""
        return self.secret is not None and may_list("secrets", self.secret[0], self.selector, self.field_selector)

    @property
    def secret(self) -> tuple[str, str] | None:
        """Namespace and name where it is about Secrets; the name is '' for a collection, the namespace for all."""
        parts = self.path.strip("/").split("/")
        match parts:
            case ["api", "v1", "secrets"]:
                return "", ""
            case ["api", "v1", "namespaces", namespace, "secrets", *name]:
                return namespace, "/".join(name)
        return None

    def __str__(self) -> str:
        chosen = f"selector={self.selector!r} fields={self.field_selector!r}"
        return f"{self.verb}{' (watch)' if self.is_watch else ''} {self.path} {chosen} accept={self.accept!r}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is answered in the API server's place."""

    applies: Callable[[Asked], bool]
    status: int
    reason: str
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Held:
    """What is not passed on until it is let go. ``asked`` grows with each request that waits."""

    applies: Callable[[Asked], bool]
    asked: list[Asked] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    def let_go(self) -> None:
        self.gone.set()


class Proxy:
    """Use `run`. ``asked`` grows with each request. ``tag`` is put into the agent's name, where the audit log shows it."""

    def __init__(self, plane: ControlPlane, tag: str = "") -> None:
        self.tag = tag
        self.held: Held | None = None
        self.asked: list[Asked] = []
        self.refused: list[Asked] = []
        self.refusal: Refusal | None = None
        self._stalls: Callable[[Asked], bool] | None = None
        self._flowing = asyncio.Event()
        self._open: set[asyncio.Task[object]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._target = plane.url
        self._tls = ssl.create_default_context(cafile=str(plane.ca_file))
        authority = trustme.CA()
        self._authority = authority.cert_pem.bytes().decode()
        self._own_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(LOOPBACK).configure_cert(self._own_tls)
        self._plane = plane
        self.port = 0

    @classmethod
    @contextmanager
    def run(cls, plane: ControlPlane, tag: str = "") -> Iterator["Proxy"]:
        """A proxy before a control plane, for as long as it is entered."""
        proxy, up, stop = cls(plane, tag), threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(proxy._serve(up, stop)), name="proxy")
        thread.start()
        try:
            assert up.wait(20), "the proxy did not start"
            yield proxy
        finally:
            stop.set()
            thread.join(20)

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig of the operator's ServiceAccount that leads here."""
        token = self._plane.new_token(NAMESPACE, SERVICE_ACCOUNT)
        authority = folder / "proxy-authority.pem"
        authority.write_text(self._authority)
        path = folder / "proxy-kubeconfig"
        cluster = {"server": f"https://{LOOPBACK}:{self.port}", "certificate-authority": str(authority)}
        write_private(path, kubeconfig_text(cluster, {"token": token}))
        return path

    @contextmanager
    def refuse(self, applies: Callable[[Asked], bool], status: int, reason: str, retry_after_s: int = 0) -> Iterator[None]:
        """Answers what applies with a refusal, for as long as it is entered."""
        self.refusal = Refusal(applies, status, reason, retry_after_s)
        try:
            yield
        finally:
            self.refusal = None

    @contextmanager
    def hold(self, applies: Callable[[Asked], bool]) -> Iterator[Held]:
        """Keeps what applies on its way, as a slow network would, until it is let go."""
        self.held = held = Held(applies)
        try:
            yield held
        finally:
            self.held = None
            held.let_go()

    @contextmanager
    def stall(self, applies: Callable[[Asked], bool]) -> Iterator[None]:
        """Keeps open whatever applies, old and new, and lets nothing through, for as long as it is entered."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._flowing.clear)
        self._stalls = applies
        try:
            yield
        finally:
            self._stalls = None
            self._loop.call_soon_threadsafe(self._flowing.set)

    async def _pass_stall(self, asked: Asked) -> None:
        while self._stalls is not None and self._stalls(asked):
            await self._flowing.wait()

    def cut(self) -> None:
        """Breaks whatever is open, such as watches."""

        def cancel() -> None:
            for task in self._open:
                task.cancel()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(cancel)

    async def _serve(self, up: threading.Event, stop: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)) as session:
            app = web.Application(client_max_size=_MOST)
            app.router.add_route("*", "/{tail:.*}", partial(self._pass, session))
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, LOOPBACK, 0, ssl_context=self._own_tls)
            await site.start()
            [self.port] = [address[1] for address in runner.addresses]
            up.set()
            await asyncio.to_thread(stop.wait)
            # Nobody waits for a farewell by TLS: the loop ends before one could come.
            for connection in runner.server.connections if runner.server else ():
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    async def _pass(self, session: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
        # First of all: who sees that it was asked may cut it off.
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        asked = _asked(request)
        self.asked.append(asked)
        await self._pass_stall(asked)
        refusal = self.refusal
        if refusal is not None and refusal.applies(asked):
            self.refused.append(asked)
            return _refused(refusal)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        if self.tag:
            headers["User-Agent"] = asked.agent.replace("/", f"/{self.tag}-", 1)
        body = await request.read()
        held = self.held
        if held is not None and held.applies(asked):
            held.asked.append(asked)
            await asyncio.to_thread(held.gone.wait)
        async with session.request(request.method, self._target + request.path_qs, headers=headers, data=body or None) as answer:
            try:
                return await self._answer(asked, request, answer)
            finally:
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()

    async def _answer(self, asked: Asked, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        passed = web.StreamResponse(status=answer.status)
        passed.headers.update({name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP})
        await passed.prepare(request)
        async for chunk in answer.content.iter_any():
            await self._pass_stall(asked)
            await passed.write(chunk)
        await passed.write_eof()
        return passed


def _asked(request: web.Request) -> Asked:
    query = parse_qs(urlsplit(request.path_qs).query)
    return Asked(
        verb=request.method,
        path=request.path,
        selector=query.get("labelSelector", [""])[0],
        field_selector=query.get("fieldSelector", [""])[0],
        is_watch=query.get("watch", [""])[0] == "true",
        accept=request.headers.get("Accept", ""),
        content=request.headers.get("Content-Type", ""),
        agent=request.headers.get("User-Agent", ""),
        included=query.get("includeObject", [""])[0],
    )


def _refused(refusal: Refusal) -> web.Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "refused by the test",
        "reason": refusal.reason,
        "code": refusal.status,
    }
    headers = {"Retry-After": str(refusal.retry_after_s)} if refusal.retry_after_s else {}
    return web.Response(status=refusal.status, text=json.dumps(status), content_type="application/json", headers=headers)
