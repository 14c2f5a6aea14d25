"""Ed25519 over signed notes: the key that signs the audit trail's checkpoints, and the check that needs only its public half."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keyturn.decide.note import joined, split
from keyturn.model.keys import LEAST_BITS, KeyTooWeak, estimated_bits
from keyturn.model.note import KeyMalformed, NoteRefused, UnknownSigner, VerifierKey, strict_base64
from keyturn.model.sensitive import Sensitive

NAME: Final = "keyturn.dev/audit"
"""Of every key that signs an audit trail; which one it is, its id tells."""
SEED_BYTES: Final = 32
REMEDY: Final = "make one with: openssl rand -base64 32"

_PEM: Final = b"-----BEGIN "


class SigningKey:
    """A private key that signs notes. Holds nothing that prints."""

    __slots__ = ("_private", "verifier")

    def __init__(self, private: Ed25519PrivateKey, name: str = NAME) -> None:
        self._private = private
        self.verifier = VerifierKey(name, private.public_key().public_bytes_raw())
        """Its public half."""

    @classmethod
    def of(cls, given: Sensitive, origin: str, name: str = NAME) -> Self:
        """From a seed of 32 bytes in base64, or from an Ed25519 key in PEM. Raises `KeyMalformed` or `KeyTooWeak`."""
        if given.reveal().lstrip().startswith(_PEM):
            return cls(_from_pem(given, origin), name)
        seed = strict_base64(given.reveal().decode("ascii", "replace").strip())
        if seed is None or len(seed) != SEED_BYTES:
            raise KeyMalformed(f"{origin} must be {SEED_BYTES} random bytes in base64, or an Ed25519 private key in PEM; {REMEDY}")
        if estimated_bits(Sensitive(seed)) < LEAST_BITS:
            raise KeyTooWeak(f"{origin} could be guessed (repeated, regular or in words); {REMEDY}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed), name)

    @classmethod
    def of_seed(cls, seed: Sensitive, origin: str, name: str = NAME) -> Self:
        """From the 32 bytes themselves. Raises `KeyMalformed`."""
        if len(seed) != SEED_BYTES:
            raise KeyMalformed(f"{origin} must hold {SEED_BYTES} bytes; restore it from a backup")
        return cls(Ed25519PrivateKey.from_private_bytes(seed.reveal()), name)

    def sign(self, text: str) -> str:
        """The signed note of this text, which has to end its last line."""
        return joined(text, self.verifier, self._private.sign(text.encode()))


def check(note: str, known: Iterable[VerifierKey]) -> str:
    """The text of a note that at least one of these keys signed. Raises `UnknownSigner` where none did, else `NoteRefused`.

    By a known key every signature must be good; those of others are passed over.
    """
    text, signatures = split(note)
    keys = {(key.name, key.id): key for key in known}
    ours = [(each, keys[each.name, each.id]) for each in signatures if (each.name, each.id) in keys]
    if not ours:
        raise UnknownSigner(f"it is signed by {', '.join(each.key for each in signatures)}, and the public key of that is not at hand")
    for signature, key in ours:
        if not _is_good(text, signature.bytes, key):
            raise NoteRefused(f"its signature is not by {signature.key}: the note was changed, or made without the key")
    return text


def verifiers(given: Sensitive, origin: str) -> Iterator[VerifierKey]:
    """Public keys from words that are vkeys, or the private keys that they belong to. Raises `KeyMalformed` or `KeyTooWeak`."""
    if given.reveal().lstrip().startswith(_PEM):
        yield SigningKey.of(given, origin).verifier
        return
    for word in re.split(rb"[\s,]+", given.reveal().strip()):
        if word.count(b"+") >= 2 and not _is_seed(word):
            yield VerifierKey.parse(word.decode("utf-8", "replace"), origin)
        elif word:
            yield SigningKey.of(Sensitive(word), origin).verifier


def _is_seed(word: bytes) -> bool:
    """Base64 may have a plus in it too."""
    seed = strict_base64(word.decode("ascii", "replace"))
    return seed is not None and len(seed) == SEED_BYTES


def _from_pem(given: Sensitive, origin: str) -> Ed25519PrivateKey:
    try:
        found = load_pem_private_key(given.reveal(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise KeyMalformed(
            f"{origin} is no Ed25519 private key in PEM without a password; make one with: openssl genpkey -algorithm ed25519"
        )
    return found


def _is_good(text: str, signature: bytes, key: VerifierKey) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
