"""Segments as signed texts, and whether those of a table hang together from the first row of the trail on.

keyturn.dev/audit-segment
rows <first> <last>
before <hash of the row before the first, hex>
head <hash of the last row, hex>
file <SHA-256, hex> <name>
time <UTC>
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyturn.decide.hashchain import START, Break
from keyturn.decide.note import split
from keyturn.model.audit import Head
from keyturn.model.note import NoteRefused, UnknownSigner
from keyturn.model.segment import Segment

ORIGIN: Final = "keyturn.dev/audit-segment"

_NAME: Final = re.compile(r"keyturn-audit-[0-9]{12,19}-[0-9]{12,19}\.sqlite")

_BEFORE: Final = re.compile(r"^before ([0-9a-f]{64})$", re.MULTILINE)

Check = Callable[[str], str]
"""Gives the text of a note that a known key signed. Raises `UnknownSigner`, or `NoteRefused`."""


def name_of(first: int, last: int) -> str:
    """How the file of these rows is called: in the order of the rows."""
    return f"keyturn-audit-{first:012}-{last:012}.sqlite"


def text_of(segment: Segment, before: bytes) -> str:
    """What is signed."""
    return (
        f"{ORIGIN}\nrows {segment.first} {segment.last}\nbefore {before.hex()}\nhead {segment.head.hex()}\n"
        f"file {segment.digest.hex()} {segment.name}\ntime {segment.at}\n"
    )


def sorted_out(found: Iterable[Segment], check: Check) -> tuple[Sequence[Segment], Sequence[Break]]:
    """Those that a known key signed, and what is wrong with each of the others."""
    ours, strangers = [], []
    for each in found:
        try:
            text = check(each.note)
            before = _BEFORE.search(text)
            if before is None or text != text_of(each, bytes.fromhex(before[1])):
                raise NoteRefused("its columns are not what was signed")
        except NoteRefused as problem:
            strangers.append(Break(each.first, f"what says that rows from it on were moved was put in: {problem}"))
        else:
            ours.append(each)
    return ours, strangers


@dataclass(slots=True)
class Shelf:
    """Follows segments in the order of their rows. ``check`` knows the public keys that are at hand; None asks for no signature.

    ``at`` is where they end.
    """

    check: Check | None = None
    at: Head = START
    found: list[Segment] = field(default_factory=list)

    def follow(self, segments: Iterable[Segment]) -> Break | None:
        """What is wrong with the first that is not as it was written. Raises `UnknownSigner` at one that another key signed."""
        for each in segments:
            if each.first != self.at.seq + 1:
                return Break(self.at.seq + 1, f"is missing: the next segment is that of row {each.first}")
            try:
                self._take(each)
            except UnknownSigner as unknown:
                what = f"what the database remembers of rows {each.first} to {each.last} in {each.name} proves nothing"
                raise UnknownSigner(f"{what}: {unknown}; give that key with --key too, if it is yours") from None
            except NoteRefused as problem:
                return Break(each.first, f"the segment that begins with it is not as it was written: {problem}")
        return None

    def _take(self, segment: Segment) -> None:
        if segment.last < segment.first or segment.count != segment.last - segment.first + 1 or not _NAME.fullmatch(segment.name):
            raise NoteRefused("its columns do not agree with each other")
        text, _ = split(segment.note)
        if text != text_of(segment, self.at.hash):
            raise NoteRefused("its columns are not what was signed")
        if self.check is not None:
            self.check(segment.note)
        self.at = segment.end
        self.found.append(segment)
