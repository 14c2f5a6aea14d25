"""The questions that are asked about secrets, and what their answers mean. Asks nothing itself, so that it may run in a thread."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, and_, case, func, or_, select, tuple_

from keyturn.model.errors import Disabled, Invalid, NotFound, ProviderError
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Meta, SourceRef, Value, Version
from keyturn.store.cipher import Keyring, Tampered
from keyturn.store.rows import Row, check_secret, check_version, version_place
from keyturn.store.tables import AsText, decoded, secrets, versions

STAGES: Final = frozenset((CURRENT, PREVIOUS, PENDING))

LARGEST_VALUE: Final = 1 << 20
"""Bytes. A Kubernetes Secret holds as much as a value here."""

LONGEST_TOKEN: Final = (LARGEST_VALUE + 73 + 2) // 3 * 4
"""What such a value becomes: a last block of up to 16 bytes and Fernet's 57 more, in base64. Others can put anything there."""

GATHERED: Final = 8 << 20
"""Bytes of tokens in one answer: what would be more is left out, and asked for again."""

MOST_LISTED: Final = 50_000
"""Secrets that are listed of a tenant's database."""

LONGEST_LIST: Final = 16 << 20
"""Bytes of their names and tags."""

_VERSION: Final = "version_"
_VERSION_COLUMNS: Final = [column for column in versions.c if column is not versions.c.token]
# As text until they are needed, one secret's after the other: decoded, all at once could be many times as long.
_TAGS: Final = AsText(secrets.c.tags).label("tags")
_SECRET_COLUMNS: Final = [column if column is not secrets.c.tags else _TAGS for column in secrets.c]


def read_query(store: str, refs: Sequence[SourceRef]) -> Select[Any]:
    """A row for each secret and version that these mean, and for a secret whose version is not there a row without."""
    which = []
    if newest := [ref.key for ref in refs if ref.version in {"", CURRENT}]:
        which.append(and_(versions.c.version == secrets.c.current_version, secrets.c.name.in_(newest)))
    if staged := [(ref.key, ref.version) for ref in refs if ref.version in {PREVIOUS, PENDING}]:
        which.append(tuple_(secrets.c.name, versions.c.stage).in_(staged))
    if numbered := [(ref.key, int(ref.version)) for ref in refs if ref.version and ref.version not in STAGES]:
        which.append(tuple_(secrets.c.name, versions.c.version).in_(numbered))
    size = func.coalesce(func.length(versions.c.token), 0)
    fits = size <= LONGEST_TOKEN
    taken = case((fits, size), else_=0)
    before = func.sum(taken).over(order_by=(secrets.c.id, versions.c.id), rows=(None, 0)) - taken
    token = case((and_(fits, before < GATHERED), versions.c.token)).label(f"{_VERSION}token")
    return (
        select(
            *_SECRET_COLUMNS,
            *(column.label(f"{_VERSION}{column.name}") for column in _VERSION_COLUMNS),
            token,
            fits.label(f"{_VERSION}fits"),
        )
        .select_from(secrets.outerjoin(versions, and_(versions.c.secret_id == secrets.c.id, or_(*which))))
        .where(secrets.c.store == store, secrets.c.name.in_({ref.key for ref in refs}))
    )


def list_query(store: str, prefix: str) -> Select[Any]:
    """All that can be read, by the beginning of its name."""
    current = and_(versions.c.secret_id == secrets.c.id, versions.c.version == secrets.c.current_version)
    asked = _told(store, _TAGS, func.coalesce(versions.c.enabled, True).label("enabled")).outerjoin(versions, current)
    # LIKE would have signs of its own, and take small letters for large ones.
    return asked.where(func.substr(secrets.c.name, 1, len(prefix)) == prefix) if prefix else asked


def survey_query(store: str, names: Sequence[str]) -> Select[Any]:
    """Those of these names that can be read."""
    return _told(store).where(secrets.c.name.in_(names))


