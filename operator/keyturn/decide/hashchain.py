"""The chain of the audit trail: how each row hangs on all before it, and what is found where somebody changed one.

    hash = SHA-256(0x01 ‖ hash of the row before ‖ entry)

Whoever has the rows can follow it, and needs no secret. A seal, which needs a key, stands on the last row of each batch: whoever has
the database alone could else make a new chain from any row on.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keyturn.decide.auditrow import canonical, texts_of
from keyturn.model.audit import AuditRow, Chained, Head
from keyturn.model.sensitive import Sensitive

START: Final = Head(0, bytes(32))
"""Before the first row."""
_LINK: Final = b"\x01"
_SEAL: Final = b"\x02"

Seal = Callable[[str], Sensitive | None]
"""The key of seals under the master key of this id; None where it is not at hand."""


@dataclass(frozen=True, slots=True)
class Break:
    """What is wrong, and with which row: the first that cannot be as it was written."""

    seq: int
    what: str

    def __str__(self) -> str:
        return f"row {self.seq}: {self.what}"


def linked(before: bytes, entry: bytes) -> bytes:
    """The hash of a row, from the one before it and its own bytes."""
    return hashlib.sha256(_LINK + before + entry).digest()


def sealed(key: Sensitive, head: Head) -> bytes:
    """What nobody without the key can make for this end of the chain."""
    return hmac.digest(key.reveal(), _SEAL + head.seq.to_bytes(8, "big") + head.hash, "sha256")


def chained(rows: Iterable[AuditRow], head: Head, key: Sensitive | None, key_id: str) -> list[Chained]:
    """The rows as they follow this head, the last of them under a seal."""
    made: list[Chained] = []
    seq, before = head.seq, head.hash
    for each in rows:
        texts, seq = texts_of(each), seq + 1
        entry = canonical(seq, texts)
        before = linked(before, entry)
        made.append(Chained(seq, texts, entry, before))
    if made and key is not None:
        last = made[-1]
        made[-1] = Chained(last.seq, last.texts, last.entry, last.hash, sealed(key, Head(last.seq, last.hash)), key_id)
    return made


@dataclass(slots=True)
class Walk:
    """Follows the chain row by row. ``key_of`` has the keys of seals that are at hand; ``sealed_to`` is the last row under a good one.

    ``anchor`` is an end that was kept elsewhere, which has to be on the way. ``unchecked`` counts seals whose key is not at hand.
    """

    key_of: Seal
    anchor: Head | None = None
    at: Head = START
    sealed_to: int = 0
    unchecked: int = 0

    def follow(self, rows: Sequence[Chained]) -> Break | None:
        """What is wrong with the first row that is not as it was written; None while all are."""
        return next(self._breaks(rows), None)

    def end(self) -> Break | None:
        """What is wrong with the end of what was followed."""
        if self.anchor is not None and self.at.seq < self.anchor.seq:
            return Break(self.at.seq + 1, f"is missing, with all up to row {self.anchor.seq} that the anchor knows")
        return None

    def _breaks(self, rows: Sequence[Chained]) -> Iterator[Break]:
        for found in rows:
            if found.seq != self.at.seq + 1:
                yield Break(self.at.seq + 1, "is missing" if found.seq > self.at.seq + 1 else "is there twice")
            if canonical(found.seq, found.texts) != found.entry:
                yield Break(found.seq, "its columns are not what was written")
            if linked(self.at.hash, found.entry) != found.hash:
                yield Break(found.seq, "it does not follow the row before it: one of them was changed, put in or taken away")
            self.at = Head(found.seq, found.hash)
            if self.anchor is not None and self.anchor.seq == found.seq and self.anchor != self.at:
                yield Break(found.seq, "it is not the one that the anchor was taken of: the chain was made anew")
            if found.seal is not None and (problem := self._look_at_seal(found)):
                yield problem

    def _look_at_seal(self, found: Chained) -> Break | None:
        key = self.key_of(found.seal_key)
        if key is None:
            self.unchecked += 1
            return None
        if not hmac.compare_digest(sealed(key, self.at), found.seal or b""):
            return Break(found.seq, "its seal is not ours: rows were written without the key")
        self.sealed_to = found.seq
        return None
