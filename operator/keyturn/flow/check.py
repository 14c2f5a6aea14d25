"""Checks provider objects by a real log-in, and says on them what came of it."""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime

from keyturn.decide import summary
from keyturn.decide.admit import is_of_class
from keyturn.decide.judge import delay_s, text_of
from keyturn.flow.audit import audited
from keyturn.flow.notes import known_generation, note_denial, note_spec
from keyturn.flow.workqueue import Lane
from keyturn.flow.world import Memory, World
from keyturn.model.audit import AuditEntry
from keyturn.model.errors import AuditUnavailable, ClusterConflict, ClusterError, KeyturnError, NotLeading, ProviderError, Rejected, Unread
from keyturn.model.ids import DEFAULT_PROVIDER, ObjectRef
from keyturn.model.objects import ProviderObject
from keyturn.model.order import ConfigWithLogin, ProviderOrder

log = logging.getLogger("keyturn.check")

UNSAID_DELAY_S = 2.0
_REFUSALS = frozenset({AuditUnavailable.__name__, Unread.__name__})
PER_READER = "each namespace that reads logs in for itself, and its ManagedSecrets say how that went"
LOGGED_IN = "the log-in works; what it may read shows on each ManagedSecret"
SOON_S = 3.0
"""When a provider is checked whose reads fare otherwise than its last check did; no more often, however it flickers."""


async def check(ref: ObjectRef, world: World) -> None:
    """Logs in to a provider, writes its status, and comes back in five minutes, or sooner while it fails. Raises `NotLeading`."""
    provider = world.objects.provider(ref)
    if provider is None or provider.deleting:
        world.refresher.close_shelf(ref)
        return world.forget(ref)
    if not isinstance(provider.order, Rejected) and not is_of_class((provider.order,), world.controller_class):
        return None
    memory, now = world.memory(ref, provider.uid), world.clock.now()
    if wait_s := _early_s(provider, memory, world):
        return world.queue.add_after(ref, wait_s, Lane.ROUTINE)
    memory.is_dirty = False
    note_spec(provider, memory, world)
    try:
        caps = await _log_in(provider, world)
    except NotLeading:
        raise
    except ClusterConflict:
        return world.queue.add_after(ref, 0.0, Lane.ROUTINE)
    except KeyturnError as error:
        memory.note_failure(error.reason, now)
        note_denial(provider, error, memory, world)
        # Where the table waits for an event, there is none for a provider: it comes back in its turn.
        delay = delay_s(error.reason, memory.attempts, world.entropy()) or world.patience.check_period_s
        delay = max(delay, getattr(error, "retry_after", None) or 0.0)
        # A refusal of the audit trail is our own trouble, and says nothing of the provider.
        is_ours = isinstance(error, AuditUnavailable)
        log.info("provider not %s: %s", "checked" if is_ours else "ready", error, extra={"object": str(ref), "reason": error.reason})
        is_said = is_ours or await _say(provider, error.reason, text_of(error), now, world)
    else:
        memory.note_success()
        delay = world.patience.check_period_s
        is_said = await _say(provider, "Synced", _proven(provider), now, world, caps=caps)
    if memory.is_dirty:
        delay = min(delay, SOON_S)
    return world.queue.add_after(ref, delay if is_said else min(delay, UNSAID_DELAY_S), Lane.ROUTINE)


def look_again(ref: ObjectRef, is_answering: bool, world: World) -> None:  # noqa: FBT001  # what `Refresher` tells
    """Reads meet an outage, and its end, long before the next check: the provider is checked soon, so that its object says so.

    Of one that is read by each namespace apart no check and no object tells: who failed there tries again at once.
    """
    if ref.reader:
        if is_answering:
            _wake_failed(ref, world)
        return
    provider = world.objects.provider(ref)
    memory = world.memory(ref, provider.uid) if provider is not None else None
    if memory is None or memory.is_dirty or is_answering == (not memory.attempts):
        return
    # Where a check is under way, it says this to whoever plans the next one.
    memory.is_dirty = True
    world.queue.add_after(ref, SOON_S, Lane.ROUTINE)


