"""Master keys, as whoever runs Keyturn gives them: which there are, and whether they are strong enough.

Reads no environment and no file itself. No error holds any part of a key, nor how strong it was found to be.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keyturn.model.errors import KeyturnError
from keyturn.model.sensitive import Sensitive

SECRET_KEY, SECRET_KEY_PREVIOUS, SECRET_KEYS_FILE = "SECRET_KEY", "SECRET_KEY_PREVIOUS", "SECRET_KEYS_FILE"
AUDIT_SIGNING_KEY, AUDIT_SIGNING_KEY_PREVIOUS = "AUDIT_SIGNING_KEY", "AUDIT_SIGNING_KEY_PREVIOUS"

LEAST_BYTES = 32
LEAST_BITS = 128.0
REMEDY = "make one with: openssl rand -base64 48"

KEY_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class KeysRefused(KeyturnError):
    """The master keys that were given cannot be used; the message names the variable and the remedy."""


class KeyTooWeak(KeysRefused):
    """A master key that could be guessed: what the database keeps to tell a right key from a wrong one would prove the guess."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The words of one master key. ``id`` is '' where it was given without; ``origin`` says for people where it came from."""

    words: Sensitive
    origin: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """All that were given, each strong enough; new values shall lie under the first."""

    keys: tuple[MasterKey, ...]

    @classmethod
    def of(cls, environment: Mapping[str, str], file_text: str | None = None) -> "MasterKeys":
        """From the variables of the environment, or from the text of the file that `SECRET_KEYS_FILE` names.

        Raises `KeysRefused` where there is none, where there are two of one, or where the variables contradict each other.
        """
        given = {name: environment.get(name, "").strip() for name in (SECRET_KEY, SECRET_KEY_PREVIOUS)}
        if file_text is not None:
            if any(given.values()):
                raise KeysRefused(f"{SECRET_KEYS_FILE} holds all keys: unset {SECRET_KEY} and {SECRET_KEY_PREVIOUS}, or unset it")
            return cls(_distinct(tuple(_in_file(file_text))))
        if not given[SECRET_KEY]:
            raise KeysRefused(f"the database needs a master key: set {SECRET_KEY} or {SECRET_KEYS_FILE}; {REMEDY}")
        words = [(name, Sensitive(text.encode("utf-8", "surrogateescape"))) for name, text in given.items() if text]
        return cls(_distinct(tuple(MasterKey(_strong(key, name), name) for name, key in words)))

    @classmethod
    def alone(cls, words: Sensitive, origin: str) -> "MasterKeys":
        """The one key that somebody gave elsewhere. Raises `KeyTooWeak`."""
        return cls((MasterKey(_strong(Sensitive(words.reveal().strip()), origin), origin),))

    @classmethod
    def kept(cls, place: str, key: Sensitive, previous: Sensitive | None = None) -> "MasterKeys":
        """Those that are kept together at a place, which is named for people. Raises `KeysRefused`."""
        given = {place: key, f"the former key in {place}": previous or Sensitive(b"")}
        return cls(_distinct(tuple(MasterKey(_strong(words, origin), origin) for origin, words in given.items() if words)))

    @property
    def wanted(self) -> MasterKey:
        """The one that new values shall lie under."""
        return self.keys[0]

    def candidates(self, key_id: str, known: frozenset[str]) -> Sequence[MasterKey]:
        """Those that may open the key of this id: the one that bears it, else those that bear no other ``known`` one's."""
        named = tuple(key for key in self.keys if key.id == key_id)
        return named or tuple(key for key in self.keys if key.id not in known)


NO_KEYS: Final = MasterKeys(())
"""Where they are yet to come."""


