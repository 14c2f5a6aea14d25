"""What people hear of a Secret: events for what happened to one that was there before.

A first sync says nothing, and an unchanged one neither.
"""

from collections.abc import Mapping

from keyturn.decide.conflict import LIMIT, TOLD_AT, taken
from keyturn.flow.effects import Done
from keyturn.flow.world import Memory, World
from keyturn.model.objects import Managed
from keyturn.model.plan import Action, Desired, Plan


def tell(done: Done, managed: Managed, memory: Memory, world: World) -> None:
    """Posts the one event that fits what was done, and counts what was taken back from another writer."""
    plan, desired = done.plan, done.plan.desired
    if desired is None:
        return
    name = desired.ref.name
    if plan.retire is not None:
        world.events.post(managed, "Normal", "Updated", f"Secret {name} took the place of {plan.retire.ref.name}, which is deleted")
    elif done.is_type_change:
        world.events.post(managed, "Normal", "TypeChanged", f"Secret {name} was deleted and made anew with type {desired.type}")
    elif plan.action is Action.RECREATE:
        world.events.post(
            managed, "Normal", "Recreated", f"Secret {name} was gone and was made anew; delete the ManagedSecret to be rid of it"
        )
        _count({"all of it": "somebody"}, desired, managed, memory, world)
    elif plan.action is Action.ADOPT:
        goes = "; it now goes with the ManagedSecret, creationPolicy Orphan would keep it" if desired.owner else ""
        world.events.post(managed, "Normal", "Adopted", f"Secret {name} was there already and is ours from now on{goes}")
    elif plan.action is Action.CHANGE and plan.is_drift:
        _tell_repair(plan, desired, managed, memory, world)
    elif plan.action is Action.CHANGE and managed.is_synced and managed.status.revision != desired.revision:
        world.events.post(managed, "Normal", "Updated", f"Secret {name} got its new value")


def _tell_repair(plan: Plan, desired: Desired, managed: Managed, memory: Memory, world: World) -> None:
    name = desired.ref.name
    by = ", ".join(f"{key} by {manager}" for key, manager in sorted(plan.taken_by.items())[:5])
    world.events.post(
        managed,
        "Normal",
        "Repaired",
        f"Secret {name} had been changed{f' ({by})' if by else ''} and is as ordered again; change it at its source",
    )
    _count(plan.taken_by, desired, managed, memory, world)


def _count(fields: Mapping[str, str], desired: Desired, managed: Managed, memory: Memory, world: World) -> None:
    """Notes what was taken back, and warns before we give in."""
    memory.takes = taken(memory.takes, fields, world.clock.now(), window_s=world.patience.conflict_window_s)
    fought = ", ".join(sorted(field for field in fields if len(memory.takes.get(field, ())) >= TOLD_AT))
    if fought:
        remedy = "stop it, or give each its own Secret"
        note = f"another writer keeps changing {fought} of Secret {desired.ref.name}; after {LIMIT} times we pause: {remedy}"
        world.events.post(managed, "Warning", "Conflict", note)
