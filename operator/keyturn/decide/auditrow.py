"""An audit row as it may be stored: text that every database takes, and bytes that are the same wherever they are made.

The bytes are JSON by RFC 8785 (JSON Canonicalization Scheme): what was hashed once can be made again from the columns, by anybody.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from keyturn.model.audit import AuditRow

FORMAT: Final = 1
"""Of the canonical bytes; another layout takes another number."""
LONGEST: Final = 1024
"""Characters of a text, names of keys included."""
MOST_NAMES: Final = 256

# What a database or a reader chokes on: controls, and halves of characters that no UTF-8 has.
_BAD: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_encode: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def cleaned(row: AuditRow) -> AuditRow:
    """The same row in text that is bounded, and holds nothing that a database refuses. Signs that it may not hold are spelled out."""
    texts: dict[str, Any] = {name: _text(getattr(row, name)) for name in _TEXTS}
    keys = tuple(_text(key) for key in row.keys[:MOST_NAMES])
    details = {_text(name): _text(text) for name, text in list(row.details.items())[:MOST_NAMES]}
    if len(row.keys) > MOST_NAMES:
        details["keys"] = str(len(row.keys))
    return replace(row, keys=keys, details=details, **texts)


def canonical(seq: int, row: AuditRow) -> bytes:
    """The bytes that the chain is made of. ``row`` is `cleaned`, so that there are no signs that the two ways to sort differ in."""
    return _encode(
        {
            "action": row.action,
            "actor": row.actor,
            "at": moment(row.at),
            "attempt": row.attempt,
            "details": dict(row.details),
            "event": row.event,
            "keys": row.keys,
            "outcome": row.outcome,
            "reason": row.reason,
            "seq": seq,
            "settles": row.settles,
            "subject": row.subject,
            "target": row.target,
            "trigger": row.trigger,
            "v": FORMAT,
        }
    ).encode()


def spelled(names: tuple[str, ...] | Mapping[str, str]) -> str:
    """Names, or details, as a column holds them."""
    return _encode(dict(names) if isinstance(names, Mapping) else names)


def moment(at: datetime) -> str:
    """A time in UTC to the microsecond, always as long."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}Z"


_TEXTS: Final = ("event", "actor", "action", "subject", "target", "trigger", "attempt", "settles", "outcome", "reason")


def _text(text: str) -> str:
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 1]}…"
    return text if text.isascii() and text.isprintable() else _BAD.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
