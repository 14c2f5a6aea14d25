"""Values that can be recognised wherever they turn up, and how they look in each encoding."""

import base64
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

PREFIX = "kt-canary-"
"""What every secret value in tests begins with, also those that are written out in a fixture."""

_EXCERPT = 60
_ESCAPE = re.compile(r"\\+u00([0-9a-fA-F]{2})|\\+x([0-9a-fA-F]{2})")
_NESTING = 3  # of one URL-encoding in another


@dataclass(frozen=True, slots=True)
class Mark:
    """One secret value. ``core`` is the part of it that nothing else holds, so that a piece of a value is found too."""

    name: str
    core: str

    @classmethod
    def new(cls, name: str) -> "Mark":
        return cls(name, secrets.token_hex(8))

    @property
    def value(self) -> str:
        return f"{PREFIX}{self.core}-{self.name}"


ANY = Mark("a value of a fixture", PREFIX)


def find(text: str, marks: Mapping[str, Mark]) -> Iterator[str]:
    """What leaked into the text, each mark once: its name, its encoding and what stands around it."""
    views = tuple(_views(text))
    found = [told for mark in marks.values() if (told := _find(views, mark))]
    if not found and (told := _find(views, ANY)):
        found.append(told)
    yield from found


def _find(views: tuple[tuple[str, str], ...], mark: Mark) -> str:
    for view, text in views:
        for encoding, needle in needles(mark.core):
            at = text.find(needle)
            if at >= 0:
                around = text[max(0, at - _EXCERPT) : at + len(needle) + _EXCERPT]
                return f"{mark.name!r}, {encoding}{view}: {around!r}"
    return ""


def _views(text: str) -> Iterator[tuple[str, str]]:
    """The text as it is, without its escapes, and without line breaks (which base64 may have)."""
    yield "", text
    plain = text
    for _ in range(_NESTING):
        plain = unquote(plain) if "%" in plain else plain
    if "\\" in plain:
        plain = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), plain)
    if plain != text:
        yield " behind escapes", plain
    joined = "".join(text.replace("\\n", "").split())
    if joined != text:
        yield " over several lines", joined


@cache
def needles(core: str) -> tuple[tuple[str, str], ...]:
    """How the text looks inside of anything that holds it, by encoding."""
    raw = core.encode()
    found = {core: "raw", raw.hex(): "hex", raw.hex().upper(): "hex"}
    encoders: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode))
    for name, encode in encoders:
        for before in range(3):
            found.setdefault(_inside(encode, raw, before), name)
    return tuple((encoding, needle) for needle, encoding in found.items())


def _inside(encode: Callable[[bytes], bytes], raw: bytes, before: int) -> str:
    """The characters of the encoding that depend on ``raw`` alone, with so many bytes (modulo 3) before it."""
    encoded = encode(bytes(before) + raw).decode().rstrip("=")
    cut = 1 if (before + len(raw)) % 3 else 0
    return encoded[(0, 2, 3)[before] : len(encoded) - cut]
