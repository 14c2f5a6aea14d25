"""Whether the checkpoints of a table hang together, which of them are strangers there, and which may go.

Each of ours names the one before it. Of days that are over for long the last one by each key is enough: it covers all before it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from keyturn.decide.auditrow import moment
from keyturn.decide.checkpoint import Check, checkpoint_of, digest
from keyturn.decide.hashchain import Break, Pin
from keyturn.decide.note import split
from keyturn.model.checkpoint import Checkpoint, CheckpointRow
from keyturn.model.note import NoteRefused, UnknownSigner

WHOLE: Final = timedelta(days=7)
"""Before the newest all are kept for so long, and of each day before that the last one by each key."""

_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Seen:
    """A row of the table: what it says, as far as it says anything, and who signed that; '' is a known key.

    ``problem``: why it is none that was ever written like that.
    """

    row: CheckpointRow
    said: Checkpoint | None = None
    signer: str = ""
    problem: str = ""
    text: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether a known key signed all of it."""
        return not self.problem and not self.signer


def seen(row: CheckpointRow, check: Check) -> Seen:
    """What this row is to somebody who knows these keys."""
    said, text, signer = None, "", ""
    try:
        text, signatures = split(row.note)
        said = checkpoint_of(text)
        if (row.seq, row.at, row.key_id) != (said.head.seq, moment(said.at), said.key):
            raise NoteRefused("its columns are not what was signed")  # told as the others are
        if [each.id.hex() for each in signatures] != [said.key] or not row.note.endswith("\n"):
            raise NoteRefused("it bears another signature than its own")
        signer = signatures[0].key
        check(row.note)
    except UnknownSigner:
        return Seen(row, said, signer, text=text)
    except NoteRefused as problem:
        return Seen(row, said, problem=str(problem), text=text)
    return Seen(row, said, text=text)


