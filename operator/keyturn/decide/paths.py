r"""Paths into JSON: ``a.b`` is member b of member a, ``a.0.b`` takes the first of a list, ``a\.b`` is one name.

A backslash takes the next character as it is. There are no wildcards, queries or negative indices:
a path means one value, or nothing.
"""

from keyturn.decide.jsontext import Json
from keyturn.model.errors import Rejected


def split(path: str) -> tuple[str, ...]:
    """Cuts a path into names; raises `Rejected` for one that ends in a lone backslash."""
    names = [""]
    rest = iter(path)
    for char in rest:
        if char == ".":
            names.append("")
        elif char == "\\":
            escaped = next(rest, None)
            if escaped is None:
                raise Rejected(f"property {path!r} ends in a lone backslash; write two for a backslash")
            names[-1] += escaped
        else:
            names[-1] += char
    return tuple(names)


def find(value: Json, names: tuple[str, ...]) -> Json:
    """Walks down; raises `LookupError` where a name or index is not there, or its holder has no members."""
    for name in names:
        match value:
            case dict() if name in value:
                value = value[name]
            case list() if _is_index(name) and int(name) < len(value):
                value = value[int(name)]
            case _:
                raise LookupError(name)
    return value


def _is_index(name: str) -> bool:
    # Nine digits are more than any list here holds, and short enough for int().
    return name.isascii() and name.isdigit() and len(name) <= 9 and (name == "0" or name[0] != "0")
