"""The only place that names concrete adapters: settings in, a finished engine out."""

import asyncio
import logging
import os
import random
import signal
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keyturn import __version__
from keyturn.decide.admit import Limits
from keyturn.decide.judge import Patience
from keyturn.decide.reach import Reach
from keyturn.engine import Engine
from keyturn.flow.refresher import Refresher
from keyturn.flow.workqueue import Lane, WorkQueue
from keyturn.flow.world import World
from keyturn.handlers.news import News
from keyturn.kube.client import Client
from keyturn.kube.config import ClusterConfig, load
from keyturn.kube.events import EventPoster
from keyturn.kube.objects import ObjectCache
from keyturn.kube.secrets import SecretCache, SecretEditor
from keyturn.kube.watch import MetadataWatch
from keyturn.model.ids import MANAGED_LABEL, Kind, ObjectRef
from keyturn.model.order import ProviderOrder
from keyturn.ports import Provider
from keyturn.providers.registry import MEMBERS, build
from keyturn.settings import Settings
from keyturn.telemetry import LogAudit, Metrics

log = logging.getLogger("keyturn.operator")


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(slots=True)
class Registry:
    """The port `Providers` over the provider registry."""

    reach: Reach
    metrics: Metrics

    def open(self, order: ProviderOrder, kind: Kind) -> Provider:
        member = MEMBERS[type(order.config)].name
        return build(order, kind=kind, reach=self.reach, observe=lambda call, result, s: self.metrics.called(member, call, result, s))


def assemble(settings: Settings, config: ClusterConfig) -> Engine:
    """Makes the operator, without I/O. Must run inside an event loop."""
    client, clock, metrics = Client(config), SystemClock(), Metrics()
    cache, secrets, queue = ObjectCache(client), SecretCache(client), WorkQueue()
    queue.pause()
    instance = os.environ.get("HOSTNAME") or socket.gethostname()
    events, audit = EventPoster(client, clock, instance), LogAudit()
    reach = Reach(env_prefixes=settings.env_prefixes, file_roots=settings.file_roots)

    def wake(ref: ObjectRef) -> None:
        world.mark_dirty(ref)
        queue.add(ref, Lane.ROUTINE)

    world = World(
        objects=cache,
        statuses=cache,
        reader=secrets,
        writer=SecretEditor(client, secrets),
        refresher=Refresher(Registry(reach, metrics), audit, clock, wake),
        audit=audit,
        events=events,
        telemetry=metrics,
        clock=clock,
        queue=queue,
        limits=Limits(settings.operator_namespace, settings.allow_secret_types, settings.is_cluster_wide),
        patience=Patience(settings.stale_floor_s, settings.denial_grace_s, settings.check_period_s, settings.conflict_window_s),
        entropy=random.random,
        started=clock.now(),
        controller_class=settings.controller_class,
    )
    news = News(cache, world)
    secrets.on_change = news.secret_changed
    selector = f"{MANAGED_LABEL}=true"
    paths = [f"/api/v1/namespaces/{n}/secrets" for n in settings.namespaces] or ["/api/v1/secrets"]
    watches = [MetadataWatch(client, path, secrets.put, secrets.drop, selector) for path in paths]
    if settings.is_cluster_wide:
        watches.append(MetadataWatch(client, "/api/v1/namespaces", news.namespace_changed, lambda key, _: cache.drop_namespace(key[1])))
    metrics.watch("keyturn_queue_depth", "Objects that wait in a lane of the queue.", lambda: queue.depth(Lane.URGENT), lane="urgent")
    return Engine(settings, config, client, world, cache, secrets, news, events, metrics, watches)


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
    engine = assemble(settings, config)
    engine.take_signals = take_signals
    take_signals()
    log.info("starting", extra={"version": __version__, "server": config.server, "context": config.context, "pid": os.getpid()})
    await engine.run(stop)
