"""What providers are asked for and what they give."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keyturn.model.sensitive import Sensitive


class Cap(enum.Flag):
    """What a provider can do; the flow asks for no more."""

    GET = enum.auto()
    GET_MANY = enum.auto()
    LIST = enum.auto()
    LIST_HAS_VERSION = enum.auto()
    VERSIONS = enum.auto()
    PUT = enum.auto()
    CAS = enum.auto()
    DELETE = enum.auto()
    UNDELETE = enum.auto()
    STAGE = enum.auto()
    TAGS = enum.auto()
    SURVEY = enum.auto()


WRITES: Final = Cap.PUT | Cap.CAS | Cap.DELETE | Cap.UNDELETE
"""What takes a `Writer`, and access ReadWrite."""


@dataclass(frozen=True, slots=True, order=True)
class SourceRef:
    """One value at a provider: its key, and the version or stage where one is pinned ('' = the newest)."""

    key: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.key}@{self.version}" if self.version else self.key


@dataclass(frozen=True, slots=True)
class Meta:
    """What a list says of a secret. It never holds a value; ``fingerprint`` changes when the value may have."""

    key: str
    fingerprint: str = ""
    updated: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True


CURRENT, PREVIOUS, PENDING = "current", "previous", "pending"
"""Stages that every store with `Cap.STAGE` has, by whatever name it has them: what a read without a version gives, what it
gave before that, and what waits for a promotion."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a secret, without its value.

    ``token`` is what it was put with, where the provider keeps that; ``is_readable`` says that it is neither switched off nor deleted.
    """

    name: str
    stages: frozenset[str] = frozenset()
    created: datetime | None = None
    is_readable: bool = True
    token: str = ""


class Form(enum.Enum):
    """How the bytes of a value are to be taken apart."""

    PLAIN = "Plain"
    """They are the value. A property is looked for in them, if they are JSON."""

    MAP = "Map"
    """A JSON object of texts, each a value by itself: a property names one of them, and may go on into it, if it is JSON."""

    MAP_OF_BYTES = "MapOfBytes"
    """The same for bytes that are no text, each in base64: there is no text that could stand for all of them."""


@dataclass(frozen=True, slots=True)
class Value:
    """A secret as the provider gave it.

    ``version`` is the provider's own name for it, '' where it has none; ``fingerprint`` is what a `Survey`
    says of it while it is the same, '' where there are no surveys; ``form`` says how it is taken apart.
    """

    data: Sensitive
    version: str = ""
    updated: datetime | None = None
    fingerprint: str = ""
    form: Form = Form.PLAIN


@dataclass(frozen=True, slots=True)
class Survey:
    """What a provider told of many values at once, without giving them.

    ``fingerprints`` has those that are there: one that is missing may be gone or may not, which a read tells.
    ``size`` is how many secrets it went over, wanted or not, and ``calls`` how many calls it took.
    """

    fingerprints: Mapping[SourceRef, str]
    size: int
    calls: int = 1
