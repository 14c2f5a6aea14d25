"""Rows of the audit trail that stand for themselves: what was denied, what is configured, and what is gone."""

import asyncio

from keyturn.decide.judge import text_of
from keyturn.decide.story import listed
from keyturn.flow.audit import is_denial, joined, reason_of
from keyturn.flow.world import Memory, World
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import (
    Forbidden,
    KeyturnError,
    MissingExtra,
    NotLeading,
    Rejected,
    TargetConflict,
    TargetImmutable,
    TargetNotOwned,
    Unprocessable,
)
from keyturn.model.objects import Cached, Managed, ProviderObject
from keyturn.model.order import CreationPolicy, Order, ProviderOrder
from keyturn.model.status import Condition

_OF_THE_TARGET = (TargetNotOwned, TargetConflict, TargetImmutable, Forbidden, Unprocessable)
_OWN_RULES = (Rejected, MissingExtra, Unprocessable)


def note_denial(about: Cached, error: KeyturnError, memory: Memory, world: World, reason: str = "") -> None:
    """Says that an object may not have what it asks for: when that begins, and when something else becomes of it.

    Not at each retry, and not again by the next process: an object says itself, by ``reason``, what it was told before. A request
    by annotation is answered by a row, whatever came of the last one. Where an object or its namespace makes too many of them, some are
    counted in the next row; how it stands in the end is told in any case.
    """
    if not (is_denial(error) or isinstance(error, _OWN_RULES)):
        return
    message = text_of(error)
    token = about.reconcile_token if isinstance(about, Managed) else ""
    told = f"{error.reason}\n{token}\n{message}"
    was_told = memory.denied == told or (not memory.denied and _stands_there(about, reason or error.reason, message))
    if was_told:
        memory.denied = told
        return
    unsaid = world.denials.admit(about.ref.namespace, memory.denials, asyncio.get_running_loop().time())
    if unsaid is None:
        memory.denied = memory.denied or "not told yet"  # the next retry does
        return
    memory.denied = told
    details = {"uid": about.uid, "generation": str(about.generation), "message": message}
    details |= {"more": f"{unsaid} denials of this namespace are no rows"} if unsaid else {}
    action = "sync.deny" if isinstance(about, Managed) else "provider.deny"
    world.audit.record(joined(AuditEntry(action, str(about.ref), _denied(about, error), details=details)), Outcome.DENIED, reason_of(error))


def note_spec(provider: ProviderObject, memory: Memory, world: World) -> None:
    """Says once what a provider is from now on: for each generation that no operator looked at before.

    Of those that were followed by another one before anybody looked, it says the numbers.
    """
    known = known_generation(provider, memory)
    memory.generation = provider.generation
    if known == provider.generation:
        return
    order, details = provider.order, {"uid": provider.uid, "generation": str(provider.generation)}
    if isinstance(order, ProviderOrder):
        details |= {"type": order.member or type(order.config).__name__.removesuffix("Config"), "access": str(order.access)}
        details["admits"] = _admitted(order)
    first, last = max(known, 0) + 1, provider.generation - 1
    details |= {"more": f"generations {first} to {last} are no rows"} if first <= last else {}
    trigger = "spec" if known >= 0 else "new"
    world.audit.record(AuditEntry("provider.configure", str(provider.ref), str(provider.ref), trigger, details=details), Outcome.SUCCESS)


def known_generation(provider: ProviderObject, memory: Memory | None) -> int:
    """Which of its specs an operator looked at last; -1 for none."""
    return max(provider.status.generation, memory.generation if memory is not None else -1)


def note_end(found: Cached, world: World) -> None:
    """Says that an object is gone, and what becomes of its Secret. Whoever does not lead says nothing.

    Nor is anything said of an object that came to nothing: whoever makes and deletes them in a loop makes no row by that.
    """
    try:
        world.fence.check()
    except NotLeading:
        return None
    memory = world.memories.get(found.ref)
    memory = memory if memory is not None and memory.uid == found.uid else None
    details = {"uid": found.uid, "generation": str(found.generation)}
    if isinstance(found, ProviderObject):
        if known_generation(found, memory) < 0:
            return None
        entry = AuditEntry("provider.end", str(found.ref), str(found.ref), "deletion", details=details)
        return world.audit.record(entry, Outcome.SUCCESS)
    written = found.status.target
    if written is None and (memory is None or not memory.has_acted):
        return None
    if written is not None:
        stays = isinstance(found.order, Order) and found.order.target.creation is CreationPolicy.ORPHAN
        details |= {"target_uid": written.uid, "revision": found.status.revision, "secret": "stays" if stays else "goes with it"}
    target = f"Secret/{found.ref.namespace}/{written.name}" if written is not None else str(found.ref)
    keys = written.keys if written is not None else ()
    return world.audit.record(AuditEntry("managedsecret.end", str(found.ref), target, "deletion", keys, details), Outcome.SUCCESS)


def _stands_there(about: Cached, reason: str, message: str) -> bool:
    ready: Condition | None = about.status.condition("Ready")
    is_current = about.status.generation == about.generation
    if isinstance(about, Managed):
        is_current &= about.status.handled_reconcile == about.reconcile_token
    # The condition says it in the same words, and may say more, such as a remedy.
    return is_current and ready is not None and ready.reason == reason and ready.message[:500].startswith(message[:500])


def _denied(about: Cached, error: KeyturnError) -> str:
    """What it was that it may not have."""
    if isinstance(about, ProviderObject):
        return str(about.ref)
    if isinstance(error, _OF_THE_TARGET) and about.target is not None:
        return str(about.target)
    if isinstance(about.order, Order) and is_denial(error):
        providers = about.order.providers(about.ref.namespace)
        return listed([str(each) for each in providers])
    return str(about.ref)


def _admitted(order: ProviderOrder) -> str:
    """Which namespaces may use it."""
    if not order.admissions:
        return "its own namespace, or all"
    named = sorted({name for item in order.admissions for name in item.namespaces})
    rules = sum((item.selector is not None) + len(item.regexes) for item in order.admissions)
    return f"{listed(named) or 'none'}{f', and by {rules} rules' if rules else ''}"