def _told(store: str, *more: Any) -> Select[Any]:
    is_there = (secrets.c.store == store, secrets.c.deleted_at.is_(None), secrets.c.current_version > 0)
    return select(secrets.c.name, secrets.c.current_version, secrets.c.updated_at, *more).select_from(secrets).where(*is_there)


def fingerprint_of(row: Mapping[str, Any]) -> str:
    """Another one for another value of a secret; by the time also where an older state of the database was restored."""
    return f"{row['current_version']}.{row['updated_at'].timestamp():.6f}"


def meta_of(row: Mapping[str, Any]) -> Meta:
    """A row of a `list_query` as others see it. It is taken at its word: what somebody else changed there a read will find."""
    told = decoded(row["tags"])
    tags = {name: str(text) for name, text in told.items()} if isinstance(told, dict) else {}
    return Meta(str(row["name"]), fingerprint_of(row), row["updated_at"], tags, bool(row["enabled"]))


def version_of(row: Mapping[str, Any], *, is_deleted: bool) -> Version:
    """A row of `versions` as others see it."""
    stages = frozenset((row["stage"],)) & STAGES if not is_deleted else frozenset[str]()
    return Version(str(row["version"]), stages, row["created_at"], bool(row["enabled"]) and not is_deleted, row["put_token"])


def size_of(row: Mapping[str, Any]) -> int:
    """What a row of a `read_query` or a `list_query` holds of what can be long."""
    held = (row.get(name) for name in ("name", "tags", f"{_VERSION}token"))
    return sum(len(each) for each in held if isinstance(each, str | bytes))


def answers_of(ring: Keyring, store: str, rows: Sequence[Row], refs: Sequence[SourceRef]) -> dict[SourceRef, Value | ProviderError]:
    """An answer for each reference, but for those whose values would have been too much at once."""
    return _Answers(ring, store, rows).of(refs)


class _Answers:
    """What the rows of a `read_query` say of each reference."""

    def __init__(self, ring: Keyring, store: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._ring = ring
        self._store = store
        self._secrets = {row["name"]: row for row in rows}
        found = [(row["name"], _version(row)) for row in rows if row[f"{_VERSION}id"] is not None]
        self._versions = {(name, str(row["version"])): row for name, row in found} | {(name, row["stage"]): row for name, row in found}

    def of(self, refs: Sequence[SourceRef]) -> dict[SourceRef, Value | ProviderError]:
        answers: dict[SourceRef, Value | ProviderError] = {}
        for ref in refs:
            try:
                answer = self._value(ref)
            except ProviderError as problem:
                answers[ref] = problem.with_traceback(None)
            else:
                if answer is not None:
                    answers[ref] = answer
        return answers

    def _value(self, ref: SourceRef) -> Value | None:
        secret = self._secrets.get(ref.key)
        if secret is None:
            raise NotFound(f"{ref} is not in the database")
        check_secret(self._ring, {**secret, "tags": decoded(secret["tags"])})
        if secret["deleted_at"] is not None:
            raise NotFound(f"{ref} was deleted from the database")
        is_newest = ref.version in {"", CURRENT}
        row = self._versions.get((ref.key, str(secret["current_version"]) if is_newest else ref.version))
        if row is None:
            if is_newest and secret["current_version"]:
                raise Tampered(f"{ref}: its current version was taken out of the database; restore it from a backup, or purge it")
            raise NotFound(f"{ref} is not in the database")
        check_version(self._ring, self._store, ref.key, row)
        if is_newest and row["stage"] != CURRENT:
            raise Invalid(f"{ref}: the database names two versions as current; promote one of them")
        if not row["enabled"]:
            raise Disabled(f"{ref} is switched off in the database")
        if not row["fits"]:
            raise Invalid(f"{ref}: its value in the database has more than {LARGEST_VALUE} bytes")
        if row["token"] is None:
            return None
        value = self._ring.open(row["key_id"], version_place(self._store, ref.key, row["version"]), row["token"])
        updated = secret["updated_at"] if is_newest else row["created_at"]
        return Value(value, str(row["version"]), updated, fingerprint_of(secret) if not ref.version else "")


def _version(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(_VERSION): value for name, value in row.items() if name.startswith(_VERSION)}