def _in_file(text: str) -> Iterator[MasterKey]:
    """One key a line, ``id: key``; empty lines and those that begin with # are for people."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    found = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not found:
        raise KeysRefused(f"the file of {SECRET_KEYS_FILE} holds no key; write lines of the form 'id: key'; {REMEDY}")
    for number, line in found:
        origin = f"line {number} of {SECRET_KEYS_FILE}"
        key_id, colon, words = (part.strip() for part in line.partition(":"))
        if not colon or not KEY_ID.fullmatch(key_id):
            raise KeysRefused(f"{origin} must be 'id: key', with an id of at most 63 small letters, digits and . _ -")
        yield MasterKey(_strong(Sensitive.of(words), origin), origin, key_id)


def _distinct(keys: tuple[MasterKey, ...]) -> tuple[MasterKey, ...]:
    for at, key in enumerate(keys):
        for other in keys[:at]:
            if key.words == other.words:
                raise KeysRefused(f"{other.origin} and {key.origin} are the same key; leave one of them out")
            if key.id and key.id == other.id:
                raise KeysRefused(f"{other.origin} and {key.origin} have the same id; a new key needs an id of its own")
    return keys


def _strong(words: Sensitive, origin: str) -> Sensitive:
    if len(words) < LEAST_BYTES:
        raise KeyTooWeak(f"{origin} is shorter than {LEAST_BYTES} bytes; {REMEDY}")
    if estimated_bits(words) < LEAST_BITS:
        raise KeyTooWeak(f"{origin} could be guessed (repeated, regular or in words); {REMEDY}")
    return words


_COMMON = (
    "qwertyuiopasdfghjklzxcvbnm abcdefghijklmnopqrstuvwxyz 01234567890 zyxwvutsrqponmlkjihgfedcba 09876543210 "
    "password passwort secret changeme change-me please insecure default example development production testing "
    "keyturn kubernetes database master private your-key-here thisismysupersecretkey administrator django "
)
_WEIGHED = 1024  # bytes of a key that count, since each is compared with all before it
_LONG_MATCH = 6
"""Shorter ones happen by chance in keys that are random."""

_WORD_BITS = 11.0
"""What a word and the sign before it are worth: one of 2,048, as people choose them."""

_PIECES = re.compile(
    rb"(?:[ ._,:-]?[A-Z]|[ ._,:-]|(?<![A-Za-z]))(?=[a-z]*[aeiouy])[a-z]{2,14}(?![a-z])"
    rb"|[ ._,:-]?(?<![A-Z])(?=[A-Z]*[AEIOUY])[A-Z]{2,14}(?![A-Za-z])"
    rb"|(?s:.)"
)


def estimated_bits(words: Sensitive) -> float:
    """How many bits whoever knows how people choose would have to guess, at least; random keys come out near what they have."""
    text = words.reveal()[:_WEIGHED]
    by_character = _bits_of_character(text)
    return min(_without_repeats(text.lower(), by_character), _in_words(text, by_character))


def _bits_of_character(text: bytes) -> float:
    """By the alphabet that the characters seem to be drawn from, or by how few of it were."""
    kinds = ((rb"0-9", 10), (rb"a-z", 26), (rb"A-Z", 26), (rb"!-/:-@\[-`{-~ ", 33), (rb"\x00-\x1f\x7f-\xff", 64))
    alphabet = 16 if _is_hex(text) else sum(size for kind, size in kinds if re.search(b"[" + kind + b"]", text))
    distinct = len(Counter(text))
    expected = alphabet * (1 - (1 - 1 / alphabet) ** len(text))
    return math.log2(alphabet if distinct >= expected / 2 else distinct)


def _is_hex(text: bytes) -> bool:
    return re.fullmatch(rb"[0-9a-f]+|[0-9A-F]+", text) is not None


def _without_repeats(text: bytes, by_character: float) -> float:
    """What was there before, in the text or in what everybody knows, costs only where and how long."""
    seen, bits, at = _COMMON.encode(), 0.0, 0
    while at < len(text):
        known = seen + text[:at]
        length = _match(known, text, at)
        if length >= _LONG_MATCH:
            bits += min(length * by_character, math.log2(len(known)) + math.log2(length))
        else:
            length, bits = 1, bits + by_character
        at += length
    return bits


def _match(known: bytes, text: bytes, at: int) -> int:
    """How much of the text from here on stands in what is known, as one piece."""
    length = 0
    while at + length < len(text) and text[at : at + length + 1] in known:
        length += 1
    return length


def _in_words(text: bytes, by_character: float) -> float:
    """As if every run of letters were a word that people use; a hex key has such runs by chance."""
    if _is_hex(text):
        return len(text) * by_character
    pieces = _PIECES.findall(text)
    return sum(min(_WORD_BITS, len(piece) * by_character) if len(piece) > 1 else by_character for piece in pieces)
