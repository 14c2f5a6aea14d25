"""The tables, as they are at the newest schema. ``migrations/`` makes them; a test holds the two against each other.

Every clear column of a secret and of a version is under a MAC (`rows`): whoever adds one adds it there too.
"""

import json
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import DateTime, TypeEngine

NAMES: Final = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
"""How constraints are called, so that a migration can name them on every database."""


class Moment(TypeDecorator[datetime]):
    """A time in UTC, to the microsecond, the same from every database. Without its zone it is refused.

    SQLite has none, and is given text. What somebody else wrote there comes out as the beginning of time: its MAC will not fit.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            message = "a time without its zone"
            raise ValueError(message)
        utc = value.astimezone(UTC)
        return utc.isoformat(timespec="microseconds") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, _: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            return datetime.min.replace(tzinfo=UTC)


LONGEST_JSON: Final = 192 << 10
"""Signs of text that is decoded. Tags of 16 KiB have fewer, even where each byte is spelled \\u0001 and each name is short."""


def decoded(text: object) -> Any:
    """What this JSON says; None for what is none, or too long to be ours: in memory it can be thirty times as long."""
    if not isinstance(text, str) or len(text) > LONGEST_JSON:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class AsText(FunctionElement[str]):
    """A column of JSON as its text, which PostgreSQL's driver would decode, of whatever length. SQLite's is given as it lies."""

    type = String()
    inherit_cache = True


@compiles(AsText)
def _cast(element: AsText, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS VARCHAR)"


@compiles(AsText, "sqlite")
def _bare(element: AsText, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


class Json(TypeDecorator[Any]):
    """JSON, as text where there is no such type, and read as text everywhere. What is none comes out as None: its MAC will not fit."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else JSON())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return json.dumps(value, sort_keys=True) if dialect.name == "sqlite" else value

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """As text, which is decoded here."""
        return type_coerce(AsText(column), self)

    def process_result_value(self, value: Any, _: Dialect) -> Any:
        return decoded(value)


# SQLite counts rows by itself in a column of this type alone.
ROW_ID: Final = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(naming_convention=NAMES)

secrets = Table(
    "application_secrets",
    metadata,
    Column("id", ROW_ID, primary_key=True),
    Column("store", String, nullable=False),
    Column("name", String, nullable=False),
    Column("secret_type", String, nullable=False),
    Column("current_version", Integer, nullable=False),  # 0: none
    Column("last_version", Integer, nullable=False),  # the highest number that was ever given, also before a purge
    Column("tags", Json, nullable=False),
    Column("expires_at", Moment),
    Column("deleted_at", Moment),
    Column("purged_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),  # when what is read became that
    Column("change_seq", BigInteger, nullable=False),
    Column("row_mac", LargeBinary, nullable=False),
    Column("key_id", String, nullable=False),
    UniqueConstraint("store", "name"),
    UniqueConstraint("change_seq"),
)
"""One row for each name that ever was. A purged one stays, without versions and tags: its numbers must not come again.

``change_seq`` grows with every change in the database, in the order in which changes are seen.
"""

versions = Table(
    "application_secret_versions",
    metadata,
    Column("id", ROW_ID, primary_key=True),
    Column("secret_id", ForeignKey(secrets.c.id, ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("stage", String, nullable=False),  # current, previous, pending or ''
    Column("token", LargeBinary, nullable=False),
    Column("key_id", String, nullable=False),
    Column("put_token", String, nullable=False),
    Column("put_mac", LargeBinary, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("change_seq", BigInteger, nullable=False),
    Column("row_mac", LargeBinary, nullable=False),
    UniqueConstraint("secret_id", "version"),
    UniqueConstraint("secret_id", "put_token"),
)
"""One row for each value that was put. ``put_mac`` tells the same value from another one where a put comes again."""

keys = Table(
    "encryption_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("iterations", Integer, nullable=False),
    Column("kdf", String, nullable=False),
    Column("state", String, nullable=False),  # active or decrypt_only
    Column("check_token", LargeBinary, nullable=False),
    Column("fingerprint_key", LargeBinary),
    Column("created_at", Moment, nullable=False),
    # Never two active ones, whoever writes: of those whose state is active, which the migration says. To say it here too would load the
    # dialects of both databases, and an operator has one.
    Index("ux_encryption_keys_active", "state", unique=True),
)
"""What each master key is told by, and what its subkeys are derived with."""

replicas = Table(
    "replicas",
    metadata,
    Column("id", String, primary_key=True),
    Column("key_ids", Json, nullable=False),
    Column("seen_at", Moment, nullable=False),
)
"""Who uses this database now, and which keys each can open: none is activated before all can."""
