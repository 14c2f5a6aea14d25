"""Durations as Go writes them: ``90s``, ``1h30m``, ``720h``, and a bare ``0``.

Specs and flags share this reading. It knows nothing of minima: what is too short depends on the field.
"""

import re

# Both micro signs, as Go takes them: U+00B5 and U+03BC.
PATTERN = "0|([0-9]{1,9}([.][0-9]{1,9})?(h|m|[mnu\u00b5\u03bc]?s)){1,6}"
REMEDY = "write a Go duration such as 90s, 1h30m or 720h"
LONGEST_S = 87_600 * 3600.0
"""Ten years. Longer ones are slips of the keyboard, and some of them would overflow Go's own type."""

_WHOLE = re.compile(PATTERN)
_PART = re.compile("([0-9.]+)([^0-9.]+)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: object) -> float:
    """Reads a duration. ValueError says what is wrong and what to write instead, without quoting the input."""
    if isinstance(duration, str) and _WHOLE.fullmatch(duration):
        total = sum((float(number) * _UNIT_S[unit] for number, unit in _PART.findall(duration)), 0.0)
        if total <= LONGEST_S:
            return total
        message = "is longer than ten years; write at most 87600h"
    elif isinstance(duration, int) and not isinstance(duration, bool):
        if duration == 0:
            return 0.0
        message = f"a bare number has no unit; {REMEDY}"
    else:
        message = f"is not a duration; {REMEDY}"
    raise ValueError(message)
