"""Names in AWS Secrets Manager: of secrets, of versions and of stages, and which version a list says to be which.

A version is named `uuid/` and its id, so that it is never taken for a staging label. Pure.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from keyturn.model.errors import Invalid, NotFound, Unavailable
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.aws_json import Entry, SecretValue, TaggedEntry

AWSCURRENT, AWSPREVIOUS, AWSPENDING = "AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"
LABELS: Final = {CURRENT: AWSCURRENT, PREVIOUS: AWSPREVIOUS, PENDING: AWSPENDING}
STAGES: Final = {label: stage for stage, label in LABELS.items()}

BY_ID: Final = "uuid/"
"""Before a version's id."""

NO_VALUE_YET: Final = "keyturn-no-value-yet-000000000000"
"""The id of the version that stands in where a key's first value waits for a promotion: AWS makes each first one current."""

MOST_BYTES: Final = 65_536
"""Of a value."""

_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}", re.ASCII)
_ARN: Final = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,512}-[A-Za-z0-9]{6}", re.ASCII)
_ID: Final = re.compile(r"[!-~]{32,64}", re.ASCII)
_LONGEST_LABEL: Final = 256
_LONGEST_NAME: Final = 512


def name_of(prefix: str, key: str) -> str:
    """The secret's name at AWS. Raises `Invalid`."""
    if key.startswith("arn:"):
        raise Invalid(f"{key[:600]!r} is no name of a secret, but begins as an ARN; {_arn_remedy(prefix, key)}")
    name = f"{prefix}{key}"
    if not key or not _NAME.fullmatch(name):
        raise Invalid(f"{key!r} is no name of a secret: AWS takes 1 to 512 letters, digits and /_+=.@-, the provider's prefix counted")
    return name


def _arn_remedy(prefix: str, key: str) -> str:
    if prefix:
        return "an ARN is whole by itself: remove prefix from the provider, or use the name behind it"
    if _ARN.fullmatch(key):
        return "what is written is called by its name: use that"
    return "a whole one ends in a hyphen and the six characters that AWS adds: write it as AWS shows it, or use the name"


def id_of(prefix: str, key: str) -> str:
    """What a secret is asked for by: its name, or its whole ARN where no prefix is set. Raises `Invalid`."""
    return key if not prefix and _ARN.fullmatch(key) else name_of(prefix, key)


def shared_prefix(names: Collection[str]) -> str:
    """With what all of these names begin; '' where one is an ARN, whose beginning no filter of AWS's knows."""
    if not names or any(_ARN.fullmatch(name) for name in names):
        return ""
    first, last = min(names), max(names)
    return first[: next((at for at, char in enumerate(first) if last[at : at + 1] != char), len(first))]


def chosen(ref: SourceRef) -> dict[str, str]:
    """The parameters that choose a version. Raises `Invalid`, or `NotFound` for what can be no version's id."""
    version = ref.version
    if not version:
        return {"VersionStage": AWSCURRENT}
    if version.startswith(BY_ID):
        return {"VersionId": version_id(ref.key, version)}
    if not version.isprintable() or len(version) > _LONGEST_LABEL:
        raise Invalid(f"the version of {ref.key} is neither a staging label of 1 to {_LONGEST_LABEL} characters nor {BY_ID} and an id")
    return {"VersionStage": LABELS.get(version, version)}


def version_id(key: str, version: str) -> str:
    """The id in a version's name. Raises `NotFound` where none is in it."""
    found = version.removeprefix(BY_ID)
    if not version.startswith(BY_ID) or not _ID.fullmatch(found):
        raise NotFound(f"AWS Secrets Manager does not have the secret {key} at the version {version[:80]!r}")
    return found


def is_id(text: str) -> bool:
    """Whether a version can be called so. What is longer is kept by nobody: a value's version is not weighed."""
    return _ID.fullmatch(text) is not None


def value_of(ref: SourceRef, told: SecretValue) -> Value:
    """The value in an answer. Raises a `ProviderError`."""
    found, text, raw = told.version_id or "", told.secret_string, told.secret_binary
    if not is_id(found):
        raise Unavailable(f"AWS's answer about {ref} names no version")
    if found == NO_VALUE_YET or (text is None and raw is None):
        raise NotFound(f"AWS Secrets Manager has no value of the secret {ref}")
    data = text.encode() if text is not None else raw or b""
    if len(data) > MOST_BYTES:
        raise Invalid(f"{ref} is too large: it has more than {MOST_BYTES >> 10} KiB")
    return Value(Sensitive(data), f"{BY_ID}{found}", time_of(told.created_date), found)


def holders(versions: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Which version has each label, from the labels of each version; the one that only stands in holds none."""
    return {label: version for version, labels in versions.items() if version != NO_VALUE_YET for label in labels}


def meta_of(prefix: str, entry: TaggedEntry) -> Meta | None:
    """What a list's entry says; None where no read would give anything."""
    name, current = entry.name or "", holders(entry.secret_versions_to_stages or {}).get(AWSCURRENT, "")
    if not name.startswith(prefix) or len(name) > _LONGEST_NAME or not is_id(current) or entry.deleted_date:
        return None
    tags = {tag.key: tag.value or "" for tag in entry.tags or ()}
    return Meta(name.removeprefix(prefix), current, time_of(entry.last_changed_date), tags)


def fingerprint(ref: SourceRef, entry: Entry | TaggedEntry) -> str:
    """The id of the version that a reference means, as a list's entry has it; '' where it does not tell."""
    versions = entry.secret_versions_to_stages or {}
    pick = chosen(ref)
    if "VersionId" in pick:
        return pick["VersionId"] if pick["VersionId"] in versions else ""
    found = holders(versions).get(pick["VersionStage"], "")
    return found if is_id(found) else ""


def time_of(seconds: float | None) -> datetime | None:
    """A time of AWS's; None where it tells none that can be."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
