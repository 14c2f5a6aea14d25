"""How Kopf is run: its settings, its log-in, its stop."""

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from typing import Any, cast

import aiohttp
import kopf

from keyturn.kube.client import USER_AGENT
from keyturn.kube.config import ClusterConfig

_CANCELLATIONS = 30


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no last-seen copy anywhere: we compare by generation, and copies would be annotations on users' objects."""

    def build(self, **_: object) -> None:  # type: ignore[override]  # nothing to compare, and so nothing is diffed
        return None

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        return None


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: ours have none."""

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        return None

    def purge(self, **_: object) -> None:
        return None

    def touch(self, **_: object) -> None:
        return None

    def clear(self, *, essence: object) -> object:  # type: ignore[override]  # passed through as it is
        return essence


def settings() -> kopf.OperatorSettings:
    """Kopf as an event source alone: no persistence, no posting, no scanning, no peering."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.scanning.disabled = True
    made.peering.standalone = True
    made.persistence.diffbase_storage = NoDiffBase()
    made.persistence.progress_storage = NoProgress()
    made.watching.chunk_size = 500
    made.networking.enforce_retry_after = True
    # A few seconds of an API server's restart are lived through; longer is for the kubelet to decide.
    made.networking.error_backoffs = (0.5, 1, 2, 4, 8, 8, 8)
    return made


def register_login(registry: kopf.OperatorRegistry, config: ClusterConfig) -> None:
    """Lets Kopf use our TLS context and our token, read anew from its file as it is rotated.

    Kopf closes the session that it was given when it stops and after a 401, so each log-in makes one.
    """

    @kopf.on.login(registry=registry, id="keyturn-login")
    async def log_in(**_: object) -> kopf.AiohttpSession:
        async def authorize(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            header = config.token.header()
            if header:
                request.headers["Authorization"] = header
            response = await send(request)
            if response.status == 401:
                config.token.expire()
            return response

        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=20, ssl=config.tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"{USER_AGENT} kopf"},
            middlewares=(authorize,),
        )
        return kopf.AiohttpSession(server=config.server, default_namespace=config.namespace or None, aiohttp_session=session)


class NotKopfs(Collection[asyncio.Task[Any]]):
    """All tasks but Kopf's own: at its end Kopf waits for, and then cancels, every task that it is not told to leave."""

    def __contains__(self, task: object) -> bool:
        code = getattr(task.get_coro(), "cr_code", None) if isinstance(task, asyncio.Task) else None
        return code is None or f"{os.sep}kopf{os.sep}" not in code.co_filename

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return (task for task in asyncio.all_tasks() if task in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


async def run(registry: kopf.OperatorRegistry, namespaces: tuple[str, ...], stop: asyncio.Event, take_signals: Callable[[], None]) -> None:
    """Runs Kopf until ``stop``, or until it ends by itself, which is never well.

    ``take_signals`` is called once Kopf has put its own signal handlers in: it would stop before our workers are through.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
        # Without one, Kopf asks for the user's name, which a bare uid in a container does not have.
        identity=cast("Any", "keyturn"),
    )
    take_signals()
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        await _abandon()
        raise
    failed = next((error for task in tasks if task.done() and not task.cancelled() and (error := task.exception())), None)
    if failed is not None:
        await _abandon()
        raise failed
    await kopf.run_tasks(tasks, ignored=NotKopfs())


async def _abandon() -> None:
    """Cancels what Kopf has running until it is gone.

    Kopf's own way out of a failure can take for ever: a watcher that lost its connection waits for a log-in that nobody
    makes any more, and one that is cancelled together with its pause begins anew.
    """
    for _ in range(_CANCELLATIONS):
        left = [task for task in asyncio.all_tasks() if task not in NotKopfs()]
        if not left:
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.1)
