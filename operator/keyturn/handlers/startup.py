"""How Kopf is run: its settings, its log-in, its stop."""

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any, cast

import aiohttp
import kopf
from kopf._cogs.structs.bodies import RawBody
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from keyturn.decide.watchdog import Watching
from keyturn.handlers.hearing import Hearing
from keyturn.kube.client import USER_AGENT
from keyturn.kube.config import ClusterConfig, Token
from keyturn.kube.lean import lean

log = logging.getLogger("keyturn.watch")

_CANCELLATIONS = 30
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 8.0
CONNECT_S, REQUEST_S = 10.0, 60.0
WORKER_IDLE_S = 0.2


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


class NoMemories(ResourceMemories):
    """Keeps nothing of an object once its event is handled: two kilobytes of each that only handlers with progress look at."""

    async def recall(self, raw_body: RawBody, **more: Any) -> ResourceMemory:
        return await super().recall(raw_body, **more | {"ephemeral": True})


def settings(times: Watching) -> kopf.OperatorSettings:
    """Kopf as an event source alone: no persistence, no posting, no scanning, no peering."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.scanning.disabled = True
    made.peering.standalone = True
    # Kopf has a task for each object with news, which stays for so long: by default 5 s, in which all of a start pile up.
    made.queueing.idle_timeout = WORKER_IDLE_S
    made.persistence.diffbase_storage = NoDiffBase()
    made.persistence.progress_storage = NoProgress()
    made.watching.chunk_size = 500
    made.watching.server_timeout = times.runs_s
    # Else a connection that is half open would never be missed, and news of that kind come no more.
    made.watching.inactivity_timeout = times.silent_s
    made.networking.connect_timeout = CONNECT_S
    made.networking.request_timeout = REQUEST_S
    made.networking.enforce_retry_after = True
    # A few seconds of an API server's restart are lived through; longer is for the kubelet to decide.
    made.networking.error_backoffs = (0.5, 1, 2, 4, 8, 8, 8)
    return made


async def authorize(token: Token, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Sends with the token as its file has it now, and again until the API server knows it.

    Kopf never hears of a 401: it would log in anew without a pause, hundreds of times a second, and close the session
    under every watch each time. That the operator is not ready meanwhile, our own watches say.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        token.authorize(request.headers)
        response = await send(request)
        if response.status != 401:
            return response
        token.expire()
        response.close()
        log.warning("the API server does not know this log-in; asking again in %g s", pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, LAST_PAUSE_S)


def register_login(registry: kopf.OperatorRegistry, config: ClusterConfig, hearing: Hearing) -> None:
    """Lets Kopf use our TLS context and our token. Kopf closes the session that it was given when it stops."""

    @kopf.on.login(registry=registry, id="keyturn-login")
    async def log_in(**_: object) -> kopf.AiohttpSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=20, ssl=config.tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"{USER_AGENT} kopf"},
            middlewares=(partial(authorize, config.token), hearing.note, lean),
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


async def run(
    registry: kopf.OperatorRegistry, namespaces: tuple[str, ...], times: Watching, stop: asyncio.Event, take_signals: Callable[[], None]
) -> None:
    """Runs Kopf until ``stop``, or until it ends by itself, which is never well.

    ``take_signals`` is called once Kopf has put its own signal handlers in: it would stop before our workers are through.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=settings(times),
        memories=NoMemories(),
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
