"""How a log-in's token ages: when it is used as it is, renewed, or replaced by a new log-in.

Arithmetic alone. Time is seconds of any monotonic clock, chance a number in [0, 1).
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

RENEW_AT: Final = 2 / 3
"""The part of its life after which a token is renewed: a server that is away for the last third of it is lived through."""

REPLACE_AT: Final = 9 / 10
"""The same for a token that cannot be renewed: its last tenth is left for answers that are on their way."""

SPREAD: Final = 0.1
"""Up to this part earlier, so that many that logged in together do not come back together."""


class Care(Enum):
    """What a token needs before its next use."""

    NONE = "None"
    RENEWAL = "Renewal"
    REPLACEMENT = "Replacement"


@dataclass(frozen=True, slots=True)
class Life:
    """What a server said of a token's life, and when it is looked at again. ``length_s`` is the life that was granted."""

    length_s: float = 0.0
    is_renewable: bool = False
    due_at_s: float = math.inf
    ends_at_s: float = math.inf


FOREVER: Final = Life()
"""Of a token that does not end, or whose life is somebody else's care."""


def grant(now_s: float, length_s: float, *, is_renewable: bool, chance: float) -> Life:
    """The life of a token that was given at ``now_s``. A length of 0 is a token that does not end."""
    if length_s <= 0:
        return FOREVER
    due_s = due_after_s(length_s, chance, part=RENEW_AT if is_renewable else REPLACE_AT)
    return Life(length_s, is_renewable, now_s + due_s, now_s + length_s)


def due_after_s(length_s: float, chance: float, *, part: float = RENEW_AT) -> float:
    """How long a token that was given for so long is used as it is."""
    return length_s * part * (1 - SPREAD * chance)


def care(life: Life, now_s: float) -> Care:
    """What a token of this life needs now. One that has ended is not worth a request."""
    if now_s < life.due_at_s:
        return Care.NONE
    return Care.RENEWAL if life.is_renewable and now_s < life.ends_at_s else Care.REPLACEMENT


def is_worn(before: Life, length_s: float) -> bool:
    """Whether a renewal gave less than the log-in did: the token nears the end that no renewal moves."""
    return 0 < length_s < before.length_s
