"""The names of what engine 2 has no names for: stages, versions that wait, and what is kept about a key."""

import re
from typing import Final

from keyturn.model.material import CURRENT, PENDING, PREVIOUS, SourceRef

OURS: Final = "keyturn-"
"""Before all that we keep in custom metadata, which is no tag of anybody's."""

WAITING: Final = "keyturn-pending"
"""The folder beneath which keys are kept that wait for a promotion. It is not listed, and not read but as a stage."""

_WAITING: Final = re.compile(r"p([1-9][0-9]{0,8})", re.ASCII)


def is_hidden(inner: str) -> bool:
    """Says that a key, within its engine, is one of those that wait."""
    return inner.partition("/")[0] == WAITING


def waiting(inner: str) -> str:
    """Where what waits for a promotion to this key is kept."""
    return f"{WAITING}/{inner}"


def number_of(version: str) -> int:
    """The number of a version that waits, or waited: 3 for p3. 0 for all other names."""
    found = _WAITING.fullmatch(version)
    return int(found[1]) if found else 0


def is_staged(ref: SourceRef) -> bool:
    """Says that a reference is to a stage, or to a version that waits or waited."""
    return ref.version in {CURRENT, PREVIOUS, PENDING} or number_of(ref.version) > 0
