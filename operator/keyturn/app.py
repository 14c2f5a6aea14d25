"""The only place that names concrete adapters: settings in, a finished engine out."""

import asyncio
import logging
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from keyturn import __version__
from keyturn.audit_log import LogAudit
from keyturn.auditing import keep_trail, make_audit
from keyturn.decide.address import AddressRules
from keyturn.decide.admit import Limits, is_of_class
from keyturn.decide.default_clouds import google_places
from keyturn.decide.defaults import NAMESPACES
from keyturn.decide.judge import Patience
from keyturn.decide.reach import Reach
from keyturn.decide.watchdog import watching
from keyturn.default import Given, LateDatabases, open_default, take
from keyturn.engine import Engine
from keyturn.flow.audit_queue import AuditQueue
from keyturn.flow.check import look_again
from keyturn.flow.leading import Leading
from keyturn.flow.office import Office
from keyturn.flow.refresher import Refresher
from keyturn.flow.steps import providers_of
from keyturn.flow.workqueue import Lane, WorkQueue
from keyturn.flow.world import World
from keyturn.handlers.audit_numbers import watch_audit
from keyturn.handlers.news import News
from keyturn.handlers.watchdog import Watchdog
from keyturn.kube import master_key
from keyturn.kube.client import Client
from keyturn.kube.config import IN_POD, ClusterConfig, load
from keyturn.kube.events import EventPoster
from keyturn.kube.lease import KubeLeases
from keyturn.kube.objects import ObjectCache
from keyturn.kube.own_addresses import own_addresses
from keyturn.kube.references import ReferenceWatches
from keyturn.kube.secrets import SecretCache, SecretEditor
from keyturn.kube.tenant_tokens import TokenRequests
from keyturn.kube.unsynced import Unsynced
from keyturn.kube.watch import MetadataWatch
from keyturn.model.audit import AuditMode
from keyturn.model.default import DefaultProvider
from keyturn.model.errors import KeyturnError, Rejected
from keyturn.model.ids import DEFAULT_PROVIDER, MANAGED_LABEL, ObjectRef
from keyturn.model.metrics import BUILD, DEPTH, EVENTS_DROPPED, LEADER, LOOP_LAG, OLDEST, PROVIDERS, TASKS
from keyturn.model.order import ProviderOrder
from keyturn.model.reader import CLUSTER
from keyturn.model.status import REASONS, WELL
from keyturn.ports import Provider
from keyturn.providers.registry import MEMBERS, Home, Surroundings, build
from keyturn.settings import Settings
from keyturn.telemetry import Metrics

log = logging.getLogger("keyturn.operator")


NO_TRAIL: Final = (
    "there is no database for the audit trail: set DATABASE_URL to sqlite:////var/lib/keyturn/keyturn.db or another file on a disk that "
    "stays, or to postgresql://USER:PASSWORD@HOST/NAME; or set KEYTURN_AUDIT=log, and it is lines of the log alone"
)


class NoAuditTrail(KeyturnError):
    """Nobody said where the audit trail goes."""


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
    default: DefaultProvider

    def open(self, order: ProviderOrder, ref: ObjectRef) -> Provider:
        member = MEMBERS[type(order.config)].name

        def observe(call: str, result: str, seconds: float) -> None:
            self.metrics.called(member, call, result, seconds)

        if ref == DEFAULT_PROVIDER:
            return open_default(self.default, self.around, observe=observe)
        # What is left open until somebody reads is nothing that could be followed.
        self.around.references.follow(ref, () if order.is_per_reader else order.references)
        return build(order, kind=ref.kind, around=self.around, namespace=ref.namespace, observe=observe)

    def forget(self, ref: ObjectRef) -> None:
        self.around.references.follow(ref, ())


