"""What the audit trail is told: an intent before each outside effect, and its settlement after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How an intent ended. ``UNKNOWN`` = the answer was lost, so it may or may not have happened."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One intent. It names things and never holds a value.

    ``subject`` is the object on whose behalf it happens, ``target`` what it happens to,
    ``keys`` the names of the keys concerned.
    """

    action: str
    subject: str
    target: str
    trigger: str = ""
    keys: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
