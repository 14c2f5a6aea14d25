"""Signed notes as text (https://c2sp.org/signed-note): a text, an empty line, and a line for each signature.

Which signatures are good is decided elsewhere, by whoever has the mathematics.
"""

import base64
import re
from collections.abc import Sequence
from typing import Final

from keyturn.model.note import NoteRefused, Signature, VerifierKey, strict_base64

LONGEST: Final = 64 * 1024
MOST_SIGNATURES: Final = 100

_DASH: Final = "\u2014 "
_CONTROLS: Final = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")


def joined(text: str, key: VerifierKey, signature: bytes) -> str:
    """The note of this text, which ends its last line, under one signature."""
    return f"{text}\n{_DASH}{key.name} {base64.b64encode(key.id + signature).decode()}\n"


def split(note: str) -> tuple[str, Sequence[Signature]]:
    """Its text, and the signatures as they claim to be. Raises `NoteRefused`."""
    # On the way through a shell or an editor the last line's end gets lost; it is no part of what is signed.
    whole = note if note.endswith("\n") else f"{note}\n"
    text, blank, below = whole.rpartition("\n\n")
    lines = below[:-1].split("\n")
    if len(note) > LONGEST or _CONTROLS.search(note) or not blank or not text or len(lines) > MOST_SIGNATURES:
        raise NoteRefused("it is no signed note: a text, an empty line, and a line for each signature")
    return f"{text}\n", [_signature(line) for line in lines]


def _signature(line: str) -> Signature:
    name, space, coded = line.removeprefix(_DASH).partition(" ")
    found = strict_base64(coded)
    if not line.startswith(_DASH) or not space or not name or "+" in name or found is None or len(found) <= len(b"id__"):
        raise NoteRefused("one of the lines below its text is no signature")
    return Signature(name, found[:4], found[4:])
