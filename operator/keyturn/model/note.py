"""Signed notes (https://c2sp.org/signed-note): texts under signatures, and the public keys that tell whose they are."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from keyturn.model.errors import KeyturnError

ED25519: Final = b"\x01"
"""The one type of signature that is made and checked here."""
PUBLIC_BYTES: Final = 32

_NAME: Final = re.compile(r"[^\s+\x00-\x1f]+")


class NoteRefused(KeyturnError):
    """A note that is none, or is signed by nobody who is known, or by somebody known and was changed since."""


class UnknownSigner(NoteRefused):
    """A note without a signature of a key that is known: nothing can be said of it."""


class KeyMalformed(KeyturnError):
    """What should be a key for signed notes is none; the message names where it came from, and what it has to be."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public key of whoever signs under ``name``. Its text form is a vkey: ``<name>+<id>+<base64 of type and key>``."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str, origin: str = "the key") -> "VerifierKey":
        """Raises `KeyMalformed`."""
        name, _, rest = text.strip().partition("+")
        number, _, coded = rest.partition("+")
        typed = strict_base64(coded)
        if typed is None or len(typed) != 1 + PUBLIC_BYTES or not typed.startswith(ED25519) or not _NAME.fullmatch(name):
            raise KeyMalformed(f"{origin} must be an Ed25519 verifier key: NAME+ID+KEY, as `keyturn audit key` prints it")
        found = cls(name, typed[1:])
        if found.id.hex() != number:
            raise KeyMalformed(f"{origin} does not bear the id that its name and key have: a sign of it is wrong")
        return found

    @property
    def id(self) -> bytes:
        """Four bytes that tell it from others of its name, no more than a hint."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note's text: by which key it says to be, and the bytes."""

    name: str
    id: bytes
    bytes: bytes

    @property
    def key(self) -> str:
        """The key's name and id, for people."""
        return f"{self.name}+{self.id.hex()}"


def strict_base64(text: str) -> bytes | None:
    """What it stands for; None where it is not the one way to write it."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if base64.b64encode(found).decode() == text else None
