"""What a secret of Secret Manager says of its versions: by aliases which is current, previous and pending, by annotations who put what.

A put is noted before it is made, with the number that was there, and after it with the one that it has. Pure: it reads what an
answer told, and says how it has to be changed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from keyturn.model.material import CURRENT, PENDING, PREVIOUS
from keyturn.providers.put_mark import Mark

FRESH_S: Final = 60.0
"""How long a put that was noted and is not done counts as being under way: longer than any call of ours lasts."""
_FORGOTTEN_S: Final = 86400.0
_KEPT: Final = 24
"""Puts that are known by their tokens. Annotations of a secret have 16 KiB in all, of which most are left to others."""

# A name of an annotation begins and ends with a letter or digit, which a mark need not.
_NAME: Final = re.compile("keyturn-(?P<mark>[A-Za-z0-9_-]{24})-put")
_TEXT: Final = re.compile(r"(?:open (?P<base>[0-9]{1,18}) (?P<since>[0-9]{1,12})|(?P<number>[0-9]{1,18})) (?P<seal>[A-Za-z0-9_-]{24})")


@dataclass(frozen=True, slots=True)
class Note:
    """One put. ``number`` is the version that it made, 0 while none is known; ``base`` the one that was there before."""

    seal: str
    number: int = 0
    base: int = 0
    since_s: int = 0

    @classmethod
    def read(cls, text: str) -> Self | None:
        found = _TEXT.fullmatch(text)
        return cls(found["seal"], *(int(found[each] or 0) for each in ("number", "base", "since"))) if found else None

    def __str__(self) -> str:
        return f"{self.number} {self.seal}" if self.number else f"open {self.base} {self.since_s} {self.seal}"


@dataclass(frozen=True, slots=True)
class Book:
    """A secret as it stood at ``etag``.

    ``current`` is the number that is read without a version, 0 where none is; ``vacant`` that of a version which stands for none.
    ``newest`` is the number by which `latest` goes where there is no alias, else what the alias stands for.
    """

    etag: str
    aliases: Mapping[str, int]
    annotations: Mapping[str, str] = field(repr=False)
    current: int = 0
    vacant: int = 0
    newest: int = 0
    is_delayed: bool = False

    @classmethod
    def of(cls, secret: Any) -> Self:
        """What an answer tells; which version is current takes another one."""
        aliases = {str(name): int(number) for name, number in secret.version_aliases.items()}
        annotations = {str(name): str(text) for name, text in secret.annotations.items()}
        return cls(secret.etag, aliases, annotations, is_delayed="version_destroy_ttl" in secret)

    @property
    def is_pinned(self) -> bool:
        """Whether an alias says what is current, so that a version more changes nothing."""
        return CURRENT in self.aliases

    @property
    def notes(self) -> Mapping[str, Note]:
        """By the names of marks."""
        found = ((_NAME.fullmatch(name), Note.read(text)) for name, text in self.annotations.items())
        return {name["mark"]: note for name, note in found if name and note}

    def note(self, mark: Mark) -> Note | None:
        return self.notes.get(mark.name)

    def has_rival(self, mark: Mark, now_s: float) -> bool:
        """Whether another put is under way."""
        return any(name != mark.name and not note.number and note.since_s > now_s - FRESH_S for name, note in self.notes.items())

    def taken(self) -> frozenset[int]:
        """The numbers of versions that puts have made."""
        return frozenset(note.number for note in self.notes.values() if note.number)

    def noted(self, mark: Mark, note: Note | None, now_s: float) -> dict[str, str]:
        """The annotations with this note, or without it, and without those that make room for it."""
        gone = {_named(name) for name in self._outdated(now_s)} | {_named(mark.name)}
        kept = {name: text for name, text in self.annotations.items() if name not in gone}
        return kept | ({_named(mark.name): str(note)} if note else {})

    def forgotten(self) -> dict[str, str]:
        """The annotations without any note of ours."""
        return {name: text for name, text in self.annotations.items() if not _NAME.fullmatch(name)}

    def staged(self, stage: str, number: int) -> dict[str, int]:
        """The aliases once this version has this stage."""
        aliases = dict(self.aliases)
        if stage == CURRENT:
            if self.current != number:
                aliases.pop(PREVIOUS, None)
                if self.current:
                    aliases[PREVIOUS] = self.current
            if aliases.get(PENDING) == number:
                del aliases[PENDING]
        return aliases | {stage: number}

    def pinned(self) -> dict[str, int]:
        """The aliases once what is current stays so whatever is added."""
        number = self.current or self.vacant
        return dict(self.aliases) | ({CURRENT: number} if number and not self.is_pinned else {})

    def without(self, number: int) -> "Book":
        """As it stood before a version was added that nothing is said of."""
        return self if self.is_pinned or self.current != number else replace(self, current=0)

    def unstaged(self) -> dict[str, int]:
        """The aliases without those of ours."""
        return {name: number for name, number in self.aliases.items() if name not in {CURRENT, PREVIOUS, PENDING}}

    def standing(self, number: int, *, is_vacant: bool, is_there: bool) -> "Book":
        """With what is read at present."""
        return replace(self, newest=number, current=number if is_there and not is_vacant else 0, vacant=number if is_vacant else 0)

    def _outdated(self, now_s: float) -> list[str]:
        notes = self.notes
        done = sorted((note.number, name) for name, note in notes.items() if note.number)
        dead = [name for name, note in notes.items() if not note.number and note.since_s < now_s - _FORGOTTEN_S]
        return [name for _, name in done[: max(0, len(done) - _KEPT + 1)]] + dead


def _named(mark: str) -> str:
    return f"keyturn-{mark}-put"
