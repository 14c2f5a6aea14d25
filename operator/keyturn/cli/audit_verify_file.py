"""``keyturn audit verify --file``: exported rows, held against what was kept elsewhere, where there is no database."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from keyturn.cli.audit_evidence import CAME_ALONG, kept_notes, known_keys
from keyturn.decide.hashchain import Break, Pin, Walk
from keyturn.model.audit import Head
from keyturn.model.note import VerifierKey


def told_of_file(path: Path, anchor: Head | None, keys: Sequence[str], kept: Sequence[Path]) -> str:
    """What there is to say of an exported file whose rows are as they were written.

    Raises `TrailBroken` and `FileRefused`, and `KeyturnError` where a key or a checkpoint is none, or not signed by these keys.
    """
    from keyturn.store.audit_file import TrailBroken, followed_file
    from keyturn.store.proof import by_row, opened, pin_of

    notes, brought = kept_notes(kept)
    known = known_keys(keys)
    pins = [pin_of(name, opened(name, note, known or brought)) for name, note in notes.items()]
    walk = Walk(lambda _: None, anchor=anchor, pins=by_row(pins))
    begin, problem = followed_file(path, walk)
    inside = [pin for pin in pins if begin.seq <= pin.head.seq <= walk.at.seq]
    walk.pins = by_row(inside)
    if problem := problem or _before(begin, inside, anchor) or walk.end():
        raise TrailBroken(f"{path} is not as it was written: {problem}")
    return "\n".join(
        (
            f"rows {begin.seq + 1} to {walk.at.seq} hang together as they were written; the end is {walk.at}",
            *([f"they follow {begin}, which is not in the file"] if begin.seq else []),
            *_signed(walk, pins, known or brought, came_along=bool(brought and not known)),
            *_apart(walk, begin, pins),
            *(["seals were not checked: that takes the database and the master keys"] if walk.unchecked else []),
        )
    )


def _before(begin: Head, inside: Sequence[Pin], anchor: Head | None) -> Break | None:
    """What is wrong with the row that the first of the file follows: that row is elsewhere, and its hash is known."""
    for whose, head in (*((pin.whose, pin.head) for pin in inside), *((("the anchor", anchor),) if anchor else ())):
        if head.seq == begin.seq and head != begin:
            return Break(begin.seq, f"the rows do not follow the one that {whose} was taken of: the chain was made anew")
    return None


def _signed(walk: Walk, pins: Sequence[Pin], known: Sequence[VerifierKey], *, came_along: bool) -> Iterator[str]:
    if walk.signed_to:
        yield f"signed to row {walk.signed_to}, by {', '.join(map(str, known))}"
    elif pins:
        yield "no row is signed: none of these checkpoints is of a row that is in the file"
    else:
        yield "signatures were not checked: give a checkpoint that was kept elsewhere with --checkpoint, and the public key with --key"
    if came_along:
        yield CAME_ALONG


def _apart(walk: Walk, begin: Head, pins: Sequence[Pin]) -> Iterator[str]:
    for pin in pins:
        if walk.lacks(pin) and walk.is_accepted(pin):
            yield f"rows up to {pin.head.seq} of {pin.whose} are lost, and that was accepted"
        elif not begin.seq < pin.head.seq <= walk.at.seq:
            yield f"{pin.whose} is of row {pin.head.seq}, which is not in the file: it says nothing of how these rows go on"
    if walk.anchor is None:
        return
    if walk.anchor.seq < begin.seq:
        yield f"the anchor is of row {walk.anchor.seq}, which is not in the file: it says nothing of these rows"
    elif walk.lacks(walk.anchor):
        yield f"row {walk.anchor.seq} of the anchor is lost, and that was accepted in row {walk.accepted}"
