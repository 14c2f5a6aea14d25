"""An audit row as it may be stored: text that every database takes, and bytes that are the same wherever they are made.

The bytes are JSON by RFC 8785 (JSON Canonicalization Scheme): what was hashed once can be made again from the columns, by anybody.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring as quoted
from typing import Any, Final

from keyturn.decide.printable import COMMANDS, spelled
from keyturn.model.audit import AuditRow

FORMAT: Final = 1
"""Of the canonical bytes; another layout takes another number."""
LONGEST: Final = 1024
"""Characters of a text, names of keys included."""
MOST_BYTES: Final = 2048
"""Bytes of a text in UTF-8: an index of PostgreSQL's takes no more than 2,704 in a row."""
MOST_NAMES: Final = 256

Texts = Mapping[str, str]
"""What stands in a row's columns of text, by their names."""

NAMES: Final = ("event", "actor", "action", "subject", "target", "trigger", "attempt", "settles", "outcome", "reason")
"""Columns that hold a text as it is."""
COLUMNS: Final = (*NAMES, "at", "keys", "details")

# Halves of characters, which no UTF-8 has, beside what a terminal would obey.
_BAD: Final = re.compile(f"[{COMMANDS}\ud800-\udfff]")
_encode: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def texts_of(row: AuditRow) -> Texts:
    """Its columns: bounded, and without what a database refuses. Signs that they may not hold are spelled out.

    The row that `row_of` makes of them has the same columns: it may come again from a spool, and is known by them.
    """
    has_more = len(row.keys) > MOST_NAMES
    keys = [_text(key) for key in row.keys[:MOST_NAMES]]
    details = {_text(name): _text(text) for name, text in list(row.details.items())[: MOST_NAMES - has_more]}
    if has_more:
        details["keys"] = str(len(row.keys))
    texts = {name: _text(getattr(row, name)) for name in NAMES}
    return texts | {"at": moment(row.at), "keys": _encode(keys), "details": _encode(details)}


def row_of(texts: Texts) -> AuditRow:
    """The row that these columns tell of, whoever wrote them: what is none of ours comes out empty."""
    keys = tuple(key for key in _decoded(texts["keys"], list) if isinstance(key, str))
    details = {name: text for name, text in _decoded(texts["details"], dict).items() if isinstance(text, str)}
    return AuditRow(at=_time(texts["at"]), keys=keys, details=details, **{name: texts[name] for name in NAMES})


def canonical(seq: int, texts: Texts) -> bytes:
    """The bytes that the chain is made of.

    Keys and details stand in it as in their columns. No other columns make the same bytes: each name is there once, and within a
    text there is no bare quote.
    """
    t = texts
    return (
        f'{{"action":{quoted(t["action"])},"actor":{quoted(t["actor"])},"at":{quoted(t["at"])},"attempt":{quoted(t["attempt"])}'
        f',"details":{t["details"]},"event":{quoted(t["event"])},"keys":{t["keys"]},"outcome":{quoted(t["outcome"])}'
        f',"reason":{quoted(t["reason"])},"seq":{seq},"settles":{quoted(t["settles"])},"subject":{quoted(t["subject"])}'
        f',"target":{quoted(t["target"])},"trigger":{quoted(t["trigger"])},"v":{FORMAT}}}'
    ).encode("utf-8", "surrogatepass")


def read_entry(entry: bytes) -> tuple[int, Texts] | None:
    """The number and the columns of the row that these bytes were made of; None where they are no row's."""
    try:
        facts = json.loads(entry.decode())
        texts = {name: facts[name] for name in (*NAMES, "at")} | {name: _encode(facts[name]) for name in ("keys", "details")}
        seq = facts["seq"]
        return (seq, texts) if type(seq) is int and canonical(seq, texts) == entry else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def moment(at: datetime) -> str:
    """A time in UTC to the microsecond, always as long."""
    return f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return _NEVER


def _decoded(text: str, kind: type[Any]) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return kind()
    return found if isinstance(found, kind) else kind()


def _text(text: str) -> str:
    text = _cut(text)
    if text.isascii() and text.isprintable():
        return text
    return _cut(_BAD.sub(spelled, text))


def _cut(text: str) -> str:
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 1]}…"
    if 4 * len(text) > MOST_BYTES and not text.isascii() and len(whole := text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        text = f"{whole[: MOST_BYTES - 3].decode('utf-8', 'ignore')}…"
    return text
