"""The chain of the audit trail: how each row hangs on all before it, and what is found where somebody changed one.

    hash = SHA-256(0x01 ‖ hash of the row before ‖ entry)

Whoever has the rows can follow it, and needs no secret. A seal, which needs a key, stands on the last row of each batch and says where
that begins: whoever has the database alone could else make a new chain from any row on, or add rows. Pins are ends that were signed, as
checkpoints tell.
"""

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keyturn.decide.auditrow import canonical, row_of, texts_of
from keyturn.model.audit import ACCEPTED, AuditRow, Chained, Head
from keyturn.model.sensitive import Sensitive

START: Final = Head(0, bytes(32))
"""Before the first row."""
_LINK: Final = b"\x01"
_SEAL: Final = b"\x02"
_NUMBER: Final = 8
"""Bytes of a row's number."""

Seal = Callable[[str], Sensitive | None]
"""The key of seals under the master key of this id; None where it is not at hand."""


@dataclass(frozen=True, slots=True)
class Break:
    """What is wrong, and with which row: the first that cannot be as it was written."""

    seq: int
    what: str

    def __str__(self) -> str:
        return f"row {self.seq}: {self.what}"


@dataclass(frozen=True, slots=True)
class Pin:
    """An end of the chain that somebody signed, and when; ``whose`` says for people where that stands."""

    head: Head
    at: datetime
    whose: str


def covers(loss: AuditRow, lost: Head, signed: datetime) -> bool:
    """Whether who wrote this row accepted that this end, signed at that time, is lost."""
    end = Head.parse(loss.target)
    return end is not None and (end == lost or (end.seq >= lost.seq and loss.at >= signed))


def linked(before: bytes, entry: bytes) -> bytes:
    """The hash of a row, from the one before it and its own bytes."""
    return hashlib.sha256(_LINK + before + entry).digest()


def sealed(key: Sensitive, first: int, head: Head) -> bytes:
    """What nobody without the key can make for the rows from this one on up to this end of the chain."""
    begin = first.to_bytes(_NUMBER, "big")
    return begin + hmac.digest(key.reveal(), _SEAL + begin + head.seq.to_bytes(_NUMBER, "big") + head.hash, "sha256")


def is_sealed(key: Sensitive, head: Head, seal: bytes) -> bool:
    """Whether somebody with the key made this seal for rows up to this end."""
    return head.seq > 0 and hmac.compare_digest(sealed(key, int.from_bytes(seal[:_NUMBER], "big"), head), seal)


def is_under(key: Sensitive, row: Chained) -> bool:
    """Whether the row bears a seal by this key, of its own hash."""
    return is_sealed(key, Head(row.seq, row.hash), row.seal or b"")


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
        made[-1] = Chained(last.seq, last.texts, last.entry, last.hash, sealed(key, made[0].seq, Head(last.seq, last.hash)), key_id)
    return made


