"""When a value is read again, and whether an object needs anything at all."""

import hashlib
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from keyturn.decide.diff import is_as_written, owns
from keyturn.model.objects import Managed
from keyturn.model.order import Order, RefreshPolicy
from keyturn.model.plan import Live

READ_IN_KEYS: Final = 20
"""A read costs both sides about as much as so many keys in a list do: a millisecond, and a twentieth of one."""

ASSUMED_SIZE: Final = 100
"""How many secrets a survey is taken to go over before there was one: for a handful of values none is tried."""

FULL_READ_S: Final = 6 * 3600.0
"""After so long a value is read whatever surveys say: nothing that a list gets wrong may last."""

_PAUSE_S: Final = 60.0
_LONGEST_PAUSE_S: Final = 3600.0


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


AGAIN_S = 5.0
"""So soon a provider that is away is asked again, so that its return is seen within any longer interval; its guard spares it."""


def next_pass(identity: str, interval_s: float, now_s: float, *, is_away: bool) -> float:
    """When what is wanted in that interval is looked after next: in its slot, or sooner where the provider did not answer."""
    slot = next_slot(identity, interval_s, now_s)
    return min(slot, now_s + AGAIN_S) if is_away else slot


class Mode(Enum):
    """How a pass learns what changed: it reads all that is wanted, or asks for fingerprints first and reads what moved."""

    READ = "read"
    SURVEY = "survey"


@dataclass(frozen=True, slots=True)
class Surveys:
    """What is known of a provider's surveys.

    ``size`` and ``calls`` are those of the last one that succeeded; ``failures`` came in a row after it, and
    before ``not_before_s`` (Unix seconds) none is tried again.
    """

    size: int = ASSUMED_SIZE
    calls: int = 1
    failures: int = 0
    not_before_s: float = 0.0

    def succeed(self, size: int, calls: int) -> "Surveys":
        """After one that went over so many secrets by so many calls."""
        return Surveys(size, calls)

    def fail(self, now_s: float) -> "Surveys":
        """After one that was refused, or gave nothing: a right may be given later, a server comes back sooner."""
        pause_s = min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** min(self.failures, 10))
        return replace(self, failures=self.failures + 1, not_before_s=now_s + pause_s)


def is_surveyable(fingerprint: str, read_at_s: float, now_s: float, full_read_s: float) -> bool:
    """Says that a survey may vouch for a value with this fingerprint that was read then."""
    return bool(fingerprint) and 0 <= now_s - read_at_s < full_read_s


def cheapest(wanted: int, known: Surveys, now_s: float) -> Mode:
    """The cheaper way to look after so many values that a survey may vouch for."""
    if now_s < known.not_before_s:
        return Mode.READ
    return Mode.SURVEY if known.calls + known.size / READ_IN_KEYS < wanted else Mode.READ
