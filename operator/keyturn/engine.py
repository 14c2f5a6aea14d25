"""The operator's parts, and the order in which they start, are watched over, and stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import kopf

from keyturn import __version__
from keyturn.decide.fingerprint import is_key_changed
from keyturn.flow.leading import Leading, begin_term, end_term
from keyturn.flow.office import Office
from keyturn.flow.workers import work
from keyturn.flow.world import World
from keyturn.handlers import objects, startup
from keyturn.handlers.health import HealthServer
from keyturn.handlers.news import News
from keyturn.handlers.watchdog import Watchdog
from keyturn.kube import discovery, fingerprint
from keyturn.kube.client import Client
from keyturn.kube.config import ClusterConfig
from keyturn.kube.events import EventPoster
from keyturn.kube.objects import ObjectCache, collection
from keyturn.kube.references import ReferenceWatches
from keyturn.kube.secrets import SecretCache
from keyturn.kube.watch import MetadataWatch
from keyturn.model.errors import ClusterError, FingerprintKeyChanged, KeyturnError, NotLeading
from keyturn.model.ids import Kind
from keyturn.settings import Settings
from keyturn.telemetry import Metrics

log = logging.getLogger("keyturn.operator")

CRD_WAIT_S = 2.0
KEY_RETRY_S = 5.0
LEADER_WAIT_S = 1.0
WARM_UP = "warm-up"


class Ended(KeyturnError):
    """A part that has to run for ever ended; the message says which and why."""


@dataclass(slots=True)
class Engine:
    """Everything that runs, and the order in which it starts and stops.

    ``duties`` run for as long as it does and hold up nothing; ``closers`` are called in the end, ``on_term`` before each term of ours,
    ``off_term`` after it.
    """

    settings: Settings
    config: ClusterConfig
    client: Client
    lease_client: Client
    leading: Leading
    world: World
    cache: ObjectCache
    secrets: SecretCache
    references: ReferenceWatches
    news: News
    events: EventPoster
    metrics: Metrics
    watches: list[MetadataWatch]
    watchdog: Watchdog
    office: Office
    take_signals: Callable[[], None] = lambda: None
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    duties: dict[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    on_term: list[Callable[[str], None]] = field(default_factory=list)
    off_term: list[Callable[[], None]] = field(default_factory=list)
    waits_for: str = "waiting for the CRDs"
    is_warm: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that are served: cluster kinds only where the whole cluster is."""
        return tuple(k for k in Kind if k.is_namespaced or self.settings.is_cluster_wide)

    def problems(self) -> list[str]:
        """Why the operator is not ready; empty where it is. Asked in another thread."""
        own = (*(w.problem for w in self.watches), self.leading.problem)
        found = [*(told for told in own if told), *self.watchdog.problems()]
        return [*found, self.waits_for] if self.waits_for else found

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set. Raises `Ended` where a part gives up."""
        kopf_stop = asyncio.Event()
        health = HealthServer(self.settings.health_address, self.problems, self.watchdog.deaths, self.metrics)
        try:
            health.start()
            self.watchdog.begin()
            await self._wait_for_crds(stop)
            if stop.is_set():
                return
            self.waits_for = "caches are filling"
            self._spawn(self.events.run(), "events")
            for name, duty in self.duties.items():
                self._spawn(duty(), name)
            for watch in self.watches:
                self._spawn(watch.run(), f"watch {watch.path}")
            listening = self._spawn(self._listen(kopf_stop), "kopf")
            self._spawn(self._warm_up(), WARM_UP)
            workers = self._spawn(work(self.world, self.settings.workers), "workers")
            lease = self._spawn(self._lead(), "lease")
            waiting = asyncio.create_task(stop.wait(), name="stop")
            await self._watch_over(waiting)
            log.info("stopping")
            await _end(workers, self.settings.stop_grace_s)
            await self.events.drain()
            await _end(lease, self.settings.stop_grace_s)
            await self.leading.release()
            kopf_stop.set()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(listening), self.settings.stop_grace_s)
        finally:
            await self._close()
            self.watchdog.end()
            await health.stop()

    def _spawn(self, job: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(job, name=name)
        self.tasks.append(task)
        return task

    async def _watch_over(self, stop: asyncio.Task[Any]) -> None:
        """Waits for the stop; a part that ends before it takes the process along, with its reason."""
        while not stop.done():
            await asyncio.wait([stop, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in self.tasks if task.done()]:
                self.tasks.remove(task)
                error = None if task.cancelled() else task.exception()
                if error is not None or task.get_name() != WARM_UP:
                    stop.cancel()
                    log.error("%s ended", task.get_name(), exc_info=error)
                    self.office.end(f"{task.get_name()} ended")
                    raise Ended(f"{task.get_name()} ended: {_cause(error)}") from error

    async def _listen(self, stop: asyncio.Event) -> None:
        registry = kopf.OperatorRegistry()
        startup.register_login(registry, self.config, self.watchdog.hearing)
        places = [(kind, n) for kind in self.kinds for n in (self.settings.namespaces if kind.is_namespaced else ()) or ("",)]
        self.watchdog.hearing.begin(collection(kind, namespace) for kind, namespace in places)
        objects.register(registry, self.kinds, self.news.hear)
        await startup.run(registry, self.settings.namespaces, self.watchdog.times, stop, self.take_signals)

    async def _lead(self) -> None:
        """Stands for the lease once the caches are warm: whoever leads before that would keep others from the work."""
        await self.is_warm.wait()
        self.leading.on_change = self._change_term
        await self.leading.run()

    def _change_term(self, is_leading: bool) -> None:  # noqa: FBT001  # what `Leading` tells
        if is_leading:
            for tell in self.on_term:
                tell(self.leading.anchor)
            self.office.begin(self.leading.epoch, self.leading.anchor)
            begin_term(self.world, [ref for kind in self.kinds for ref in self.cache.refs(kind)])
        else:
            self.office.leave()
            end_term(self.world)
            for end in self.off_term:
                end()

    async def _warm_up(self) -> None:
        """Opens the gate for workers once caches hold what decisions need, and the fingerprint key is trusted."""
        await asyncio.gather(*(watch.listed.wait() for watch in self.watches))
        for kind in self.kinds:
            if kind is not Kind.MANAGED_SECRET:
                await self._compare_until_done(kind)
            self._spawn(self.news.keep_comparing(kind, self.settings.namespaces, self.settings.relist_s), f"compare {kind.plural}")
        self.is_warm.set()
        await self.leading.looked.wait()
        await self._trust_key()
        self.waits_for = ""
        self.world.queue.resume()
        log.info("ready", extra={"version": __version__, "secrets": len(self.secrets.all_seen())})
        await self._compare_schemas()

    async def _compare_until_done(self, kind: Kind) -> None:
        while True:
            try:
                await self.news.compare(kind, self.settings.namespaces)
                return
            except ClusterError as error:
                log.warning("starting: %s", error)
                await asyncio.sleep(max(1.0, error.retry_after or 0.0))

    async def _trust_key(self) -> None:
        """Loads the fingerprint key, and waits while it is not the one that the cluster's Secrets were written under."""
        holder, accepts = self.world.fingerprint, self.settings.accept_new_fingerprint_key
        while True:
            try:
                # Where the key is lost, a new one would only be in the way of the backup.
                may_make = accepts or not await self._is_strange("")
                key = await fingerprint.load(self.client, self.settings.operator_namespace, may_make=may_make)
                if accepts or not await self._is_strange(key.id):
                    holder.key, holder.problem = key, ""
                    return
                raise FingerprintKeyChanged(f"the Secrets of this cluster were written under another key than {fingerprint.NAME} holds")
            except NotLeading:
                self.waits_for = holder.problem = "waiting for the replica that leads: it makes the fingerprint key"
                await asyncio.sleep(LEADER_WAIT_S)
            except KeyturnError as error:
                remedy = "; restore that Secret from a backup, or start with --accept-new-fingerprint-key"
                told = f"{type(error).__name__}: {error}{remedy if isinstance(error, FingerprintKeyChanged) else ''}"
                if told != self.waits_for:
                    log.error("no Secret is written: %s", told)
                self.waits_for = holder.problem = told
                await asyncio.sleep(KEY_RETRY_S)

    async def _is_strange(self, key_id: str) -> bool:
        """Whether the cluster's Secrets were written under another key.

        Marks on Secrets raise the suspicion, and statuses decide: a mark can be set by whoever may write a Secret, and would
        stop the operator for everybody.
        """
        if not is_key_changed([live.revision for live in self.secrets.all_seen().values()], key_id):
            return False
        await self._compare_until_done(Kind.MANAGED_SECRET)
        return is_key_changed([managed.status.revision for managed in self.cache.all_managed()], key_id)

    async def _wait_for_crds(self, stop: asyncio.Event) -> None:
        """Kopf ends or goes deaf where a CRD is missing at its start, so that we wait for ours (cluster rule 24)."""
        wanted = {kind.plural for kind in self.kinds}
        while not stop.is_set():
            try:
                missing = wanted - await discovery.served(self.client)
                told = f"waiting for the CRDs of {', '.join(sorted(missing))} (kubectl apply -k crds)"
            except ClusterError as error:
                missing, told = wanted, f"waiting for the API server: {error}"
            if not missing:
                return
            if told != self.waits_for:
                log.warning(told)
            self.waits_for = told
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), CRD_WAIT_S)

    async def _compare_schemas(self) -> None:
        for kind in self.kinds:
            try:
                outdated = not await discovery.is_current(self.client, kind)
            except ClusterError as error:
                # Without the right to read CRDs (the namespaced variant) this cannot be told.
                log.info("schema of %s not compared: %s", kind.plural, error)
                continue
            if outdated:
                log.warning("CRDOutdated: the CRD of %s is not of this version; kubectl apply -k crds", kind.plural)

    async def _close(self) -> None:
        self.office.end()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.world.refresher.close()
        await self.references.close()
        for close in self.closers:
            await close()
        await self.leading.release()
        await self.lease_client.close()
        await self.client.close()


async def _end(task: asyncio.Task[None], limit_s: float) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=limit_s)


def _cause(error: BaseException | None) -> str:
    """The first real cause: its class, and its text where that is ours or tells of a list or watch of Kopf's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None:
        return "without an error"
    if type(error).__name__ == "APINotFoundError":
        return "a kind of ours is not served any more; bring its CRD back (kubectl apply -k crds)"
    is_safe = isinstance(error, KeyturnError) or type(error).__module__.startswith("kopf.")
    text = getattr(error, "message", None) or str(error)
    return f"{type(error).__name__}: {text[:300]}" if is_safe else type(error).__name__
