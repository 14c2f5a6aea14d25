"""When a value is read again, and whether an object needs anything at all."""

import hashlib
from enum import Enum

from keyturn.decide.diff import is_as_written, owns
from keyturn.model.objects import Managed
from keyturn.model.order import Order, RefreshPolicy
from keyturn.model.plan import Live


class Need(Enum):
    """What an object needs now."""

    NOTHING = "nothing"
    STATUS = "status"
    SYNC = "sync"


def need_of(managed: Managed, order: Order, live: Live | None, *, is_dirty: bool, controller_class: str = "") -> Need:
    """What an object needs, told without a request. ``is_dirty``: something that it draws on may have changed."""
    if order.refresh is RefreshPolicy.CREATED_ONCE and live is not None and not live.deleting and owns(managed, live):
        return Need.NOTHING if _is_observed(managed) and managed.status.is_ready and managed.is_synced else Need.STATUS
    if is_dirty or not _is_observed(managed) or not managed.status.is_ready:
        return Need.SYNC
    return Need.NOTHING if is_as_written(managed, order, live, controller_class) else Need.SYNC


def _is_observed(managed: Managed) -> bool:
    status = managed.status
    return (
        status.generation == managed.generation
        and status.handled_reconcile == managed.reconcile_token
        and status.condition("Suspended") is None
    )


def refreshes(order: Order) -> bool:
    """Whether the order is read again by itself."""
    return order.refresh is RefreshPolicy.PERIODIC and order.interval_s > 0


def next_slot(identity: str, interval_s: float, now_s: float) -> float:
    """The next wall-clock time (Unix seconds) in the identity's slot of the interval.

    Slots hang on the clock and not on the process's start, so that a restart neither bunches
    refreshes nor puts them off.
    """
    offset = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64 * interval_s
    passed = (now_s - offset) // interval_s
    slot = offset + (passed + 1) * interval_s
    # Where floats rounded, that may be now itself.
    return slot if slot > now_s else slot + interval_s