def assemble(settings: Settings, config: ClusterConfig, own: frozenset[str], given: Given | None = None) -> Engine:
    """Makes the operator, without I/O; ``own`` are addresses that no tenant's server has. Must run inside an event loop."""
    given = given or Given()
    clock, metrics, lease_client = SystemClock(), Metrics(), Client(config)
    identity = settings.identity or _identity(config)
    lease = f"keyturn-{settings.controller_class}" if settings.controller_class else "keyturn"
    leading = Leading(KubeLeases(lease_client, settings.operator_namespace, lease), identity, settings.terms, clock, steady)
    client = Client(config, leading.check)
    # By the clock that the watchdog reads in its own thread, which a hanging loop does not stop.
    cache, secrets = ObjectCache(client, given.default.as_object()), SecretCache(client)
    queue = WorkQueue(time.monotonic, metrics.waited)
    queue.pause()
    queue.close()
    leading.is_free = lambda: not queue.is_at_work
    events, audit = EventPoster(client, clock, identity), make_audit(settings, given, clock, identity, lease)
    references = ReferenceWatches(client, poll_s=settings.reference_poll_s)
    home = Home(config.server, config.faceless or config.tls, TokenRequests(client, config.token))
    reach, addresses, google = _reach(settings), _addresses(settings, own), google_places(os.environ)
    around = Surroundings(reach, addresses, references, home=home, databases=given.databases, google=google)

    def wake(ref: ObjectRef) -> None:
        world.mark_dirty(ref)
        queue.add(ref, Lane.ROUTINE)

    world = World(
        objects=cache,
        statuses=cache,
        reader=secrets,
        writer=SecretEditor(client, secrets),
        refresher=Refresher(Registry(around, metrics, given.default), audit, clock, wake, full_read_s=settings.full_read_s),
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
        cluster_id=partial(cache.namespace_uid, CLUSTER),
    )
    world.refresher.on_turn = partial(look_again, world=world)
    news = News(cache, world)
    secrets.on_change, references.on_change = news.secret_changed, news.reference_changed
    watches = _watches(settings, client, secrets, news)
    watchdog = Watchdog(queue, watches, settings.stall_limit_s, settings.dead_limit_s)
    _watch_numbers(metrics, world, watchdog, events, cache.unsynced, audit)
    standing = partial(_standing, cache, settings.controller_class)
    metrics.tally(PROVIDERS, standing)
    metrics.watch(LEADER, lambda: float(leading.is_leading))
    office = Office(world, _facts(given), settings.changed)
    made = Engine(
        settings, config, client, lease_client, leading, world, cache, secrets, references, news, events, metrics, watches, watchdog, office
    )
    made.closers.append(given.databases.close)
    if given.databases.has_own:
        _keep_database(given.databases, audit, identity, made)
    return made


def _keep_database(databases: LateDatabases, audit: AuditQueue | LogAudit, identity: str, engine: Engine) -> None:
    """Has it open, and the audit trail in it written, for as long as the operator runs."""
    engine.duties["database"] = partial(databases.keep, identity)
    if isinstance(audit, AuditQueue):
        keep_trail(databases, audit, engine)


def _facts(given: Given) -> Mapping[str, str]:
    """What the audit trail is told of a start, beside the names of its settings."""
    default = given.default
    return {"version": __version__, "default": default.word, "default_open_to": ", ".join(sorted(default.namespaces)) or "nobody"}


def _reach(settings: Settings) -> Reach:
    return Reach(env_prefixes=settings.env_prefixes, file_roots=settings.file_roots)


def _addresses(settings: Settings, own: frozenset[str] = frozenset()) -> AddressRules:
    return AddressRules(settings.allow_addresses, own, settings.allow_plain_http)


def _watches(settings: Settings, client: Client, secrets: SecretCache, news: News) -> list[MetadataWatch]:
    selector = f"{MANAGED_LABEL}=true"
    paths = [f"/api/v1/namespaces/{n}/secrets" for n in settings.namespaces] or ["/api/v1/secrets"]
    times = watching(settings.stall_limit_s)
    watches = [MetadataWatch(client, path, secrets.put, secrets.drop, selector, times=times) for path in paths]
    if settings.is_cluster_wide:
        watches.append(MetadataWatch(client, "/api/v1/namespaces", news.namespace_changed, news.namespace_lost, times=times))
    return watches


