"""The lease that says which replica works, and the times that hold for it."""

import math
from dataclasses import dataclass

MARGIN_S = 2.0
"""With less of the lease left no effect begins: what is sent has to arrive while the lease holds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """``duration_s``: how long a renewal holds. Without one for ``renew_deadline_s`` a holder gives up by itself.

    ``retry_s``: between two renewals of a holder, and two looks of who waits. Raises ValueError where they contradict.
    """

    duration_s: float = 10.0
    renew_deadline_s: float = 7.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        if self.retry_s >= self.renew_deadline_s:
            raise ValueError("the retry period must be shorter than the renew deadline")
        if self.renew_deadline_s + MARGIN_S > self.duration_s:
            raise ValueError(f"the renew deadline must end at least {MARGIN_S:g}s before the lease does")

    @property
    def told_s(self) -> int:
        """The duration as the record can say it: in whole seconds, and never shorter than it is."""
        return math.ceil(self.duration_s)


@dataclass(frozen=True, slots=True)
class Lease:
    """The record as the API server holds it; as it is made here, it is none yet.

    ``renewed`` is the holder's own wall clock and nothing but a text: it is never compared with another clock.
    ``transitions`` grows with each new term, and is the term's epoch. ``audit_head`` is the end of the audit trail when it was
    written, as NUMBER:HASH; '' where there is none.
    """

    holder: str = ""
    renewed: str = ""
    acquired: str = ""
    transitions: int = 0
    duration_s: float = 0.0
    resource_version: str = ""
    audit_head: str = ""
