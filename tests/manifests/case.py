"""A refused manifest and its accepted twin."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from keyturn.model.ids import Kind
from manifests.bases import BASES, REF, Json

ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Case:
    """``path`` is the field that differs between the twins.

    ``says`` are words of the remedy, and ``parser_says`` those of our own parser where the API server
    has words of its own. ``where`` is the field that the message names, where it is another.
    """

    base: str
    path: str
    good: object
    bad: object
    says: str
    parser_says: str = ""
    where: str = ""

    @property
    def kind(self) -> Kind:
        return BASES[self.base][0]

    @property
    def named(self) -> str:
        """The path that the message has to name."""
        return f"spec.{self.where or self.path}".rstrip(".")

    @property
    def accepted(self) -> Json:
        return put(BASES[self.base][1], self.path, self.good)

    @property
    def refused(self) -> Json:
        return put(BASES[self.base][1], self.path, self.bad)

    def __str__(self) -> str:
        return f"{self.base}: {self.path}={'absent' if self.bad is ABSENT else str(self.bad)[:24]}"


def put(spec: Json, path: str, value: object) -> Json:
    """A copy of the spec with one field set, or taken out."""
    copy = deepcopy(spec)
    at: Any = copy
    *way, last = [int(step) if step.isdecimal() else step for step in path.replace("[", ".").replace("]", "").split(".")]
    for step in way:
        at = at[step] if isinstance(step, int) else at.setdefault(step, {})
    if value is ABSENT:
        at.pop(last, None)
    elif isinstance(last, int) and last == len(at):
        at.append(value)
    else:
        at[last] = value
    return copy


def unknown_word(base: str, path: str, good: str) -> Case:
    """A field that takes one of some words."""
    return Case(base, path, good, "Sometimes", "supported values:", "must be one of")


def required(base: str, path: str, good: object) -> Case:
    """A field that must be there."""
    return Case(base, path, good, ABSENT, "Required value", "is required; add it")


def no_key(base: str, path: str) -> Case:
    """A reference to a key of a Secret that has no key by default."""
    return Case(base, path, REF, {"name": REF["name"]}, "Required value", "is required; add it", f"{path}.key")


TOO_LONG = ("may not be more than", "characters; shorten it")
EMPTY = ("should be at least 1 chars long", "must not be empty")
