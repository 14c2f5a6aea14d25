"""The only place that names concrete adapters: settings in, a finished engine out."""

import asyncio
import logging
import os
import random
import signal
import socket
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from keyturn import __version__
from keyturn.decide.address import AddressRules
from keyturn.decide.admit import Limits, is_of_class
from keyturn.decide.judge import Patience
from keyturn.decide.reach import Reach
from keyturn.decide.watchdog import watching
from keyturn.engine import Engine
from keyturn.flow.leading import Leading
from keyturn.flow.refresher import Refresher
from keyturn.flow.steps import providers_of
from keyturn.flow.workqueue import Lane, WorkQueue
from keyturn.flow.world import World
from keyturn.handlers.news import News
from keyturn.handlers.watchdog import Watchdog
from keyturn.kube.client import Client
from keyturn.kube.config import IN_POD, ClusterConfig, load
from keyturn.kube.events import EventPoster
from keyturn.kube.lease import KubeLeases
from keyturn.kube.objects import ObjectCache
from keyturn.kube.own_addresses import own_addresses
from keyturn.kube.references import ReferenceWatches
from keyturn.kube.secrets import SecretCache, SecretEditor
from keyturn.kube.unsynced import Unsynced
from keyturn.kube.watch import Key, MetadataWatch
from keyturn.model.ids import MANAGED_LABEL, ObjectRef
from keyturn.model.order import ProviderOrder
from keyturn.ports import Provider
from keyturn.providers.registry import MEMBERS, Surroundings, build
from keyturn.settings import Settings
from keyturn.telemetry import LogAudit, Metrics

log = logging.getLogger("keyturn.operator")


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def steady() -> float:
    """Seconds that go on while the machine sleeps: what was ours before that must not seem to be so after it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def _identity(config: ClusterConfig) -> str:
    """A pod's name holds for all its containers' starts, so that a restarted one has its own lease back at once."""
    pod = os.environ.get("HOSTNAME", "") if config.context == IN_POD else ""
    return pod or f"{socket.gethostname()}-{os.getpid()}"


@dataclass(slots=True)
class Registry:
    """The port `Providers` over the provider registry."""

    around: Surroundings
    metrics: Metrics

    def open(self, order: ProviderOrder, ref: ObjectRef) -> Provider:
        member = MEMBERS[type(order.config)].name
        self.around.references.follow(ref, order.references)
        return build(order, kind=ref.kind, around=self.around, observe=lambda call, result, s: self.metrics.called(member, call, result, s))

    def forget(self, ref: ObjectRef) -> None:
        self.around.references.follow(ref, ())


def assemble(settings: Settings, config: ClusterConfig, own: frozenset[str]) -> Engine:
    """Makes the operator, without I/O; ``own`` are addresses that no tenant's server has. Must run inside an event loop."""
    clock, metrics, lease_client = SystemClock(), Metrics(), Client(config)
    identity = settings.identity or _identity(config)
    lease = f"keyturn-{settings.controller_class}" if settings.controller_class else "keyturn"
    leading = Leading(KubeLeases(lease_client, settings.operator_namespace, lease), identity, settings.terms, clock, steady)
    client = Client(config, leading.check)
    # By the clock that the watchdog reads in its own thread, which a hanging loop does not stop.
    cache, secrets, queue = ObjectCache(client), SecretCache(client), WorkQueue(time.monotonic, metrics.waited)
    queue.pause()
    queue.close()
    leading.is_free = lambda: not queue.is_at_work
    events, audit = EventPoster(client, clock, identity), LogAudit()
    references = ReferenceWatches(client, poll_s=settings.reference_poll_s)
    reach = Reach(env_prefixes=settings.env_prefixes, file_roots=settings.file_roots)
    around = Surroundings(reach, AddressRules(settings.allow_addresses, own, settings.allow_plain_http), references)

    def wake(ref: ObjectRef) -> None:
        world.mark_dirty(ref)
        queue.add(ref, Lane.ROUTINE)

    world = World(
        objects=cache,
        statuses=cache,
        reader=secrets,
        writer=SecretEditor(client, secrets),
        refresher=Refresher(Registry(around, metrics), audit, clock, wake, full_read_s=settings.full_read_s),
        audit=audit,
        events=events,
        telemetry=metrics,
        clock=clock,
        fence=leading,
        queue=queue,
        limits=Limits(settings.operator_namespace, settings.allow_secret_types, settings.is_cluster_wide),
        patience=Patience(settings.stale_floor_s, settings.denial_grace_s, settings.check_period_s, settings.conflict_window_s),
        entropy=random.random,
        started=clock.now(),
        controller_class=settings.controller_class,
    )
    news = News(cache, world)
    secrets.on_change, references.on_change = news.secret_changed, news.reference_changed
    selector = f"{MANAGED_LABEL}=true"
    paths = [f"/api/v1/namespaces/{n}/secrets" for n in settings.namespaces] or ["/api/v1/secrets"]
    times = watching(settings.stall_limit_s)
    watches = [MetadataWatch(client, path, secrets.put, secrets.drop, selector, times=times) for path in paths]
    if settings.is_cluster_wide:
        lose = partial(_lose_namespace, cache)
        watches.append(MetadataWatch(client, "/api/v1/namespaces", news.namespace_changed, lose, times=times))
    watchdog = Watchdog(queue, watches, settings.stall_limit_s, settings.dead_limit_s)
    _watch_numbers(metrics, world, watchdog, events, cache.unsynced)
    metrics.watch("keyturn_is_leader", "1 while this replica does the work, else 0.", lambda: float(leading.is_leading))
    return Engine(
        settings, config, client, lease_client, leading, world, cache, secrets, references, news, events, metrics, watches, watchdog
    )


