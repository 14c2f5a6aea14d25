"""Checkpoints: ends of the audit trail under a signature, which anybody can check who has the public key."""

from dataclasses import dataclass
from datetime import datetime

from keyturn.model.audit import Head
from keyturn.model.errors import AuditUnavailable, KeyturnError


class AuditTruncated(AuditUnavailable):
    """The trail lacks a row that is known elsewhere to have been its end."""


class AuditTampered(KeyturnError):
    """The trail is not as it was written; the message names the first row that shows it."""


class AuditKeyLost(KeyturnError):
    """The trail has checkpoints, and the key that signed them is gone."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was signed. ``origin`` names the trail, ``previous`` is the SHA-256 of the text of the checkpoint before, b'' for the first.

    ``key`` is the id of the key that signed it, in hex. No two of a trail have one ``at``, and later ones have a later.
    """

    origin: str
    head: Head
    previous: bytes
    at: datetime
    key: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint and the signed note of it."""

    checkpoint: Checkpoint
    note: str


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A row of the table of checkpoints, as it lies there, whoever wrote it."""

    seq: int
    at: str
    key_id: str
    note: str
