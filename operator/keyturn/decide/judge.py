"""What follows from a failed sync: what is said, whether at all, and when to try again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.decide.conflict import WINDOW_S
from keyturn.decide.summary import CHECK_PERIOD_S
from keyturn.model.errors import (
    AuditUnavailable,
    Busy,
    ClusterConflict,
    ClusterError,
    Expired,
    FingerprintKeyChanged,
    Forbidden,
    KeyturnError,
    NamespaceTerminating,
    ObjectGone,
    ProviderError,
    ProviderNotFound,
    Unprocessable,
    Unread,
    Vanished,
)
from keyturn.model.objects import Managed
from keyturn.model.order import Order, RefreshPolicy
from keyturn.model.status import DENIALS, OUTAGES, REASONS

DENIAL_GRACE_S = 600.0
"""Unbroken denial for so long means that a person must act: IAM changes take minutes to arrive."""

ARRIVAL_GRACE_S = 1.0

BUSY_MAX_S = 30.0
"""The longest wait for an API server that is away: everybody waits for it, and nobody sees why."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``reason`` '' = say nothing. ``delay_s`` None = an event or a refresh wakes the object."""

    reason: str
    message: str
    delay_s: float | None
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What the running process remembers of an object between two syncs.

    ``last_good``: when its sources were last read well; ``failing_since``: the first failure of the
    unbroken run with the present reason; ``attempts``: failures in a row.
    """

    last_good: datetime
    failing_since: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Patience:
    """Settings, in seconds: how old a value may get before it is Stale, at least; how long a denial may last
    before it is Stalled; how often a provider is checked; how long another writer's edits are remembered.
    """

    stale_floor_s: float = 300.0
    denial_grace_s: float = DENIAL_GRACE_S
    check_period_s: float = CHECK_PERIOD_S
    conflict_window_s: float = WINDOW_S


def judge(
    error: KeyturnError, managed: Managed, *, secret_stands: bool, record: Record, now: datetime, entropy: float, patience: Patience
) -> Judgement:
    """The consequences of ``error``. ``entropy`` in [0, 1) spreads the retries."""
    match error:
        case NamespaceTerminating() | Vanished():
            return Judgement("", str(error), None)
        case Unprocessable() if is_moved(error):
            return Judgement("", str(error), 0.0 if record.attempts <= 1 else delay_s("Progressing", record.attempts, entropy))
        case Unprocessable():
            return _judge_refusal(error, record, entropy)
        case Forbidden():
            return Judgement("Progressing", str(error), delay_s("ProviderUnavailable", record.attempts, entropy))
        case ClusterConflict() | ObjectGone() | Expired():
            return Judgement("", str(error), 0.0 if record.attempts <= 1 else delay_s("Progressing", record.attempts, entropy))
        case Busy() | ClusterError():
            wait_s = min(delay_s("Progressing", record.attempts, entropy) or 0.0, BUSY_MAX_S)
            return Judgement("", str(error), max(error.retry_after or 0.0, wait_s))
        case FingerprintKeyChanged():
            return Judgement("", str(error), 30.0)
        case ProviderNotFound() if managed.status.generation < 0 and record.attempts <= 1:
            # Applied in one go, the two arrive on two streams: the provider is a moment away.
            return Judgement("", str(error), ARRIVAL_GRACE_S)
        case Unread() if secret_stands and managed.status.generation == managed.generation and not managed.is_asked:
            delay = delay_s("AuditUnavailable", record.attempts, entropy)
            return _judge_outage("AuditUnavailable", str(error), managed, record, now, delay, patience)
        case AuditUnavailable():
            return Judgement("AuditUnavailable", str(error), delay_s("AuditUnavailable", record.attempts, entropy))
        case _:
            return _judge_source(error, managed, secret_stands=secret_stands, record=record, now=now, entropy=entropy, patience=patience)


def _judge_refusal(error: Unprocessable, record: Record, entropy: float) -> Judgement:
    """A policy can be changed and a value can be mended, both unseen by us; only a wrong spec waits for a person."""
    fields = [cause for cause in error.causes if cause != "type"] or list(error.causes)
    if not fields:
        message = "an admission policy refuses the Secret; change that, or the ManagedSecret"
        return Judgement("Progressing", message, delay_s("ProviderUnavailable", record.attempts, entropy))
    refused = f"the API server refuses the Secret because of {', '.join(fields)}"
    if all(field.startswith("data[") for field in fields):
        return Judgement("SourceInvalid", refused, delay_s("SourceInvalid", record.attempts, entropy))
    return Judgement("InvalidSpec", f"{refused}; correct what the spec makes of it", None, stalled=True)


def _judge_source(
    error: KeyturnError, managed: Managed, *, secret_stands: bool, record: Record, now: datetime, entropy: float, patience: Patience
) -> Judgement:
    reason, message = error.reason, text_of(error)
    delay = delay_s(reason, record.attempts, entropy)
    if isinstance(error, ProviderError) and error.retry_after is not None:
        # On top of the pause: all who were told of it would come back in one moment.
        delay = error.retry_after + (delay or 0.0)
    if reason in DENIALS:
        denied_s = (now - record.failing_since).total_seconds()
        return Judgement(reason, message, delay, stalled=denied_s >= patience.denial_grace_s or _was_stalled(managed))
    if reason in OUTAGES and secret_stands and managed.status.generation == managed.generation:
        return _judge_outage(reason, message, managed, record, now, delay, patience)
    return Judgement(reason, message, delay, stalled=REASONS[reason].polarity == "Stalled")


def is_moved(error: KeyturnError) -> bool:
    """Whether a write met another state than the one it was planned for, so that only a look helps (cluster rule 2)."""
    return isinstance(error, ClusterConflict) or (isinstance(error, Unprocessable) and "metadata.uid" in error.causes)


def text_of(error: KeyturnError) -> str:
    """What a condition may say: without the name of the one call that failed, else each failure would be a write."""
    request = f" (request {error.request_id})" if isinstance(error, ProviderError) and error.request_id else ""
    return str(error).removesuffix(request)


def _was_stalled(managed: Managed) -> bool:
    """Whether the denial was found to last already, maybe by a process before this one."""
    stalled = managed.status.condition("Stalled")
    return stalled is not None and stalled.reason in DENIALS and managed.status.generation == managed.generation


def _judge_outage(
    reason: str, message: str, managed: Managed, record: Record, now: datetime, delay: float | None, patience: Patience
) -> Judgement:
    """The last good Secret stays, and nothing is said until the value is too old to vouch for."""
    ready = managed.status.condition("Ready")
    stale = Judgement("Stale", f"not read from the provider for too long: {message}", delay)
    if ready is not None and ready.status != "True":
        return stale if ready.reason == "Stale" else Judgement(reason, message, delay)
    limit = stale_after_s(managed.order, patience) if isinstance(managed.order, Order) else None
    if limit is None:
        return Judgement("", message, delay)
    left = (record.last_good + timedelta(seconds=limit) - now).total_seconds()
    if left <= 0:
        return stale
    return Judgement("", message, left if delay is None else min(delay, left))


def stale_after_s(order: Order, patience: Patience) -> float | None:
    """The age in seconds at which a value is Stale; None where it never is."""
    if order.refresh is not RefreshPolicy.PERIODIC or order.interval_s == 0:
        return None
    return max(3 * order.interval_s, patience.stale_floor_s)


def delay_s(reason: str, attempts: int, entropy: float) -> float | None:
    """Doubling from the reason's first delay to its last, the upper half of it at random."""
    row = REASONS[reason]
    if row.retry_s is None:
        return None
    full: float = min(row.retry_s * 2.0 ** min(max(attempts - 1, 0), 20), row.retry_max_s)
    return full / 2 + full / 2 * entropy
