"""The whole proof: the chain, its checkpoints in the table, and those that somebody kept elsewhere, each held against the others."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keyturn.decide.checkpoint import signed_of, text_of
from keyturn.decide.hashchain import Break, Pin, Walk
from keyturn.decide.segment import Check, Shelf
from keyturn.decide.series import Series
from keyturn.model.checkpoint import Signed
from keyturn.model.note import NoteRefused, UnknownSigner, VerifierKey
from keyturn.store.audit_segments import RowsElsewhere, followed_segments, segments_of, shelf_of
from keyturn.store.audit_walk import ALONE, Pace, followed
from keyturn.store.checkpoints import rows_of
from keyturn.store.engine import Database
from keyturn.store.signing import check

_ELSEWHERE: Final = (
    ", unless somebody accepted that loss in rows that were moved into files since: give their folder with --segments, and it is seen"
)


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of it. ``problem`` is '' where all is as it was written; ``walk`` and ``series`` have how far that was proved.

    ``lost`` are checkpoints from elsewhere whose rows are not there, which somebody accepted. ``strangers`` are
    rows that somebody put into the tables of checkpoints and segments, where nothing else is wrong.
    """

    problem: str
    walk: Walk
    series: Series
    lost: Sequence[Signed] = ()
    shelf: Shelf = field(default_factory=Shelf)
    strangers: Sequence[Break] = ()


async def prove(
    database: Database,
    walk: Walk,
    known: Sequence[VerifierKey] = (),
    kept: Mapping[str, str] | None = None,
    pace: Pace = ALONE,
    folder: Path | None = None,
) -> Proof:
    """Follows all of it, at this pace, and with ``folder`` the files of segments too.

    ``kept`` are signed notes from elsewhere, by what to call them.

    Raises `NoteRefused` where one of these is not signed by a ``known`` key, and `ProviderError`.
    """
    outside = {name: opened(name, note, known) for name, note in (kept or {}).items()}
    series = Series(lambda note: check(note, known))
    rows = await rows_of(database)
    broken = await asyncio.to_thread(series.follow, rows)
    walk.pins = by_row([*series.pins, *(pin_of(name, signed) for name, signed in outside.items())])
    by_known: Check | None = (lambda note: check(note, known)) if known else None
    shelf, gap, moved = await shelf_of(database, await segments_of(database), by_known)
    if gap is None and folder is not None:
        gap = await asyncio.to_thread(followed_segments, folder, shelf.found, walk)
    ended = str(await followed(database, walk, pace, by_known) or "") if gap is None else ""
    if ended and ended == str(walk.end()) and shelf.found and folder is None:
        ended += _ELSEWHERE
    problem = str(gap) if gap else ended or (str(broken) if broken and series.is_broken else "")
    lost = []
    for name, signed in outside.items():
        pin = pin_of(name, signed)
        if walk.lacks(pin) and walk.is_accepted(pin):
            lost.append(signed)
        elif not series.has(text_of(signed.checkpoint)) and not problem:
            where = f"row {pin.head.seq}: its checkpoint, of which {name} is a copy,"
            if folder is None and pin.head.seq < shelf.at.seq:
                raise RowsElsewhere(f"{where} is not in the table{_ELSEWHERE}")
            problem = f"{where} was taken out of the table"
    strangers = () if problem else (*moved, *series.strangers)
    return Proof(problem or str(next(iter(strangers), "")), walk, series, lost, shelf, strangers)


def by_row(pins: Iterable[Pin]) -> Mapping[int, Sequence[Pin]]:
    """As a walk looks for them."""
    found = defaultdict(list)
    for pin in pins:
        found[pin.head.seq].append(pin)
    return found


def pin_of(name: str, signed: Signed) -> Pin:
    """The end that a checkpoint from elsewhere was signed of; ``name`` says for people which one that is."""
    return Pin(signed.checkpoint.head, signed.checkpoint.at, name)


def opened(name: str, note: str, known: Sequence[VerifierKey]) -> Signed:
    """A checkpoint from elsewhere. Raises `NoteRefused` where it is not signed by a ``known`` key."""
    try:
        return signed_of(note, lambda note: check(note, known))
    except UnknownSigner as unknown:
        raise UnknownSigner(f"{name} proves nothing: {unknown}; give that key with --key") from None
    except NoteRefused as refused:
        raise NoteRefused(f"{name} proves nothing: {refused}") from None
