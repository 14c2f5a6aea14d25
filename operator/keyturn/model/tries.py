r"""How many ways a regular expression may have to be tried on a name, at most, told from its text.

Python's own matcher goes back over every choice, so that ``(a+)+$`` takes longer than a day on a name that a tenant picks.
Counts what can multiply, and rather too much of it; that the text is an expression at all, it takes for granted.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

LONGEST_NAME: Final = 64
MOST: Final = 1 << 20
"""So many take less than a tenth of a second."""

_TOKEN: Final = re.compile(
    r"(?P<back>\\[0-9]|\(\?(?!:))"
    r"|(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<open>\((?:\?:)?)|(?P<close>\))|(?P<bar>\|)"
    r"|(?P<maybe>\?[?+]?)|(?P<count>\{[0-9]+\})|(?P<repeat>(?:[*+]|\{[0-9]*,[0-9]*\})[?+]?)"
    r"|(?P<other>.)",
    re.DOTALL,
)


@dataclass(slots=True)
class _Group:
    """What is open: the product of its choices so far, the alternatives, and the choices within its last part."""

    tries: float = 1
    bars: int = 0
    last: float = 1

    def add(self, tries: float) -> None:
        self.tries, self.last = self.tries * tries, tries

    @property
    def all(self) -> float:
        return self.tries * (self.bars + 1)


def tries(pattern: str) -> float:
    """At most so many, on a name of 63 characters in which it is searched for; infinite where nobody can say."""
    groups = [_Group()]
    for token in _TOKEN.finditer(pattern):
        group = groups[-1]
        match token.lastgroup:
            case "back":
                return math.inf
            case "open":
                groups.append(_Group())
            case "close" if len(groups) > 1:
                groups.pop()
                groups[-1].add(group.all)
            case "bar":
                group.bars, group.last = group.bars + 1, 1
            case "maybe":
                group.tries *= 2
            case "count" | "repeat" if group.last > 1:
                # Each turn of it has its own choices, and they multiply by each other.
                return math.inf
            case "repeat":
                group.tries *= LONGEST_NAME
            case "count":
                pass
            case _:
                group.add(1)
    whole = groups[0]
    return whole.all * (1 if pattern.startswith("^") and not whole.bars else LONGEST_NAME)