def _early_s(provider: ProviderObject, memory: Memory, world: World) -> float:
    """How long a spec that nobody looked at yet has to wait for that: of a tenant's provider that is edited again and again the last one
    is looked at in the end. Who reads by it does not wait.
    """
    if not provider.ref.namespace or known_generation(provider, memory) == provider.generation:
        return 0.0
    return world.specs.wait_s(provider.ref.namespace, memory.specs, asyncio.get_running_loop().time())


async def _log_in(provider: ProviderObject, world: World) -> tuple[str, ...]:
    shelf = world.refresher.shelf(provider)
    if provider.is_per_reader:
        # There is nobody to log in as. That it could be opened at all is known by now.
        return ()
    entry = AuditEntry("provider.check", str(provider.ref), str(provider.ref), details={"generation": str(provider.generation)})
    async with audited(world.audit, entry):
        try:
            await shelf.provider.validate()
        except ProviderError:
            if world.refresher.is_open(shelf):
                raise
            raise ClusterConflict(f"{provider.ref} changed while it was checked") from None
    return tuple(sorted(cap.name for cap in shelf.provider.caps if cap.name))


def _proven(provider: ProviderObject) -> str:
    """What is known of a provider whose check went well: the check reads no secret, and a log-in may hold no right at all."""
    if provider.is_per_reader:
        return PER_READER
    has_login = isinstance(provider.order, ProviderOrder) and isinstance(provider.order.config, ConfigWithLogin)
    return LOGGED_IN if has_login else "it can be read"


async def _say(provider: ProviderObject, reason: str, message: str, now: datetime, world: World, *, caps: tuple[str, ...] = ()) -> bool:
    """Writes what is new; False where the API server did not take it."""
    status = summary.provider_checked(provider, reason, message, now, caps=caps, period_s=world.patience.check_period_s)
    if status == provider.status:
        return True
    world.fence.check()
    before = provider.status.condition("Ready")
    is_new = before is None or before.reason != status.conditions[0].reason
    if provider.ref == DEFAULT_PROVIDER:
        if is_new:
            # There is no object on which anybody could read it.
            log.log(logging.INFO if reason == "Synced" else logging.WARNING, "the default provider: %s", message)
    elif reason != "Synced" and is_new:
        world.events.post(provider, "Warning", reason, status.conditions[0].message)
    try:
        await world.statuses.write_provider(provider, status)
        if before is None or before.status != status.conditions[0].status:
            wake_users(provider.ref, world, failing_only=True)
    except ClusterError as error:
        log.info("status not written: %s", error, extra={"object": str(provider.ref)})
        return False
    return True


def wake_users(ref: ObjectRef, world: World, *, failing_only: bool = False) -> None:
    """A provider turned, or its spec changed: whoever draws on it looks again."""
    for user in _users(ref, world):
        if failing_only and _is_well(user, world):
            continue
        world.mark_dirty(user)
        world.queue.add(user, Lane.URGENT)


def wake_refused(world: World) -> None:
    """The audit trail takes entries again: what it kept waiting is looked at now, whatever its next try was, in the lanes of a start."""
    for ref, memory in list(world.memories.items()):
        if memory.failing_reason in _REFUSALS:
            managed = world.objects.managed(ref)
            world.queue.add(ref, Lane.ROUTINE if managed is not None and managed.status.is_ready else Lane.URGENT)


def _wake_failed(ref: ObjectRef, world: World) -> None:
    for user in _users(ref, world):
        if (memory := world.memories.get(user)) and memory.attempts:
            world.mark_dirty(user)
            world.queue.add(user, Lane.URGENT)


def _users(ref: ObjectRef, world: World) -> list[ObjectRef]:
    """Who draws on a provider, or on it as one namespace reads by it."""
    found = world.objects.using(replace(ref, namespace="") if ref.reader else ref)
    return [user for user in found if ref.reader in ("", user.namespace)]


def _is_well(user: ObjectRef, world: World) -> bool:
    """Ready, and not one of those that fail in silence: what stands may stand for a while where its provider is away.

    One whose first turn is to come, or under way, has not failed: it would read its sources twice.
    """
    managed, memory = world.objects.managed(user), world.memories.get(user)
    is_failing = memory is not None and memory.attempts > 0
    return managed is not None and (managed.status.is_ready or managed.status.generation < 0) and not is_failing
