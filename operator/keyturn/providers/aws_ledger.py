"""What AWS keeps of a secret, and what is about to be written to it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self

from keyturn.model.errors import Invalid, Unavailable
from keyturn.model.material import Version
from keyturn.model.sensitive import Sensitive
from keyturn.providers.aws_json import VersionEntry
from keyturn.providers.aws_names import AWSCURRENT, BY_ID, MOST_BYTES, NO_VALUE_YET, STAGES, is_id, time_of

PUT: Final = "keyturn-put"
"""The label of a version that is to become current, in the place of the one that was expected."""

_SHORTEST, _LONGEST = 32, 64
_TAGS: Final = 50
_LABELS: Final = 100
"""On a page. AWS takes 20 of a secret."""
_TAG_KEY, _TAG_VALUE = 128, 256
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ledger:
    """A secret's versions with their labels, and when each was made. ``is_deleted``: it is marked for deletion."""

    versions: Mapping[str, frozenset[str]]
    created: Mapping[str, datetime]
    is_deleted: bool = False

    @classmethod
    def of(cls, entries: Sequence[VersionEntry], *, is_deleted: bool) -> Self:
        """From a list of versions, in whatever order."""
        versions = {entry.version_id: frozenset(entry.version_stages or ()) for entry in entries}
        created = {entry.version_id: time_of(entry.created_date) or _LONG_AGO for entry in entries}
        return cls(versions, created, is_deleted)

    def has_grown(self, before: "Ledger", but: str) -> bool:
        """Whether it has a version more than before, ``but`` this one, or another one is current."""
        return bool(self.versions.keys() - before.versions.keys() - {but}) or self.holder(AWSCURRENT) != before.holder(AWSCURRENT)

    def holder(self, label: str) -> str:
        """The version that has a label; '' where none has."""
        return next((version for version, labels in self.versions.items() if label in labels), "")

    def is_current(self, version: str) -> bool:
        """Whether a version is the one that is read; '' is none."""
        current = self.holder(AWSCURRENT)
        return version == ("" if current == NO_VALUE_YET or self.is_deleted else current)


@dataclass(frozen=True, slots=True)
class Write:
    """One put, as AWS has it."""

    name: str
    payload: Mapping[str, str | bytes] = field(repr=False)
    token: str
    label: str
    tags: Mapping[str, str] | None = None

    @property
    def version(self) -> dict[str, str | bytes]:
        """The parameters that make its version."""
        return {"ClientRequestToken": self.token, **self.payload}


def payload(key: str, data: Sensitive) -> dict[str, str | bytes]:
    """A value as AWS takes it: as text where it is one. Raises `Invalid`."""
    if not data:
        raise Invalid(f"{key}: AWS takes no value of no bytes")
    if len(data) > MOST_BYTES:
        raise Invalid(f"{key} is too large: AWS takes {MOST_BYTES >> 10} KiB")
    try:
        return {"SecretString": data.reveal().decode()}
    except UnicodeDecodeError:
        return {"SecretBinary": data.reveal()}


def check_token(token: str) -> None:
    """Raises `Invalid` for what can be no version's id."""
    if not _SHORTEST <= len(token) <= _LONGEST or any(not "!" <= char <= "~" for char in token) or token == NO_VALUE_YET:
        raise Invalid(f"a put's token has {_SHORTEST} to {_LONGEST} characters of ASCII, and no space")


def check_tags(key: str, tags: Mapping[str, str] | None) -> None:
    """Raises `Invalid` for tags that AWS does not take."""
    for name, text in (tags or {}).items():
        if not 1 <= len(name) <= _TAG_KEY or len(text) > _TAG_VALUE or name.lower().startswith("aws:"):
            raise Invalid(f"{key}: AWS takes tags of 1 to {_TAG_KEY} characters with {_TAG_VALUE} at most, none of which begins with aws:")
    if len(tags or {}) > _TAGS:
        raise Invalid(f"{key}: AWS takes {_TAGS} tags")


def check_page(name: str, page: Sequence[VersionEntry]) -> None:
    """Raises `Unavailable` for what is no list of versions of AWS's: what is kept of one has an end."""
    if sum(len(entry.version_stages or ()) for entry in page) > _LABELS or not all(is_id(entry.version_id) for entry in page):
        raise Unavailable(f"AWS's list of the versions of {name} is none")


def versions_of(ledger: Ledger) -> list[Version]:
    """The newest first, without the one that only stands in, and without what has not become current yet."""
    shown = {version: labels for version, labels in ledger.versions.items() if version != NO_VALUE_YET and labels != {PUT}}
    return [
        Version(
            f"{BY_ID}{version}",
            frozenset(STAGES.get(label, label) for label in shown[version] if label != PUT and not ledger.is_deleted),
            ledger.created[version],
            not ledger.is_deleted,
            version,
        )
        for version in sorted(shown, key=lambda version: ledger.created[version], reverse=True)
    ]
