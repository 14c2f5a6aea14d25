"""What the audit trail is told: an intent before each outside effect, and its settlement after; and the rows that come of it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """How an intent ended, or what was decided. ``UNKNOWN`` = the answer was lost, so it may or may not have happened."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"
    DENIED = "denied"


class AuditMode(StrEnum):
    """What becomes of changes while the trail cannot be written. ``LOG`` keeps no trail but lines of the log."""

    REQUIRED = "required"
    BEST_EFFORT = "best-effort"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One intent. It names things and never holds a value.

    ``subject`` is the object on whose behalf it happens, ``target`` what it happens to,
    ``keys`` the names of the keys concerned. ``attempt`` joins what one turn of an object did. ``repairs``: it brings back what was
    there, and was audited then.
    """

    action: str
    subject: str
    target: str
    trigger: str = ""
    keys: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    attempt: str = ""
    repairs: bool = False


ACCEPTED: Final = "audit.acknowledge-loss"
"""The action of a row by which somebody accepts that those up to its target are lost."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of an effect only after it: ``details`` beside those of the intent, and ``keys`` in place of its, where given."""

    details: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] | None = None

    def of(self, entry: AuditEntry) -> AuditEntry:
        """The entry as its settlement tells it."""
        return replace(entry, keys=entry.keys if self.keys is None else self.keys, details={**entry.details, **self.details})


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of the trail: an intent, the settlement of the one that ``settles`` names, or a record that stands for itself.

    An intent alone has no ``outcome``.

    ``event`` is its own id, which no other row has; ``actor`` is who acts, ``subject`` on whose behalf.
    """

    event: str
    at: datetime
    actor: str
    action: str
    subject: str
    target: str
    trigger: str = ""
    keys: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    attempt: str = ""
    settles: str = ""
    outcome: str = ""
    reason: str = ""

    @classmethod
    def of(cls, entry: AuditEntry, event: str, at: datetime, actor: str, *ending: str) -> "AuditRow":
        """The row of an entry; ``ending`` is what it settles, the outcome and the reason, where there are any."""
        e = entry
        return cls(event, at, actor, e.action, e.subject, e.target, e.trigger, e.keys, e.details, e.attempt, *ending)

    @property
    def entry(self) -> AuditEntry:
        """What it was made of."""
        return AuditEntry(self.action, self.subject, self.target, self.trigger, self.keys, self.details, self.attempt)


Fact = Callable[[AuditEntry, str], AuditRow]
"""Makes the row of what was done, by whoever does it; with this id, or '' for a new one."""

OPEN: Final = "open"
"""Instead of an outcome: what nothing settles yet."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which rows somebody asks for: those that all of this holds for, '' and None asking for nothing.

    ``object`` is the subject or the target, with its kind or without. Rows that settle others are told with those, unless it is
    they that are asked for: by ``outcome`` or ``reason``, or as ``every_row``.
    """

    object: str = ""
    namespace: str = ""
    actor: str = ""
    action: str = ""
    attempt: str = ""
    key: str = ""
    outcome: str = ""
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    every_row: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """A time in which one alone acts in an ``office``. The ``epoch`` is the database's count of them.

    ``settled_to``: of the rows up to this one no intent of the office is open; the database says so, and whoever writes there.
    """

    office: str
    epoch: int
    settled_to: int = 0


@dataclass(frozen=True, slots=True)
class Chained:
    """A row in its place in the chain: ``texts`` are its columns. ``hash`` covers ``entry``, the canonical bytes, and all rows before.

    ``seal`` is there on the last row of what was written at once; ``seal_key`` is the master key that it was made under.
    """

    seq: int
    texts: Mapping[str, str]
    entry: bytes
    hash: bytes
    seal: bytes | None = None
    seal_key: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain: its last row's number and hash. Whoever keeps one can tell later whether rows were taken away."""

    seq: int
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> "Head | None":
        """From the text of one; None where it is none."""
        found = _HEAD.fullmatch(text)
        return cls(int(found[1]), bytes.fromhex(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash.hex()}"


_HEAD: Final = re.compile("([0-9]{1,18}):([0-9a-f]{64})")
