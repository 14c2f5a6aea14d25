"""One turn of one object: what it needs now, done, as the status that says so. Raises what the steps raise."""

from keyturn.decide import summary
from keyturn.decide.conflict import LIMIT, is_contested
from keyturn.decide.refresh import Need, need_of, refreshes
from keyturn.flow.effects import Done
from keyturn.flow.steps import admit, open_shelf, wanted
from keyturn.flow.sync import sync
from keyturn.flow.tell import tell
from keyturn.flow.world import Memory, World
from keyturn.model.errors import Rejected, TargetConflict
from keyturn.model.ids import SecretRef
from keyturn.model.objects import Managed
from keyturn.model.order import Order, RefreshPolicy
from keyturn.model.plan import Live
from keyturn.model.status import Status


async def take_turn(managed: Managed, memory: Memory, world: World) -> Status:
    """Does the least that brings the object to what its spec orders; gives the status to write."""
    order = managed.order
    if isinstance(order, Rejected):
        raise order.with_traceback(None)
    if order.suspend:
        world.refresher.forget(managed.ref)
        return summary.suspended(managed, world.clock.now())
    live = await _standing(managed, order, memory, world)
    need = need_of(managed, order, live, is_dirty=memory.is_dirty, controller_class=world.controller_class)
    if need is Need.STATUS and live is not None:
        return summary.kept(managed, order, live, world.clock.now())
    if need is Need.NOTHING:
        _keep_wanting(managed, order, world)
        return managed.status
    return await _sync(managed, order, memory, world)


async def _standing(managed: Managed, order: Order, memory: Memory, world: World) -> Live | None:
    """The target as the watch has it. What is written once has to be found also without its label, else it would be overwritten."""
    target = SecretRef(managed.ref.namespace, order.target.name)
    live = world.reader.seen(target)
    if live is None and order.refresh is RefreshPolicy.CREATED_ONCE and (managed.is_synced or memory.must_look):
        return await world.reader.look(target)
    return live


def _keep_wanting(managed: Managed, order: Order, world: World) -> None:
    """An object that needs nothing is refreshed all the same: after a restart nobody else would say so."""
    if not refreshes(order):
        return
    _, sources = admit(managed, world)
    for source in sources.values():
        open_shelf(source, world)
    world.refresher.want(managed.ref, wanted(order, sources), order.interval_s)


async def _sync(managed: Managed, order: Order, memory: Memory, world: World) -> Status:
    _check_peace(managed, order, memory, world)
    # Taken before the sources are read: what becomes dirty meanwhile stays so for the next turn.
    was_dirty, memory.is_dirty = memory.is_dirty, False
    try:
        done = await sync(managed, world)
    except BaseException:
        memory.is_dirty |= was_dirty
        raise
    memory.note_success()
    tell(done, managed, memory, world)
    return _status_of(done, managed, order, world)


def _status_of(done: Done, managed: Managed, order: Order, world: World) -> Status:
    now, desired = world.clock.now(), done.plan.desired
    if isinstance(done.live, Live) and desired is not None:
        return summary.synced(managed, order, desired, done.live, now)
    gone = summary.removed(managed, now)
    if managed.status.is_ready:
        world.events.post(managed, "Warning", "SourceDeleted", gone.conditions[0].message)
    return gone


def _check_peace(managed: Managed, order: Order, memory: Memory, world: World) -> None:
    """Against another writer that does not give in, we pause instead of looping hot."""
    field = is_contested(memory.takes, world.clock.now(), window_s=world.patience.conflict_window_s)
    if field and not memory.is_dirty and managed.status.generation == managed.generation:
        raise TargetConflict(
            f"another writer changed {field} of Secret {order.target.name} {LIMIT} times in a row; stop it, or give each its own Secret"
        )