def _watch_numbers(
    metrics: Metrics, world: World, watchdog: Watchdog, events: EventPoster, unsynced: Unsynced, audit: AuditQueue | LogAudit
) -> None:
    """Numbers that are read where they stand. Read in the health server's threads."""
    metrics.watch(BUILD, lambda: 1.0, version=__version__)
    for lane in Lane:
        metrics.watch(DEPTH, partial(world.queue.depth, lane), lane=lane.name.lower())

    def oldest() -> float:
        for ref, age_s in unsynced.by_age():
            managed = world.objects.managed(ref)
            # Those of other classes are another operator's to sync.
            if managed is not None and is_of_class(providers_of(managed, world), world.controller_class):
                return age_s
        return 0.0

    metrics.watch(OLDEST, oldest)
    watch_audit(metrics, audit, world.clock)
    metrics.watch(EVENTS_DROPPED, lambda: events.dropped)
    loop = asyncio.get_running_loop()
    metrics.watch(TASKS, lambda: len(asyncio.all_tasks(loop)))
    metrics.watch(LOOP_LAG, lambda: watchdog.lag_s)


def _standing(cache: ObjectCache, controller_class: str) -> Mapping[tuple[str, ...], float]:
    """How many provider objects of our class there are, by type and reason; no word of them that anybody may choose."""
    counts: Counter[tuple[str, ...]] = Counter()
    for found in cache.all_providers():
        order = None if isinstance(found.order, Rejected) else found.order
        if found.deleting or (order is not None and not is_of_class((order,), controller_class)):
            continue
        ready = found.status.condition("Ready")
        reason = ready.reason if ready is not None else "Progressing"
        kind = MEMBERS[type(order.config)].name if order is not None else "none"
        counts[kind, reason if reason in REASONS or reason in WELL else "Other"] += 1
    return counts


def note_unheard(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs what no task heard of, without the repr that asyncio would print: it may hold what a library choked on."""
    error = context.get("exception")
    log.warning("unheard of: %s", context.get("message", ""), exc_info=error if isinstance(error, BaseException) else None)


def take_default(settings: Settings, environment: MutableMapping[str, str]) -> Given:
    """The default provider, and the operator's own database. What is secret is not in the environment after it. Raises `KeyturnError`."""
    given = take(environment, _reach(settings), _addresses(settings))
    default = given.default
    if default.namespaces and settings.controller_class:
        raise Rejected(f"{NAMESPACES}: the default provider belongs to the operator without a class; unset it, or --controller-class")
    if default.namespaces:
        log.info("default provider", extra={"provider": default.word, "namespaces": sorted(default.namespaces)})
    return given


async def run(settings: Settings) -> None:
    """Runs the operator until SIGTERM or SIGINT. Raises a `KeyturnError` where it cannot go on."""
    stop = asyncio.Event()
    given = take_default(settings, os.environ)
    config = load(settings.kubeconfig, settings.context)
    if settings.audit is not AuditMode.LOG and not given.databases.has_own:
        raise NoAuditTrail(NO_TRAIL)

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

    asyncio.get_running_loop().set_exception_handler(note_unheard)
    engine = assemble(settings, config, await own_addresses(config.server), given)
    # Not held to the lease: a replica that stands by opens the database too, and whoever makes the key first, it holds for all.
    given.databases.keep_keys(partial(master_key.load, engine.lease_client, settings.operator_namespace))
    engine.take_signals = take_signals
    take_signals()
    log.info("starting", extra={"version": __version__, "server": config.server, "context": config.context, "pid": os.getpid()})
    await engine.run(stop)
