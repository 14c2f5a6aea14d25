"""Numbers of the audit trail, for whoever watches the operator."""

from typing import Protocol

from keyturn.flow.audit_counts import AuditCounts
from keyturn.model import metrics_audit as told
from keyturn.model.audit import Head, Outcome
from keyturn.model.status import REASONS
from keyturn.ports import Clock
from keyturn.telemetry import Metrics

OTHER = "Other"
_TOLD = frozenset(REASONS) | {"Conflict", "Cancelled"}


class Trail(Protocol):
    """What is asked of it, in other threads than its own."""

    counts: AuditCounts

    @property
    def is_away(self) -> bool:
        """Whether it takes nothing, or was not looked at yet."""

    @property
    def lag(self) -> int:
        """Rows that are not written yet."""

    @property
    def oldest_s(self) -> float:
        """How long the oldest of them has waited."""

    @property
    def head(self) -> Head | None:
        """Its end, where one is known; a term begins without."""


def watch_audit(metrics: Metrics, trail: Trail, clock: Clock) -> None:
    """Shows them, and counts from now on what ends otherwise than well."""

    def ended(action: str, outcome: Outcome, reason: str) -> None:
        if outcome is not Outcome.SUCCESS:
            metrics.failed(action, str(outcome), reason if reason in _TOLD else OTHER)

    last = 0.0

    def head_seq() -> float:
        nonlocal last
        if (head := trail.head) is not None:
            last = float(head.seq)
        return last

    def signed_s() -> float:
        signed_at = counts.signed_at()
        return max(0.0, (clock.now() - signed_at).total_seconds()) if signed_at else 0.0

    counts = trail.counts
    counts.ended = ended
    metrics.watch(told.AUDIT_UP, lambda: float(not trail.is_away))
    metrics.watch(told.AUDIT_WAITING, lambda: float(trail.lag))
    metrics.watch(told.AUDIT_OLDEST, lambda: trail.oldest_s)
    metrics.watch(told.AUDIT_HEAD, head_seq)
    metrics.watch(told.AUDIT_FAILURES, lambda: float(counts.failures))
    metrics.watch(told.AUDIT_REFUSED, lambda: float(counts.refused))
    metrics.watch(told.AUDIT_UNSIGNED, lambda: float(bool(counts.unsigned())))
    metrics.watch(told.AUDIT_SIGNED, signed_s)
    metrics.watch(told.AUDIT_SPOOL, lambda: float(counts.spooled()))