@dataclass(slots=True)
class Walk:
    """Follows the chain row by row. ``key_of`` has the keys of seals that are at hand; ``sealed_to`` is the last row under a good one.

    ``unsealed`` are stretches that no seal is over: written without the keys, by somebody who has the database.
    ``anchor`` is an end that was kept elsewhere, which has to be on the way. ``unchecked`` counts seals whose key is not at hand.
    ``pins`` have to be on the way too, unless somebody accepted that those rows are lost; ``signed_to`` is the last that was.
    """

    key_of: Seal
    anchor: Head | None = None
    at: Head = START
    sealed_to: int = 0
    unchecked: int = 0
    unsealed: list[tuple[int, int]] = field(default_factory=list)
    pins: Mapping[int, Sequence[Pin]] = field(default_factory=dict)
    signed_to: int = 0
    losses: list[tuple[int, AuditRow]] = field(default_factory=list)
    """Rows by which somebody accepted a loss, with their numbers."""
    _missed: list[Pin] = field(default_factory=list)
    _is_astray: bool = False
    _covered: int = field(init=False)

    def __post_init__(self) -> None:
        self._covered = self.at.seq

    def follow(self, rows: Sequence[Chained]) -> Break | None:
        """What is wrong with the first row that is not as it was written; None while all are."""
        return next(self._breaks(rows), None)

    def end(self) -> Break | None:
        """What is wrong with the end of what was followed."""
        if self.anchor is not None and self.lacks(self.anchor) and not self.accepted:
            return self._unanchored(self.anchor)
        beyond = [pin for seq, pins in self.pins.items() if seq > self.at.seq for pin in pins]
        for pin in sorted((*self._missed, *beyond), key=lambda pin: pin.head.seq):
            if not self.is_accepted(pin):
                return self._missing(pin)
        return None

    @property
    def bare(self) -> Sequence[tuple[int, int]]:
        """All stretches so far that no seal is over, the newest included."""
        return (*self.unsealed, (self._covered + 1, self.at.seq)) if self._covered < self.at.seq else tuple(self.unsealed)

    def skip(self, to: Head) -> None:
        """Goes on at an end whose rows are elsewhere."""
        self.at, self._covered = to, to.seq
        self._look_at_ends(to.seq)

    def wanted(self, after: int, to: int) -> frozenset[int]:
        """Numbers of rows of this stretch that `join` has to be told of, beside those under a seal and losses that were accepted."""
        anchored = (self.anchor.seq,) if self.anchor is not None else ()
        return frozenset(seq for seq in (*anchored, *self.pins) if after < seq <= to)

    def join(self, found: "Stretch") -> Break | None:
        """Goes on over a stretch that somebody else has followed; what is wrong with its first bad row."""
        return next(self._over(found), None)

    def _over(self, stretch: "Stretch") -> Iterator[Break]:
        if stretch.begin != self.at:
            yield Break(self.at.seq, "it changed while the trail was followed")
        for found in stretch.marks:
            self.at = Head(found.seq, found.hash)
            yield from self._arrived(found)
        self.at = stretch.end
        if stretch.problem is not None:
            yield stretch.problem

    def lacks(self, end: Pin | Head) -> bool:
        """Whether its row is not on the way that was followed, or is another one there."""
        if isinstance(end, Pin):
            return end.head.seq > self.at.seq or end in self._missed
        return end.seq > self.at.seq or (end == self.anchor and self._is_astray)

    @property
    def accepted(self) -> int:
        """The number of the signed row by which somebody accepted that the anchor's is lost, alone or with later ones; 0 for none.

        An anchor has no time. So of later ones that count alone where the row that took its place is signed itself.
        """
        return self._accepting(self.signed_to)

    def _accepting(self, to: int) -> int:
        lost = self.anchor or START
        for seq, row in self.losses:
            end = Head.parse(row.target)
            if end and seq <= to and (end == lost or seq <= lost.seq <= min(end.seq, self.signed_to)):
                return seq
        return 0

    def is_accepted(self, pin: Pin) -> bool:
        """Whether somebody accepted after it was signed that rows up to there are lost.

        Only what was signed itself counts of that: else whoever has the database could write it.
        """
        return any(covers(row, pin.head, pin.at) for seq, row in self.losses if seq <= self.signed_to)

    def _unanchored(self, anchor: Head) -> Break:
        seq = self._accepting(self.at.seq)
        unsigned = f"; row {seq} says that somebody accepted that, which counts where a checkpoint of it is signed by --key" if seq else ""
        if anchor.seq > self.at.seq:
            return Break(self.at.seq + 1, f"is missing, with all up to row {anchor.seq} that the anchor knows{unsigned}")
        return Break(anchor.seq, f"it is not the one that the anchor was taken of: the chain was made anew{unsigned}")

    def _missing(self, pin: Pin) -> Break:
        if pin.head.seq > self.at.seq:
            return Break(self.at.seq + 1, f"is missing, with all up to row {pin.head.seq} that {pin.whose} was signed of")
        return Break(pin.head.seq, f"it is not the one that {pin.whose} was signed of: the chain was made anew")

    def _breaks(self, rows: Sequence[Chained]) -> Iterator[Break]:
        for found in rows:
            if found.seq != self.at.seq + 1:
                yield Break(self.at.seq + 1, "is missing" if found.seq > self.at.seq + 1 else "is there twice")
            if canonical(found.seq, found.texts) != found.entry:
                yield Break(found.seq, "its columns are not what was written")
            if linked(self.at.hash, found.entry) != found.hash:
                yield Break(found.seq, "it does not follow the row before it: one of them was changed, put in or taken away")
            self.at = Head(found.seq, found.hash)
            yield from self._arrived(found)

    def _arrived(self, found: Chained) -> Iterator[Break]:
        """What the row that was come to says about all up to it."""
        if found.seal is not None and (problem := self._look_at_seal(found)):
            yield problem
        self._look_at_ends(found.seq)
        if found.texts["action"] == ACCEPTED:
            self.losses.append((found.seq, row_of(found.texts)))

    def _look_at_ends(self, seq: int) -> None:
        self._is_astray = self._is_astray or (self.anchor is not None and self.anchor.seq == seq and self.anchor != self.at)
        pins = self.pins.get(seq, ())
        missed = [pin for pin in pins if pin.head != self.at]
        self._missed += missed
        if len(missed) < len(pins):
            self.signed_to = seq

    def _look_at_seal(self, found: Chained) -> Break | None:
        key = self.key_of(found.seal_key)
        if key is None:
            self.unchecked += 1
            self._covered = found.seq
            return None
        if not is_under(key, found):
            return Break(found.seq, "its seal is not ours: rows were written without the key")
        if (first := int.from_bytes((found.seal or b"")[:_NUMBER], "big")) > self._covered + 1:
            self.unsealed.append((self._covered + 1, first - 1))
        self.sealed_to = self._covered = found.seq
        return None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the chain that somebody followed: where it begins and ends, and the first bad row behind that end.

    ``marks`` are rows that say more than that they follow: under a seal, wanted, or of a loss that was accepted.
    """

    begin: Head
    end: Head
    marks: Sequence[Chained] = ()
    problem: Break | None = None

    @property
    def count(self) -> int:
        """Its rows."""
        return self.end.seq - self.begin.seq


@dataclass(slots=True)
class Strider:
    """Follows a stretch for a `Walk` that is elsewhere, as are the keys of its seals."""

    begin: Head
    wanted: Collection[int] = ()
    marks: list[Chained] = field(default_factory=list)
    problem: Break | None = None
    _walk: Walk = field(init=False)

    def __post_init__(self) -> None:
        self._walk = Walk(lambda _: None, at=self.begin)

    def follow(self, rows: Sequence[Chained]) -> Break | None:
        """What is wrong with the first row that is not as it was written."""
        self.problem = self._walk.follow(rows)
        self.marks += [each for each in rows if each.seq <= self._walk.at.seq and self._says_more(each)]
        return self.problem

    def _says_more(self, row: Chained) -> bool:
        return row.seal is not None or row.seq in self.wanted or row.texts["action"] == ACCEPTED

    def told(self) -> Stretch:
        """What was found."""
        return Stretch(self.begin, self._walk.at, tuple(self.marks), self.problem)
