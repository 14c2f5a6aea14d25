"""JSON that gives back what it took: numbers keep their digits, members their order, and no name stands twice.

``json`` alone turns 1.0e3 into 1000.0, takes NaN, and lets the last of two equal names win; each
would change a secret silently. Errors say what and in which line, never a word of the text.
"""

import json
import re
from json.encoder import encode_basestring
from typing import Never, cast

from keyturn.model.errors import Invalid

MAX_DEPTH = 100


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


Json = dict[str, "Json"] | list["Json"] | str | Number | bool | None

# Possessive, and content with a string that never ends: else a hostile text costs its length squared.
_BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|([\]}])', re.DOTALL)


def parse(text: str) -> Json:
    """Reads one JSON value; raises `Invalid`."""
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise Invalid(f"JSON deeper than {MAX_DEPTH} levels")
    try:
        return cast("Json", _DECODER.decode(text))
    except json.JSONDecodeError as error:
        # Not raised from here: the decoder's error holds the whole text.
        problem = f"no JSON (line {error.lineno})"
    except _UnwantedError as error:
        problem = str(error)
    raise Invalid(problem)


def write(value: Json) -> str:
    """Writes JSON without white space, with the numbers as they were read."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Number():
            return str(value)
        case str():
            return encode_basestring(value)
        case list():
            return f"[{','.join(map(write, value))}]"
        case dict():
            return "{" + ",".join(f"{encode_basestring(name)}:{write(member)}" for name, member in value.items()) + "}"


def text_of(value: Json) -> str:
    """What a Secret's key gets for a member: a string's own text, the JSON of anything else."""
    return str(value) if isinstance(value, str) else write(value)


class _UnwantedError(ValueError):
    """JSON for Python's decoder, yet not for us."""


def _members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _UnwantedError("JSON with two members of one name in an object")
    return members


def _refuse_constant(_: str) -> Never:
    raise _UnwantedError("JSON knows no NaN or Infinity")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant)


def _depth(text: str) -> int:
    depth = deepest = 0
    for found in _BRACKETS.finditer(text):
        if found[1]:
            depth += 1
            deepest = max(deepest, depth)
        elif found[2]:
            depth -= 1
    return deepest
