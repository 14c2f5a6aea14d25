"""How Secret Manager names things, and the limits that it sets: what is no name is refused here, before it is part of a request.

Knows no SDK.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.model.errors import Invalid
from keyturn.model.material import SourceRef
from keyturn.model.sensitive import Sensitive

MOST_BYTES: Final = 64 << 10
"""Of a value."""
LATEST: Final = "latest"
"""What every secret has: the version that was made last, whatever it is."""
VACANT: Final = b"keyturn: no value stands here yet (6d1f0f7a3c9b4c58a4d0e2b1f7c3965e)"
"""The payload of a version that stands for none: what is current while the first value of a key waits."""

_KEY: Final = re.compile("[A-Za-z0-9_-]{1,255}")
_NUMBER: Final = re.compile("[1-9][0-9]{0,17}", re.ASCII)
_ALIAS: Final = re.compile("[A-Za-z][A-Za-z0-9_-]{0,62}")
_MOST_LABELS: Final = 64
_LABEL_KEY: Final = re.compile("[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE: Final = re.compile("[a-z0-9_-]{0,63}")
_STEP: Final = 4096
"""Bytes that are summed up at once, in less than a millisecond."""


@dataclass(frozen=True, slots=True)
class Place:
    """A project's global secrets, or those of one of its regions."""

    project: str
    location: str = ""

    @property
    def parent(self) -> str:
        return f"projects/{self.project}" + (f"/locations/{self.location}" if self.location else "")

    def secret(self, key: str) -> str:
        return f"{self.parent}/secrets/{key}"

    def version(self, key: str, version: str) -> str:
        return f"{self.secret(key)}/versions/{version}"

    def __str__(self) -> str:
        return f"the project {self.project}" + (f" in {self.location}" if self.location else "")


def check_key(key: str) -> None:
    """Raises `Invalid` for what no secret can be called."""
    if not _KEY.fullmatch(key):
        raise Invalid(f"{key!r} is no name of a secret: Secret Manager takes 1 to 255 letters, digits, - and _")


def check_ref(ref: SourceRef) -> None:
    """Raises `Invalid` where there can be no such secret or version."""
    check_key(ref.key)
    if ref.version and not is_number(ref.version) and not _ALIAS.fullmatch(ref.version):
        raise Invalid(f"{ref.version[:80]!r} is no version of {ref.key}: write its number, or an alias such as current")


def is_number(version: str) -> bool:
    return _NUMBER.fullmatch(version) is not None


def number_of(name: str) -> int:
    """The number at the end of a version's full name, 0 where there is none."""
    last = name.rpartition("/")[2]
    return int(last) if is_number(last) else 0


def can_begin(prefix: str) -> bool:
    """Whether a secret's name can begin so."""
    return not prefix or _KEY.fullmatch(prefix) is not None


def check_value(key: str, data: Sensitive, tags: Mapping[str, str] | None) -> None:
    """Raises `Invalid` for what Secret Manager does not take."""
    if not data:
        raise Invalid(f"{key}: Secret Manager takes no empty value")
    if len(data) > MOST_BYTES:
        raise Invalid(f"{key} is too large: Secret Manager takes {MOST_BYTES >> 10} KiB")
    if data.reveal() == VACANT:
        raise Invalid(f"{key}: this text stands for a value that is not there")
    if tags and (len(tags) > _MOST_LABELS or not all(_LABEL_KEY.fullmatch(name) and _LABEL_VALUE.fullmatch(tags[name]) for name in tags)):
        raise Invalid(
            f"{key}: tags are Google's labels, at most {_MOST_LABELS}: small letters, digits, - and _, names beginning with a letter"
        )


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        row = byte
        for _ in range(8):
            row = row >> 1 ^ (0x82F63B78 if row & 1 else 0)
        rows.append(row)
    return tuple(rows)


_ROWS: Final = _table()


async def crc32c(data: bytes) -> int:
    """The checksum that Secret Manager sends and takes (Castagnoli); others have their turn while it is made."""
    found = 0xFFFFFFFF
    for start in range(0, len(data), _STEP):
        if start:
            await asyncio.sleep(0)
        for byte in data[start : start + _STEP]:
            found = found >> 8 ^ _ROWS[(found ^ byte) & 0xFF]
    return found ^ 0xFFFFFFFF
