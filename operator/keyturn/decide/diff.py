"""From the Secret as it stands to the one as ordered: the one step that is missing, or why it must not be taken."""

from dataclasses import dataclass

from keyturn.decide.render import manager_of, marks, owner_of
from keyturn.model.errors import Pending, TargetConflict, TargetNotOwned
from keyturn.model.ids import CHANGED_AT_ANNOTATION, REVISION_ANNOTATION
from keyturn.model.objects import Managed
from keyturn.model.order import Order, RefreshPolicy
from keyturn.model.plan import Action, Desired, Leftover, Live, Plan


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of the target. ``rival_alive``: the ManagedSecret that its mark names, if not ours, exists.

    ``former`` is the Secret of a target name that the spec no longer has.
    """

    live: Live | None = None
    rival_alive: bool = False
    former: Live | None = None


def diff(managed: Managed, order: Order, desired: Desired, sight: Sight) -> Plan:
    """The step to take. Raises `TargetNotOwned` or `TargetConflict` where the Secret is not ours to change."""
    live, former = sight.live, _retired(managed, sight.former)
    if live is None:
        if not desired.data:
            return Plan(Action.NOTHING)
        again = managed.status.target is not None and managed.status.target.name == desired.ref.name
        return Plan(Action.RECREATE if again else Action.CREATE, desired, needs_owner_alive=again, is_drift=again, retire=former)
    if live.deleting:
        raise Pending(f"the Secret {live.ref.name} is being deleted; waiting until its finalizers are done")
    if not owns(managed, live, rival_alive=sight.rival_alive):
        if not desired.data:
            return Plan(Action.NOTHING)
        _check_adoption(order, live, rival_alive=sight.rival_alive)
        # What an earlier ManagedSecret of our name left in it goes too; the keys of others stay.
        return Plan(Action.ADOPT, desired, live, _once_ours(managed, live, desired), needs_owner_alive=True, retire=former)
    if not desired.data:
        return Plan(Action.DELETE, None, live)
    once_ours = _once_ours(managed, live, desired)
    unowned = desired.owner is not None and all(o.uid != desired.owner.uid for o in live.owners)
    as_ordered = not once_ours and not unowned and not _extra_owner(managed, desired, live) and stands(desired, live)
    if as_ordered:
        in_doubt = not _has_its_type(managed, desired, live)
        return Plan(Action.CHANGE if in_doubt else Action.NOTHING, desired, live, once_ours, if_type_differs=in_doubt, retire=former)
    is_drift = managed.status.generation == managed.generation and managed.status.revision == desired.revision
    return Plan(
        Action.CHANGE,
        desired,
        live,
        once_ours,
        is_drift=is_drift,
        needs_owner_alive=unowned,
        retire=former,
        taken_by=_taken_by(managed, desired, live) if is_drift else {},
    )


def owns(managed: Managed, live: Live, *, rival_alive: bool = False) -> bool:
    """Whether the Secret is ours: the incarnation that status names, or our mark with our fields or reference on it.

    Never by the label alone, which anyone can set. The mark of another living ManagedSecret wins over all.
    """
    name = managed.ref.name
    if live.marked_owner not in ("", name) and rival_alive:
        return False
    target = managed.status.target
    if target is not None and target.uid == live.uid:
        return True
    ours_stands = manager_of(name) in live.managers or any(o.uid == managed.uid for o in live.owners)
    return live.marked_owner == name and ours_stands


def stands(desired: Desired, live: Live) -> bool:
    """Whether every field of ours is there, with our value, and held by us."""
    held = live.fields_of(desired.manager)
    return (
        live.revision == desired.revision
        and held.data == desired.data.keys()
        and held.labels == desired.labels.keys()
        and held.annotations == desired.annotations.keys() | {CHANGED_AT_ANNOTATION}
        and desired.labels.items() <= live.labels.items()
        and desired.annotations.items() <= live.annotations.items()
    )


def is_as_written(managed: Managed, order: Order, live: Live | None, controller_class: str = "") -> bool:
    """Whether the Secret is as the status says it was written: told from metadata alone, without a fetch (cluster rule 15)."""
    status, target = managed.status, managed.status.target
    if live is None or target is None or target.uid != live.uid or live.deleting or live.ref.name != order.target.name:
        return False
    if order.refresh is RefreshPolicy.CREATED_ONCE:
        return True
    labels, annotations = marks(managed, order, controller_class)
    annotations[REVISION_ANNOTATION] = status.revision
    held, owner = live.fields_of(manager_of(managed.ref.name)), owner_of(managed, order)
    return (
        len(held.data) == target.key_count
        and held.data >= set(target.keys)
        and held.labels == labels.keys()
        and held.annotations == annotations.keys() | {CHANGED_AT_ANNOTATION}
        and labels.items() <= live.labels.items()
        and annotations.items() <= live.annotations.items()
        and any(o.uid == managed.uid for o in live.owners) == (owner is not None)
    )


def _retired(managed: Managed, former: Live | None) -> Live | None:
    """The former target, if it is the one we wrote and goes with its owner; an orphan stays."""
    target = managed.status.target
    if former is None or target is None or former.uid != target.uid or former.deleting:
        return None
    return former if any(o.uid == managed.uid for o in former.owners) else None


def _has_its_type(managed: Managed, desired: Desired, live: Live) -> bool:
    """Whether the type is known to be as ordered. It is not in metadata, so that in doubt it is asked for.

    After a change of the spec it is in doubt, also while that fails and is tried again. A Secret that status does not name
    and that carries our reference was made a moment ago, and its status was lost: by the spec of now, if that is the one
    which status knows, or the first.
    """
    status = managed.status
    if status.target is None or status.target.uid != live.uid:
        return desired.owner is not None and managed.generation == max(status.generation, 1)
    return status.generation == managed.generation and status.is_ready


def _taken_by(managed: Managed, desired: Desired, live: Live) -> dict[str, str]:
    """Each field of ours that another hand changed or took away, and whose that was, as far as managedFields tell."""
    held = live.fields_of(desired.manager)
    taken = {key: next(iter(live.holders(key, desired.manager)), "somebody") for key in desired.data.keys() - held.data}
    for word, ours, stands_as in (("label", desired.labels, live.labels), ("annotation", desired.annotations, live.annotations)):
        taken |= {f"{word} {name}": "somebody" for name, value in ours.items() if stands_as.get(name) != value}
    if CHANGED_AT_ANNOTATION not in held.annotations:
        taken[f"annotation {CHANGED_AT_ANNOTATION}"] = "somebody"
    left = _once_ours(managed, live, desired)
    taken |= {f"added {name}": "somebody" for name in left.data | left.labels | left.annotations}
    if (desired.owner is not None) != any(o.uid == managed.uid for o in live.owners):
        taken["ownerReference"] = "somebody"
    return taken


def _extra_owner(managed: Managed, desired: Desired, live: Live) -> bool:
    return desired.owner is None and any(o.uid == managed.uid for o in live.owners)


def _once_ours(managed: Managed, live: Live, desired: Desired) -> Leftover:
    """What we wrote before, by status or by managedFields, and is no longer wanted.

    Whether a key of it still stands, only the answer to the apply tells: managedFields that somebody stripped say nothing.
    """
    held, target = live.fields_of(desired.manager), managed.status.target
    same = target is not None and target.uid == live.uid
    keys = held.data | set(target.keys if target and same else ())
    labels = held.labels | set(target.labels if target and same else ())
    annotations = held.annotations | set(target.annotations if target and same else ())
    return Leftover(
        frozenset(keys - desired.data.keys()),
        live.may_have(labels - desired.labels.keys(), live.labels.keys()),
        live.may_have(annotations - desired.annotations.keys() - {CHANGED_AT_ANNOTATION}, live.annotations.keys()),
    )


def _check_adoption(order: Order, live: Live, *, rival_alive: bool) -> None:
    name = live.ref.name
    if rival_alive:
        raise TargetConflict(f"the Secret {name} belongs to the ManagedSecret {live.marked_owner}; give each its own target.name")
    controller = next((o for o in live.owners if o.controller), None)
    if controller is not None:
        raise TargetNotOwned(
            f"the Secret {name} is controlled by {controller.kind} {controller.name}; let it release it first, or change target.name"
        )
    if not order.target.adopt:
        raise TargetNotOwned(
            f"a Secret {name} is there already and is not ours; delete it, choose another target.name, or set target.adopt: true"
        )
