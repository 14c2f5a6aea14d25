"""What names mean in a vault: which keys it can have, what a version is called, and what our tag on a version says.

A vault has no stages, and its newest version is what everybody reads. So what waits for a promotion is a secret of its own beside
the key's; a promotion copies it, and the copy's tag says what it stands for. Decides on texts alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from keyturn.model.errors import Invalid
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, SourceRef

TAG: Final = "keyturn"
WAITING: Final = "--keyturn-pending"
SECOND: Final = timedelta(seconds=2)
"""Times in a vault are whole seconds: a change that is younger than this may have had another one after it that looks the same."""

_KEY: Final = re.compile("[0-9A-Za-z-]{1,127}", re.ASCII)
_VERSION: Final = re.compile("[0-9a-f]{32}")
_STAMP: Final = re.compile(
    r"(?P<number>[0-9]{1,9}) (?:put (?P<put>[\w-]{1,64}) (?P<seal>[\w-]{1,64})|as (?P<name>p?[0-9a-f]{32}))", re.ASCII
)
STAGES: Final = frozenset({CURRENT, PREVIOUS, PENDING})


def check_key(key: str) -> str:
    """The key. Raises `Invalid` for what no vault has."""
    if not _KEY.fullmatch(key):
        raise Invalid(f"{key!r} is no name of a secret in Key Vault; it has 1 to 127 letters, digits and -, no / . or _")
    if key.lower().endswith(WAITING):
        raise Invalid(f"{key!r} is where Keyturn keeps what waits for a promotion; read its key with the version {PENDING}")
    return key


def check_ref(ref: SourceRef) -> None:
    """Raises `Invalid` for a reference that means nothing."""
    check_key(ref.key)
    version = ref.version
    if version and version not in STAGES and not is_version(version) and not waiting_version(version):
        raise Invalid(
            f"{ref.key}: {version!r} is no version of Key Vault; use one of 32 hexadecimal digits, {CURRENT}, {PREVIOUS} or {PENDING}"
        )


def is_version(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None


def waiting(key: str) -> str:
    """The secret that holds what waits for a promotion to this key. Raises `Invalid` where there can be none."""
    if len(key) + len(WAITING) > 127:
        raise Invalid(f"{key} has no stages: its name has more than {127 - len(WAITING)} characters")
    return key + WAITING


def has_waiting(key: str) -> bool:
    return len(key) + len(WAITING) <= 127


def waiting_version(name: str) -> str:
    """The version of the waiting secret that a name such as p0123… means; '' where it means none."""
    return name[1:] if name.startswith("p") and is_version(name[1:]) else ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What our tag says of a version: which write it was, counted up; of which put; or what it is a copy of."""

    number: int = 0
    put: str = ""
    seal: str = ""
    stands_for: str = ""

    def __str__(self) -> str:
        return f"{self.number} as {self.stands_for}" if self.stands_for else f"{self.number} put {self.put} {self.seal}"


def stamp_of(tags: Mapping[str, str] | None) -> Stamp:
    """What a version's tags say; of one that others made, nothing."""
    found = _STAMP.fullmatch((tags or {}).get(TAG, ""))
    if found is None:
        return Stamp()
    return Stamp(int(found["number"]), found["put"] or "", found["seal"] or "", found["name"] or "")


def others(tags: Mapping[str, str] | None) -> dict[str, str]:
    """A version's tags without ours."""
    return {name: text for name, text in (tags or {}).items() if name != TAG}


@dataclass(frozen=True, slots=True)
class Row:
    """A secret, or with ``version`` one of its versions, in a list."""

    name: str
    version: str
    created: datetime | None
    updated: datetime | None
    is_enabled: bool
    tags: Mapping[str, str]
    content_type: str | None


def weight_of(row: Row) -> int:
    """Bytes, about: what it costs to keep it."""
    return 500 + len(row.name) + sum(100 + len(name) + len(text) for name, text in row.tags.items())


@dataclass(frozen=True, slots=True)
class Entry:
    """One version in a list of them, without its value."""

    version: str
    created: datetime | None
    is_enabled: bool
    stamp: Stamp
    tags: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None

    @property
    def name(self) -> str:
        """What it is called: a copy goes by the name of what it was made of, and stands for it."""
        return self.stamp.stands_for or self.version


def entries(found: Iterable[Row]) -> list[Entry]:
    """The versions of one secret as a vault lists them, in any order; here the newest comes first.

    Whoever makes a version by hand may take our tag along with the others: it is the first one's alone.
    """
    made = [Entry(each.version, each.created, each.is_enabled, stamp_of(each.tags), others(each.tags), each.content_type) for each in found]
    made.sort(key=_age)
    seen = set[Stamp]()
    for at, each in enumerate(made):
        if each.stamp in seen:
            made[at] = Entry(each.version, each.created, each.is_enabled, Stamp(), each.tags, each.content_type)
        elif each.stamp != Stamp():
            seen.add(each.stamp)
    made.sort(key=_age)
    return made[::-1]


def is_certain(newest_first: list[Entry]) -> bool:
    """Whether the first is the current one for sure: of two that others made in one second a list cannot tell which came later."""
    at_once = [each for each in newest_first if each.created == newest_first[0].created]
    return len(at_once) < 2 or all(each.stamp.number for each in at_once)


def fingerprint(updated: datetime | None, told_at: datetime | None) -> str:
    """Of what was changed then, as it was seen at ``told_at`` by the vault's clock.

    It is another one while the change is young, so that whoever saw it then looks again.
    """
    if updated is None:
        return ""
    is_young = told_at is None or updated >= told_at - SECOND
    return f"{updated.timestamp():.0f}{'?' if is_young else ''}"


def _age(each: Entry) -> tuple[float, int]:
    return each.created.timestamp() if each.created else 0.0, each.stamp.number
