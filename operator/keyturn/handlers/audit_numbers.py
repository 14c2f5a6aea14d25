"""Numbers of the audit trail, for whoever watches the operator."""

from typing import Protocol

from keyturn.flow.audit_counts import AuditCounts
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
    def problem(self) -> str:
        """Why it takes nothing; '' while it does."""

    @property
    def lag(self) -> int:
        """Rows that are not written yet."""

    @property
    def oldest_s(self) -> float:
        """How long the oldest of them has waited."""

    @property
    def head(self) -> Head | None:
        """Its end, where one is known."""


def watch_audit(metrics: Metrics, trail: Trail, clock: Clock) -> None:
    """Shows them, and counts from now on what ends otherwise than well."""

    def ended(action: str, outcome: Outcome, reason: str) -> None:
        if outcome is not Outcome.SUCCESS:
            metrics.failed(action, str(outcome), reason if reason in _TOLD else OTHER)

    def head_seq() -> float:
        head = trail.head
        return float(head.seq) if head else 0.0

    def signed_s() -> float:
        signed_at = counts.signed_at()
        return max(0.0, (clock.now() - signed_at).total_seconds()) if signed_at else 0.0

    counts = trail.counts
    counts.ended = ended
    metrics.watch("keyturn_audit_up", "1 while the audit trail takes entries, else 0.", lambda: float(not trail.problem))
    metrics.watch("keyturn_audit_waiting_rows", "Rows of the audit trail that are not written yet.", lambda: float(trail.lag))
    metrics.watch("keyturn_audit_oldest_waiting_seconds", "How long the oldest of these rows has waited.", lambda: trail.oldest_s)
    metrics.watch("keyturn_audit_head_seq", "Number of the last row that this replica knows; 0 where it knows none.", head_seq)
    metrics.watch("keyturn_audit_failures_total", "Times that the audit trail's database took nothing.", lambda: float(counts.failures))
    refused = "Rows that the audit trail's database can never hold."
    metrics.watch("keyturn_audit_refused_rows_total", refused, lambda: float(counts.refused))
    unsigned = "1 while the end of the audit trail cannot be signed, or put where its database has no access, else 0."
    metrics.watch("keyturn_audit_unsigned", unsigned, lambda: float(bool(counts.unsigned())))
    signed = "Age of the newest checkpoint that this replica knows; 0 where it knows none."
    metrics.watch("keyturn_audit_checkpoint_age_seconds", signed, signed_s)
    metrics.watch("keyturn_audit_spool_bytes", "Bytes of the audit trail that wait in the spool.", lambda: float(counts.spooled()))
