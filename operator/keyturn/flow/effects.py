"""Carries out plans: intent into the audit trail, the write, settlement. The only place that changes Secrets."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final

from keyturn.decide.story import marks_of, replaced, taken_away, written
from keyturn.flow.audit import Result, audited
from keyturn.flow.phases import awaited
from keyturn.flow.world import World
from keyturn.model.audit import AuditEntry
from keyturn.model.errors import TargetNotOwned, Unprocessable, Vanished
from keyturn.model.ids import CHANGED_AT_ANNOTATION
from keyturn.model.lease import MARGIN_S
from keyturn.model.objects import Managed
from keyturn.model.plan import Action, Desired, Live, Plan
from keyturn.model.status import timestamp

TYPE_CHANGE: Final = "TypeChange"
"""The reason of a change that the API server refused because a Secret keeps its type: it is replaced then."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, and the Secret as it stands after. ``is_type_change``: it was deleted and made anew."""

    plan: Plan
    live: Live | None
    is_type_change: bool = False


@awaited("perform")
async def perform(plan: Plan, managed: Managed, world: World) -> Done:
    """Takes the one step that the plan names. Raises a `ClusterError`, `Refused`, `NotLeading` or `AuditUnavailable`."""
    if plan.needs_owner_alive and not await world.objects.is_alive(managed.ref, managed.uid):
        # The garbage collector deletes for a gone owner. Making or claiming the Secret now would leave
        # a ghost, or hand an orphan that someone asked for back to the collector (cluster rule 12).
        raise Vanished(f"{managed.ref} is being deleted")
    if plan.if_type_differs and plan.desired and await world.reader.type_of(plan.desired.ref) == plan.desired.type:
        plan = replace(plan, action=Action.NOTHING)
    world.memory(managed.ref, managed.uid).has_acted |= plan.action is not Action.NOTHING
    match plan:
        case Plan(Action.CREATE | Action.RECREATE, Desired() as desired):
            done = Done(plan, await _create(plan, desired, managed, world))
        case Plan(Action.CHANGE | Action.ADOPT, Desired() as desired, Live() as live):
            done = await _change(plan, desired, live, managed, world)
        case Plan(Action.DELETE, _, Live() as live):
            await _delete("secret.delete", live, "all its sources are gone", managed, world)
            done = Done(plan, None)
        case _:
            done = Done(plan, plan.live)
    if plan.retire is not None:
        await _delete("secret.retire", plan.retire, "target.name is another one", managed, world)
    _remember(done, managed, world)
    return done


def _remember(done: Done, managed: Managed, world: World) -> None:
    """What stands now, so that the next change can be told key by key."""
    desired = done.plan.desired
    world.memory(managed.ref, managed.uid).marks = marks_of(desired.data, world.mark_key) if desired is not None else None


async def _create(plan: Plan, desired: Desired, managed: Managed, world: World) -> Live:
    async with _effect(_entry(plan, desired, managed, world), world) as result:
        live = await world.writer.create(desired, timestamp(world.clock.now()))
        result.details = {"target_uid": live.uid}
    world.telemetry.wrote("secret-create")
    return live


async def _change(plan: Plan, desired: Desired, live: Live, managed: Managed, world: World) -> Done:
    changed_at = _last_change(desired, live, managed) or timestamp(world.clock.now())
    async with _effect(_entry(plan, desired, managed, world), world) as result:
        after: Live | None
        try:
            after = await world.writer.apply(desired, live, changed_at)
        except Unprocessable as refusal:
            # With another cause beside it, a Secret of the new type would be refused as well, and the old one be lost.
            if refusal.causes != ("type",):
                raise
            result.reason, after = TYPE_CHANGE, None
        else:
            after = await _stripped(plan, desired, after, managed, world)
    if after is None:
        return Done(plan, await _replace(desired, live, managed, world), is_type_change=True)
    return Done(plan, after)


async def _stripped(plan: Plan, desired: Desired, after: Live, managed: Managed, world: World) -> Live:
    """What we once wrote and no longer want goes; the intent of the change named it."""
    world.telemetry.wrote("secret-apply")
    left = plan.once_ours.standing_in(after)
    if left or (desired.owner is None and any(o.uid == managed.uid for o in after.owners)):
        keep = None if desired.owner is not None else {o.uid for o in after.owners if o.uid != managed.uid}
        after = await world.writer.strip(after, left, keep)
        world.telemetry.wrote("secret-strip")
    return after


def _last_change(desired: Desired, live: Live, managed: Managed) -> str:
    """When data that stay the same last changed: by our status, which others cannot edit, else by the mark; '' where they change."""
    if managed.status.revision == desired.revision and managed.status.last_change:
        return managed.status.last_change
    return live.annotations.get(CHANGED_AT_ANNOTATION, "") if live.revision == desired.revision else ""


async def _replace(desired: Desired, live: Live, managed: Managed, world: World) -> Live:
    """A Secret's type cannot be changed: it is deleted and made anew, unless others keep data in it."""
    foreign = live.standing_keys - live.fields_of(desired.manager).data - set(managed.status.target.keys if managed.status.target else ())
    if foreign or live.is_cut:
        raise TargetNotOwned(
            f"spec.target.template.type cannot become {desired.type}: the Secret {live.ref.name} holds keys of others "
            f"({', '.join(sorted(foreign)[:5]) or 'too many to look through'}); choose another target.name"
        )
    if not await world.objects.is_alive(managed.ref, managed.uid):
        raise Vanished(f"{managed.ref} is being deleted")
    await world.writer.rehearse(desired)
    async with _effect(replaced(desired, live, managed), world) as result:
        # Whoever loses the lease in between leaves no Secret there until the next leader comes to it. It cannot be shut out,
        # since the API server has no "replace": but no delete begins with too little of the lease left for the create.
        world.fence.check(for_s=MARGIN_S)
        await world.writer.delete(live)
        created = await world.writer.create(desired, timestamp(world.clock.now()))
        result.details = {"made_uid": created.uid}
    world.telemetry.wrote("secret-replace")
    return created


async def _delete(action: str, live: Live, cause: str, managed: Managed, world: World) -> None:
    async with _effect(taken_away(action, live, managed, cause), world):
        await world.writer.delete(live)
    world.telemetry.wrote("secret-delete")


def _effect(entry: AuditEntry, world: World) -> AbstractAsyncContextManager[Result]:
    """No intent without the right to act; the writer itself asks again right before it sends."""
    world.fence.check()
    return audited(world.audit, entry)


def _entry(plan: Plan, desired: Desired, managed: Managed, world: World) -> AuditEntry:
    before = world.memory(managed.ref, managed.uid).marks
    return written(plan, desired, managed, before, marks_of(desired.data, world.mark_key))
