"""What a project of Secret Manager holds, and what it refuses: the rules of the server that ``google_secrets`` speaks for.

Never kinder than Google: names, sizes, states, aliases and etags are looked at as its documentation says, and where that says
nothing the stricter of two readings is taken, such as for an alias to a version that is destroyed.
"""

import copy
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

MOST_BYTES: Final = 65536
MOST_ALIASES: Final = 50
MOST_LABELS: Final = 64
MOST_ANNOTATION_BYTES: Final = 16384

_ID: Final = re.compile("[A-Za-z0-9_-]{1,255}")
_ALIAS: Final = re.compile("[A-Za-z][A-Za-z0-9_-]{0,62}")
_RESERVED: Final = frozenset({"latest", "NEW"})
_LABEL: Final = re.compile("[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE: Final = re.compile("[a-z0-9_-]{0,63}")
_ANNOTATION: Final = re.compile("[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_FILTER: Final = re.compile(r"name:(?P<name>[A-Za-z0-9_-]+)|labels\.(?P<label>[a-z0-9_-]+)=(?P<value>[a-z0-9_-]*)")

ENABLED, DISABLED, DESTROYED = "ENABLED", "DISABLED", "DESTROYED"


class Refused(Exception):  # as the server's errors are named
    """An answer that is an error: a status by its name, and where it asks for a pause its seconds."""

    def __init__(self, status: str, prose: str, pause_s: float | None = None) -> None:
        super().__init__(prose)
        self.status = status
        self.pause_s = pause_s


@dataclass(slots=True)
class HeldVersion:
    """One version. Of one that is destroyed there are no data any more."""

    number: int
    data: bytes = field(repr=False)
    created: datetime
    state: str = ENABLED
    goes_at: datetime | None = None


@dataclass(slots=True)
class HeldSecret:
    """One secret. ``change`` makes its etag, and counts changes of the secret itself, not versions that are added."""

    name: str
    created: datetime
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    versions: list[HeldVersion] = field(default_factory=list)
    destroys_after: timedelta | None = None
    change: int = 1

    @property
    def etag(self) -> str:
        return f'"{self.change:014x}"'


class Project:
    """The secrets of one project and place.

    ``lag_s``: only a version that is named by its number is seen at once. Lists, aliases, `latest`, and what is told of a secret
    are as they were so long ago.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, lag_s: float = 0.0) -> None:
        self.secrets: dict[str, HeldSecret] = {}
        self.clock = clock
        self.lag_s = lag_s
        self._past: dict[str, list[tuple[float, HeldSecret]]] = {}

    def create(self, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> HeldSecret:
        if not _ID.fullmatch(name):
            raise Refused("INVALID_ARGUMENT", "the provided Secret ID is not in the expected format")
        if name in self.secrets:
            raise Refused("ALREADY_EXISTS", f"Secret [{name}] already exists")
        made = HeldSecret(name, self._now())
        _check_texts(labels, annotations)
        made.labels, made.annotations = dict(labels), dict(annotations)
        self.secrets[name] = made
        return self._noted(made)

    def secret(self, name: str) -> HeldSecret:
        if name not in self.secrets:
            raise Refused("NOT_FOUND", f"Secret [{name}] not found")
        return self.secrets[name]

    def seen(self, name: str) -> HeldSecret:
        """As whoever asks for it is told."""
        live = self.secret(name)
        if not self.lag_s:
            return live
        past = [held for at, held in self._past[name] if at <= self.clock() - self.lag_s]
        if not past:
            raise Refused("NOT_FOUND", f"Secret [{name}] not found")
        return past[-1]

    def update(self, name: str, etag: str, changes: Mapping[str, Mapping[str, str] | Mapping[str, int]]) -> HeldSecret:
        """Whole maps, all of them or none."""
        held = self.secret(name)
        if etag and etag != held.etag:
            raise Refused("FAILED_PRECONDITION", "the etag provided does not match the current one")
        labels = {str(key): str(text) for key, text in changes.get("labels", held.labels).items()}
        annotations = {str(key): str(text) for key, text in changes.get("annotations", held.annotations).items()}
        aliases = {str(key): int(number) for key, number in changes.get("version_aliases", held.aliases).items()}
        _check_texts(labels, annotations)
        self._check_aliases(held, aliases)
        held.labels, held.annotations, held.aliases = labels, annotations, aliases
        held.change += 1
        return self._noted(held)

    def add(self, name: str, data: bytes) -> HeldVersion:
        held = self.secret(name)
        if not data:
            raise Refused("INVALID_ARGUMENT", "Secret Payload cannot be empty")
        if len(data) > MOST_BYTES:
            raise Refused("INVALID_ARGUMENT", f"the payload is larger than {MOST_BYTES} bytes: {data[:40]!r}")
        held.versions.append(HeldVersion(len(held.versions) + 1, data, self._now()))
        self._noted(held)
        return held.versions[-1]

    def version(self, name: str, word: str) -> HeldVersion:
        """By its number, an alias, or `latest`: the one that was made last, whatever its state."""
        held = self.secret(name)
        self._destroy_due(held)
        if word.isdecimal() and word.isascii():
            number = int(word)
        else:
            told = self.seen(name)
            number = len(told.versions) if word == "latest" else told.aliases.get(word, 0)
        if not 1 <= number <= len(held.versions):
            raise Refused("NOT_FOUND", f"Secret Version [{name}/versions/{word}] not found")
        return held.versions[number - 1]

    def access(self, name: str, word: str) -> HeldVersion:
        found = self.version(name, word)
        if found.state != ENABLED:
            raise Refused("FAILED_PRECONDITION", f"Secret Version [{name}/versions/{found.number}] is in {found.state} state.")
        return found

    def set_state(self, name: str, word: str, state: str) -> HeldVersion:
        found = self.version(name, word)
        if found.state == DESTROYED:
            raise Refused("FAILED_PRECONDITION", f"Secret Version [{name}/versions/{found.number}] is in {DESTROYED} state.")
        delay = self.secret(name).destroys_after
        found.goes_at = None
        if state == DESTROYED and delay is not None:
            found.state, found.goes_at = DISABLED, self._now() + delay
        else:
            found.state = state
        if found.state == DESTROYED:
            found.data = b""
        self._noted(self.secret(name))
        return found

    def listed(self, asked: str) -> list[HeldSecret]:
        """In the order of their names. Other filters than by name and label are refused, not ignored."""
        found = [self.seen(name) for name in sorted(self.secrets) if self._is_seen(name)]
        if not asked:
            return found
        if not (wanted := _FILTER.fullmatch(asked)):
            raise Refused("INVALID_ARGUMENT", f"the filter {asked!r} is not understood")
        if wanted["name"]:
            return [held for held in found if wanted["name"].lower() in held.name.lower()]
        return [held for held in found if held.labels.get(wanted["label"]) == wanted["value"]]

    def _noted(self, held: HeldSecret) -> HeldSecret:
        self._past.setdefault(held.name, []).append((self.clock(), copy.deepcopy(held)))
        return held

    def _is_seen(self, name: str) -> bool:
        return not self.lag_s or any(at <= self.clock() - self.lag_s for at, _ in self._past[name])

    def _check_aliases(self, held: HeldSecret, aliases: Mapping[str, int]) -> None:
        if len(aliases) > MOST_ALIASES:
            raise Refused("INVALID_ARGUMENT", f"a secret has at most {MOST_ALIASES} aliases")
        for alias, number in aliases.items():
            if held.aliases.get(alias) == number:
                continue
            if alias in _RESERVED or not _ALIAS.fullmatch(alias):
                raise Refused("INVALID_ARGUMENT", f"{alias!r} is no alias")
            if not 1 <= number <= len(held.versions) or held.versions[number - 1].state == DESTROYED:
                raise Refused("INVALID_ARGUMENT", f"the alias {alias!r} is for a version that is not there")

    def _destroy_due(self, held: HeldSecret) -> None:
        for version in held.versions:
            if version.goes_at is not None and version.goes_at <= self._now():
                version.state, version.data, version.goes_at = DESTROYED, b"", None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)


def _check_texts(labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    if len(labels) > MOST_LABELS or not all(_LABEL.fullmatch(key) and _LABEL_VALUE.fullmatch(text) for key, text in labels.items()):
        raise Refused("INVALID_ARGUMENT", "the labels are not in the expected format")
    if not all(_ANNOTATION.fullmatch(key) for key in annotations):
        raise Refused("INVALID_ARGUMENT", "an annotation's name is not in the expected format")
    if sum(len(key.encode()) + len(text.encode()) for key, text in annotations.items()) > MOST_ANNOTATION_BYTES:
        raise Refused("INVALID_ARGUMENT", f"the annotations are larger than {MOST_ANNOTATION_BYTES} bytes")
