"""What is counted of an audit trail's work, and of what it was told; read by whoever shows numbers, in other threads."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from keyturn.model.audit import Outcome

Ended: TypeAlias = Callable[[str, Outcome, str], None]
"""Is told of each settlement and record: action, outcome, reason."""


@dataclass(slots=True)
class AuditCounts:
    """Since the process began. ``refused``: rows that the database can never hold; ``failures``: times that it took nothing.

    ``unsigned`` says why there is no checkpoint of late, '' where there is; ``signed_at`` when the last one was made that we know of.
    ``spooled`` gives the bytes that wait in the spool.
    """

    refused: int = 0
    failures: int = 0
    ended: Ended = lambda *_: None
    unsigned: Callable[[], str] = lambda: ""
    signed_at: Callable[[], datetime | None] = lambda: None
    spooled: Callable[[], int] = lambda: 0
