"""Checkpoints as text (after https://c2sp.org/tlog-checkpoint).

    <origin>
    <number of rows>
    <hash of the last one, base64>
    previous <SHA-256 of the text of the checkpoint before, base64> | previous none
    time <UTC>
    key <id of the key that signs>

The first three lines are those of every transparency log; a hash is the chain's own and no root of a Merkle tree.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from keyturn.decide.auditrow import moment
from keyturn.decide.note import split
from keyturn.model.audit import Head
from keyturn.model.checkpoint import Checkpoint, Signed
from keyturn.model.note import NoteRefused

ORIGIN: Final = "keyturn.dev/audit"

_FORM: Final = re.compile(
    r"(?P<origin>[^\s+]+)\n(?P<seq>[1-9][0-9]{0,17})\n(?P<hash>[A-Za-z0-9+/]{43}=)\n"
    r"previous (?P<previous>none|[A-Za-z0-9+/]{43}=)\ntime (?P<at>[0-9T:.-]{26}Z)\nkey (?P<key>[0-9a-f]{8})\n"
)

Check = Callable[[str], str]
"""Gives the text of a note that a known key signed. Raises `UnknownSigner`, or `NoteRefused`."""


def origin_of(first: bytes) -> str:
    """The name of the trail whose first row has this hash: no other has it."""
    return f"{ORIGIN}/{first.hex()[:16]}"


def text_of(checkpoint: Checkpoint) -> str:
    """What is signed."""
    previous = base64.b64encode(checkpoint.previous).decode() or "none"
    return (
        f"{checkpoint.origin}\n{checkpoint.head.seq}\n{base64.b64encode(checkpoint.head.hash).decode()}\n"
        f"previous {previous}\ntime {moment(checkpoint.at)}\nkey {checkpoint.key}\n"
    )


def checkpoint_of(text: str) -> Checkpoint:
    """What this text says. Raises `NoteRefused` where no checkpoint has such a text."""
    found = _FORM.fullmatch(text)
    if found is not None:
        head = Head(int(found["seq"]), base64.b64decode(found["hash"]))
        previous = b"" if found["previous"] == "none" else base64.b64decode(found["previous"])
        try:
            made = Checkpoint(found["origin"], head, previous, datetime.fromisoformat(found["at"]), found["key"])
        except ValueError:
            found = None
        else:
            if text_of(made) == text:
                return made
    raise NoteRefused("it is no checkpoint of an audit trail")


def digest(text: str) -> bytes:
    """By which the next checkpoint knows this one."""
    return hashlib.sha256(text.encode()).digest()


def signed_of(note: str, check: Check) -> Signed:
    """The checkpoint that this note is, signed by a known key. Raises `NoteRefused`."""
    made = checkpoint_of(check(note))
    if made.key not in {each.id.hex() for each in split(note)[1]}:
        raise NoteRefused("it names another key than signed it")
    return Signed(made, note)