@dataclass(slots=True)
class Series:
    """Follows the checkpoints of a table in the order of their times. ``check`` knows the public keys that are at hand.

    ``pins`` are the rows that good ones were signed of, ``unknown`` counts by key those that cannot be checked. ``strangers`` were put
    in or changed, and no other hangs on them: the rest says what it says without them.
    """

    check: Check
    pins: list[Pin] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    strangers: list[Break] = field(default_factory=list)
    _found: list[Break] = field(default_factory=list)
    _before: set[bytes] = field(default_factory=lambda: {b""})
    _texts: set[str] = field(default_factory=set)
    _origin: str = ""
    _lasts: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _old: str = ""

    def follow(self, rows: Iterable[CheckpointRow]) -> Break | None:
        """What is wrong with the first that is not as it was written; None while all are."""
        found = [seen(row, self.check) for row in rows]
        self._origin = origin(found)
        found = [each if each.said is None or each.problem else self._of_this_trail(each) for each in found]
        told = [each for each in found if each.said and not each.problem]
        self._lasts = lasts(each.said for each in told if each.said)
        # Also of those by other keys: an auditor may know the former one alone. Whoever moves it on hides what is covered all the same.
        newest = max((each.said.at for each in told if each.said), default=None)
        self._old = horizon(newest) if newest else ""
        between: dict[bytes, Seen] = {}
        for each in found:
            if each.problem:
                self._strange(each, f"is not as it was written: {each.problem}")
            if each.said is not None and not each.is_ours:
                between[digest(each.text)] = each
            elif each.said is not None:
                self._join(each, each.said, between)
                between = {}
        self._leave(between, is_end=True)
        return self._found[0] if self._found else None

    @property
    def is_broken(self) -> bool:
        """Whether one was changed or taken away that others hang on."""
        return len(self._found) > len(self.strangers)

    def has(self, text: str) -> bool:
        """Whether the table has this one, or a later one of its day has it covered since."""
        said = checkpoint_of(text)
        return text in self._texts or (
            said.origin == self._origin and moment(said.at) < self._old and self._lasts.get(_day(said), said.at) > said.at
        )

    def _of_this_trail(self, each: Seen) -> Seen:
        is_other = each.said is not None and each.said.origin != self._origin
        return Seen(each.row, each.said, each.signer, "it is of another trail", each.text) if is_other else each

    def _join(self, ours: Seen, said: Checkpoint, between: dict[bytes, Seen]) -> None:
        """One of ours, behind others that are not: it may hang on one of those, which then was there when it was written."""
        hangs, way = said, []
        while hangs.previous not in self._before and (found := between.pop(hangs.previous, None)) and found.said:
            hangs = found.said
            way.append(found)
        for each in reversed(way):
            self._before.add(digest(each.text))
            if not each.problem:
                self.unknown[each.signer] += 1
        if hangs.previous not in self._before and not self._is_thinned(hangs):
            what = "its checkpoint is not as it was written: it does not follow the one before it, which was changed or taken away"
            self._found.append(Break(ours.row.seq, what))
        self._before.add(digest(ours.text))
        self._texts.add(ours.text)
        self.pins.append(Pin(said.head, said.at, "the checkpoint in the table"))
        self._leave(between)

    def _leave(self, between: dict[bytes, Seen], *, is_end: bool = False) -> None:
        """Those that nothing of ours hangs on. At the end they may be by a key that was changed since."""
        for name, each in between.items():
            if each.problem or each.said is None:
                continue
            hangs = each.said.previous in self._before
            if (hangs and is_end) or (not hangs and self._is_thinned(each.said)):
                self._before.add(name)
                self._texts.add(each.text)
                self.unknown[each.signer] += 1
            else:
                else_ = "" if hangs or not is_end else ", or the one before it was taken away"
                self._strange(each, f"was put in{else_}: it is signed by {each.signer}, and the public key of that is not at hand")

    def _is_thinned(self, said: Checkpoint) -> bool:
        """Whether the one before it may be gone, as it is the last that is left of its day."""
        return bool(said.previous) and moment(said.at) < self._old and self._lasts.get(_day(said)) == said.at

    def _strange(self, each: Seen, what: str) -> None:
        found = Break(each.row.seq, f"its checkpoint {what} (at = {ascii(each.row.at)[:_SHOWN]})")
        self.strangers.append(found)
        self._found.append(found)


def origin(found: Sequence[Seen]) -> str:
    """Of which trail they are: most of ours, since the same key may sign others; without any of ours most of all."""
    ours = Counter(each.said.origin for each in found if each.is_ours and each.said)
    every = ours or Counter(each.said.origin for each in found if each.said and not each.problem)
    return max(every, key=lambda each: every[each]) if every else ""


def lasts(found: Iterable[Checkpoint]) -> dict[tuple[str, str], datetime]:
    """The last time of each day and key."""
    last: dict[tuple[str, str], datetime] = {}
    for each in found:
        last[_day(each)] = max(each.at, last.get(_day(each), each.at))
    return last


def horizon(newest: datetime) -> str:
    """The day before which they may be thinned out, as a time: whole days alone."""
    return moment((newest - WHOLE).replace(hour=0, minute=0, second=0, microsecond=0))


def spare(rows: Iterable[CheckpointRow], check: Check) -> Sequence[CheckpointRow]:
    """Those that may go: each is ours, of a day that is over for long, and covered by a later one of that day and key that stays."""
    found = [seen(row, check) for row in rows]
    trail = origin(found)
    ours = [(each.row, each.said) for each in found if each.is_ours and each.said and each.said.origin == trail]
    if not ours:
        return ()
    old, last = horizon(max(said.at for _, said in ours)), lasts(said for _, said in ours)
    return [row for row, said in ours if row.at < old and said.at < last[_day(said)]]


def _day(said: Checkpoint) -> tuple[str, str]:
    return moment(said.at)[:10], said.key
