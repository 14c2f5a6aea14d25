"""The whole proof: the chain, its checkpoints in the table, and those that somebody kept elsewhere, each held against the others."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.decide.checkpoint import Series, signed_of, text_of
from keyturn.decide.hashchain import Pin, Walk
from keyturn.decide.segment import Shelf
from keyturn.model.checkpoint import Signed
from keyturn.model.note import NoteRefused, UnknownSigner, VerifierKey
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_segments import followed_segments, segments_of
from keyturn.store.audit_walk import ALONE, Pace
from keyturn.store.checkpoints import rows_of
from keyturn.store.engine import Database
from keyturn.store.signing import check


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of it. ``problem`` is '' where all is as it was written; ``walk`` and ``series`` have how far that was proved.

    ``lost`` are checkpoints from elsewhere whose rows are not there, which somebody accepted.
    """

    problem: str
    walk: Walk
    series: Series
    lost: Sequence[Signed] = ()
    shelf: Shelf = field(default_factory=Shelf)


async def prove(
    trail: AuditTrail,
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
    outside = {name: _opened(name, note, known) for name, note in (kept or {}).items()}
    series = Series(lambda note: check(note, known))
    rows = await rows_of(database)
    broken = await asyncio.to_thread(series.follow, rows)
    pins = [*series.pins, *(_pin(name, signed) for name, signed in outside.items())]
    by_row = defaultdict(list)
    for pin in pins:
        by_row[pin.head.seq].append(pin)
    walk.pins = by_row
    shelf = Shelf((lambda note: check(note, known)) if known else None)
    gap = shelf.follow(await segments_of(database))
    if gap is None and folder is not None:
        gap = await asyncio.to_thread(followed_segments, folder, shelf.found, walk)
    problem = str(gap) if gap else await trail.verify(walk, pace) or (str(broken) if broken else "")
    lost = []
    for name, signed in outside.items():
        if walk.is_accepted(_pin(name, signed)):
            lost.append(signed)
        elif text_of(signed.checkpoint) not in series.texts:
            problem = problem or f"row {signed.checkpoint.head.seq}: its checkpoint, of which {name} is a copy, was taken out of the table"
    return Proof(problem, walk, series, lost, shelf)


def _pin(name: str, signed: Signed) -> Pin:
    return Pin(signed.checkpoint.head, signed.checkpoint.at, name)


def _opened(name: str, note: str, known: Sequence[VerifierKey]) -> Signed:
    try:
        return signed_of(note, lambda note: check(note, known))
    except UnknownSigner as unknown:
        raise UnknownSigner(f"{name} proves nothing: {unknown}; give that key with --key") from None
    except NoteRefused as refused:
        raise NoteRefused(f"{name} proves nothing: {refused}") from None
