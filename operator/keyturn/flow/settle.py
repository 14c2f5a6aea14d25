"""Tells the truth about a turn of a ManagedSecret, as ``flow/check.py`` does for a provider: status, metric, log line and next time."""

import logging
import time
from dataclasses import replace
from datetime import datetime

from keyturn.decide import summary
from keyturn.decide.admit import is_of_class
from keyturn.decide.diff import is_as_written
from keyturn.decide.judge import Judgement, delay_s, is_moved, judge
from keyturn.decide.story import trigger_of
from keyturn.flow.audit import attempt
from keyturn.flow.notes import note_denial
from keyturn.flow.phases import awaited
from keyturn.flow.steps import providers_of
from keyturn.flow.turn import take_turn
from keyturn.flow.workqueue import Lane
from keyturn.flow.world import Memory, World
from keyturn.model.errors import ClusterError, KeyturnError, NotLeading, Rejected
from keyturn.model.ids import ObjectRef, SecretRef
from keyturn.model.objects import Managed
from keyturn.model.order import Order
from keyturn.model.plan import Live
from keyturn.model.status import Status, moment

log = logging.getLogger("keyturn.sync")


async def settle(ref: ObjectRef, world: World) -> None:
    """Looks at one object, does what it needs, and writes down what came of it. Raises `NotLeading`, and nothing else of ours."""
    managed = world.objects.managed(ref)
    if managed is None:
        return world.forget(ref)
    if managed.deleting or not is_of_class(providers_of(managed, world), world.controller_class):
        # Deletion is the garbage collector's work alone, and other classes have an operator of their own.
        return world.refresher.forget(ref)
    memory, began = world.memory(ref, managed.uid), time.monotonic()
    with attempt(trigger_of(managed, is_dirty=memory.is_dirty, attempts=memory.attempts)):
        outcome = await _try(managed, memory, world)
    world.telemetry.synced(outcome, time.monotonic() - began)
    return None


async def _try(managed: Managed, memory: Memory, world: World) -> str:
    """Does it and says so; the reason that it ends with."""
    try:
        status = await take_turn(managed, memory, world)
    except NotLeading:
        raise
    except KeyturnError as error:
        return await _failed(error, managed, memory, world)
    await _write(managed, status, memory, world)
    return status.conditions[0].reason if status.conditions else "Progressing"


async def _failed(error: KeyturnError, managed: Managed, memory: Memory, world: World) -> str:
    now = world.clock.now()
    memory.note_failure(type(error).__name__, now)
    memory.must_look = is_moved(error)
    live = _live(managed, world)
    stands = isinstance(managed.order, Order) and is_as_written(managed, managed.order, live, world.controller_class)
    record = memory.record(_last_good(managed, world), now)
    verdict = judge(error, managed, secret_stands=stands, record=record, now=now, entropy=world.entropy(), patience=world.patience)
    level = logging.INFO if verdict.reason or verdict.delay_s is None else logging.DEBUG
    log.log(level, "not synced: %s", error, extra={"object": str(managed.ref), "reason": error.reason, "retry_s": verdict.delay_s})
    if verdict.delay_s is not None:
        world.queue.add_after(managed.ref, verdict.delay_s, Lane.URGENT if isinstance(error, ClusterError) else Lane.ROUTINE)
    note_denial(managed, error, memory, world, verdict.reason)
    await _say(verdict, managed, memory, world)
    return verdict.reason or error.reason


async def _say(verdict: Judgement, managed: Managed, memory: Memory, world: World) -> None:
    if not verdict.reason:
        return
    world.fence.check()
    status = summary.failed(managed, verdict.reason, verdict.message, world.clock.now(), stalled=verdict.stalled)
    before = managed.status.condition("Ready")
    if verdict.reason not in (memory.told, before.reason if before else ""):
        memory.told = verdict.reason
        world.events.post(managed, "Warning", verdict.reason, status.conditions[0].message)
    await _write(managed, status, memory, world)


def _live(managed: Managed, world: World) -> Live | None:
    former = managed.status.target
    return world.reader.seen(SecretRef(managed.ref.namespace, former.name)) if former else None


def _last_good(managed: Managed, world: World) -> datetime:
    """When the object's sources were last read well, by the oldest of them.

    After a restart a provider's sign of life counts while the object was Ready, else our own start. A provider that
    fails keeps being checked, so that of one the moment counts in which it ceased to be Ready.
    """
    if isinstance(managed.order, Rejected):
        return world.started
    times = []
    for ref in managed.order.providers(managed.ref.namespace):
        provider = world.objects.provider(ref)
        ready = provider.status.condition("Ready") if provider and managed.status.is_ready else None
        told = moment(provider.status.last_check if ready.status == "True" else ready.since) if provider and ready else None
        at = replace(ref, namespace=managed.ref.namespace) if provider and provider.is_per_reader else ref
        times.append(world.refresher.last_good(at) or told or world.started)
    return min(times, default=world.started)


async def _write(managed: Managed, status: Status, memory: Memory, world: World) -> None:
    """Writes a status only where it says something new; one that is not taken is said again, ever more rarely."""
    if status == managed.status:
        return
    try:
        await _status(managed, status, world)
    except ClusterError as error:
        memory.unsaid += 1
        delay = max(delay_s("Progressing", memory.unsaid, world.entropy()) or 0.0, error.retry_after or 0.0)
        log.info("status not written: %s", error, extra={"object": str(managed.ref), "retry_s": delay})
        world.queue.add_after(managed.ref, delay)
    else:
        memory.unsaid = 0
        world.telemetry.wrote("status")


@awaited("status")
async def _status(managed: Managed, status: Status, world: World) -> None:
    await world.statuses.write(managed, status)
