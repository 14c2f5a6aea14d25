"""What a writer writes down about one file: what its versions are called, which puts there were, and what is being changed.

A version is known by its inode, time and size, which a rename leaves as they are: what others put in a version's place has another
name. Blocks: for threads alone.
"""

import json
import os
from dataclasses import dataclass, field
from typing import Any, Final, Self

from keyturn.model.errors import ProviderError
from keyturn.providers.beneath import FLAGS, LOOK_FLAGS, opener
from keyturn.providers.file_sources import KEPT, read_all

STATE: Final = ".state"
NEW, LAST, PREVIOUS, PENDING, DELETED = ".new", ".last", ".previous", ".pending", ".deleted"
_SLOTS: Final = {NEW, LAST, PREVIOUS, PENDING, DELETED}


@dataclass(slots=True)
class Doing:
    """A change that has begun. It is done once the file ``source`` has gone to its place.

    ``has_last``: what was current before is in `LAST`, and becomes `PREVIOUS`. ``clean`` goes in the end. ``put`` is its mark.
    """

    source: str
    has_last: bool = False
    clean: list[str] = field(default_factory=list)
    put: str = ""

    def __post_init__(self) -> None:
        # It is read from a file that others may have written, and says what is renamed and removed.
        if self.source not in _SLOTS or not set(self.clean) <= _SLOTS:
            message = "names a file that is none of ours"
            raise ValueError(message)


@dataclass(slots=True)
class State:
    """``names`` has the name and the time of each version, by what it is known by; ``puts`` seal and version, by the mark's name."""

    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    puts: dict[str, tuple[str, str]] = field(default_factory=dict)
    is_deleted: bool = False
    doing: Doing | None = None

    @classmethod
    def of(cls, text: bytes) -> Self:
        """Raises `ValueError`, `TypeError`, `KeyError` or `RecursionError` where this is none."""
        told: dict[str, Any] = json.loads(text)
        names, puts = ({str(key): (str(one), str(two)) for key, (one, two) in told[part].items()} for part in ("names", "puts"))
        return cls(names, puts, bool(told["is_deleted"]), Doing(**told["doing"]) if told["doing"] else None)


def ident(found: os.stat_result) -> str:
    """What a version is known by."""
    return f"{found.st_ino:x}.{found.st_mtime_ns:x}.{found.st_size:x}"


def name_of(state: State, found: os.stat_result) -> str:
    """The name of the version in a file: of ours the one that it was given, of others' one that its next change changes."""
    known = state.names.get(ident(found))
    return known[0] if known else f"x{ident(found)}.{found.st_ctime_ns:x}"


def state_beside(folder: int, key: str) -> State:
    """The state as it is written at this moment; an empty one where there is none that can be read."""
    above, slash, name = key.rpartition("/")
    try:
        descriptor = opener()(folder, f"{above}{slash}{KEPT}/{name}{STATE}", FLAGS | os.O_NOFOLLOW)
    except OSError:
        return State()
    try:
        return State.of(read_all(descriptor, os.fstat(descriptor).st_size, key))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ProviderError):
        return State()
    finally:
        os.close(descriptor)


def is_found(folder: int, key: str, version: os.stat_result | None = None) -> bool:
    """Says that there is a file of this key, and that it is this version where one is given."""
    try:
        descriptor = opener()(folder, key, LOOK_FLAGS)
    except OSError:
        return False
    try:
        return version is None or ident(os.fstat(descriptor)) == ident(version)
    finally:
        os.close(descriptor)
