"""Text as it may be printed: what a terminal would obey, or a reader be deceived by, is spelled out."""

import re
from typing import Final

COMMANDS: Final = r"\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""Controls (C0, DEL, C1), ends of lines and paragraphs, and what turns the direction of writing, for a set of a pattern."""

_COMMANDS: Final = re.compile(f"[{COMMANDS}]")


def printed(text: str) -> str:
    """This text on one line; within JSON it says the same."""
    return _COMMANDS.sub(spelled, text)


def spelled(found: re.Match[str]) -> str:
    """A sign as JSON spells it."""
    return f"\\u{ord(found[0]):04x}"
