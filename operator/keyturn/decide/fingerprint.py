"""Revisions: which data a Secret holds, told so that nobody can test a guess.

A revision is an HMAC over the data under a key of its own, and carries that key's id, so that it
stays the same after a restart, with a new database and with a new master key.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from keyturn.model.sensitive import Sensitive

KEY_BYTES = 32
_PURPOSE = b"keyturn.dev/revision/v1"


def _framed(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Each part with its length before it: joined by a separator, {'a': 'b=c'} and {'a=b': 'c'} would be one."""
    for part in parts:
        yield len(part).to_bytes(8, "big")
        yield part


@dataclass(frozen=True, slots=True)
class FingerprintKey:
    """The key under which revisions are taken. ``id`` names it and gives nothing of it away."""

    id: str
    secret: Sensitive

    @classmethod
    def of(cls, secret: Sensitive) -> "FingerprintKey":
        """Raises `ValueError` where it is not `KEY_BYTES` long."""
        if len(secret) != KEY_BYTES:
            message = f"a fingerprint key has {KEY_BYTES} bytes, this one has {len(secret)}"
            raise ValueError(message)
        return cls(hmac.new(secret.reveal(), b"keyturn.dev/key-id", hashlib.sha256).hexdigest()[:8], secret)

    def revision(self, data: Mapping[str, Sensitive]) -> str:
        """The revision of a Secret's data; 96 bits, so that no two of an object's values meet by chance."""
        mac = hmac.new(self.secret.reveal(), _PURPOSE, hashlib.sha256)
        for part in _framed(piece for key in sorted(data) for piece in (key.encode(), data[key].reveal())):
            mac.update(part)
        return f"{self.id}-{mac.hexdigest()[:24]}"


def key_id(revision: str) -> str:
    """The id of the key that a revision was taken under; '' for what is no revision."""
    head, dash, _ = revision.partition("-")
    return head if dash else ""


def is_key_changed(revisions: Collection[str], current: str, *, share: float = 0.2, least: int = 10) -> bool:
    """Whether so many Secrets carry another key's id that the loaded key must be the wrong one."""
    others = sum(1 for r in revisions if key_id(r) not in ("", current))
    return others >= least and others > share * len(revisions)