def _lose_namespace(cache: ObjectCache, key: Key, _: str) -> None:
    cache.drop_namespace(key[1])


def _watch_numbers(metrics: Metrics, world: World, watchdog: Watchdog, events: EventPoster, unsynced: Unsynced) -> None:
    """Numbers that are read where they stand. Read in the health server's threads."""
    for lane in Lane:
        depth = partial(world.queue.depth, lane)
        metrics.watch("keyturn_queue_depth", "Objects that wait in a lane of the queue.", depth, lane=lane.name.lower())

    def oldest() -> float:
        for ref, age_s in unsynced.by_age():
            managed = world.objects.managed(ref)
            # Those of other classes are another operator's to sync.
            if managed is not None and is_of_class(providers_of(managed, world), world.controller_class):
                return age_s
        return 0.0

    metrics.watch("keyturn_oldest_unsynced_seconds", "Age of the oldest ManagedSecret that is not as ordered; 0 where all are.", oldest)
    metrics.watch("keyturn_events_dropped_total", "Events for people that were not posted.", lambda: events.dropped)
    loop = asyncio.get_running_loop()
    metrics.watch("keyturn_tasks", "Tasks of the event loop: growth without more objects is a leak.", lambda: len(asyncio.all_tasks(loop)))
    metrics.watch("keyturn_event_loop_lag_seconds", "How late the event loop was, at most, in the last minute.", lambda: watchdog.lag_s)


def note_unheard(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs what no task heard of, without the repr that asyncio would print: it may hold what a library choked on."""
    error = context.get("exception")
    log.warning("unheard of: %s", context.get("message", ""), exc_info=error if isinstance(error, BaseException) else None)


async def run(settings: Settings) -> None:
    """Runs the operator until SIGTERM or SIGINT. Raises a `KeyturnError` where it cannot go on."""
    stop = asyncio.Event()
    config = load(settings.kubeconfig, settings.context)

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

    asyncio.get_running_loop().set_exception_handler(note_unheard)
    engine = assemble(settings, config, await own_addresses(config.server))
    engine.take_signals = take_signals
    take_signals()
    log.info("starting", extra={"version": __version__, "server": config.server, "context": config.context, "pid": os.getpid()})
    await engine.run(stop)
