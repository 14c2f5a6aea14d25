"""How much is tried: ``EFFORT=short`` for every day, ``EFFORT=full`` with the counts that the docs name.

Nothing is skipped by it; only counts shrink. A test that counts says how far it went (`evidence.counted`).
"""

import os
import secrets
from typing import Final, TypeVar

import pytest

T = TypeVar("T")

_LEVELS = ("short", "full")
LEVEL: Final = os.environ.get("EFFORT", "short")
if LEVEL not in _LEVELS:
    raise pytest.UsageError(f"EFFORT is {LEVEL!r}; it can be {' or '.join(_LEVELS)}")
FULL: Final = LEVEL == "full"

# In the environment, so that all workers of one run draw from the same one.
SEED: Final = int(os.environ.setdefault("SEED", str(secrets.randbelow(2**32)) if FULL else "0"))
"""What all that is random in tests starts from, as in ``random.Random(f"{SEED} kills")``. SEED=N repeats a run."""


def effort(short: T, full: T) -> T:
    """The one or the other, by EFFORT."""
    return full if FULL else short
