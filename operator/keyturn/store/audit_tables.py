"""The tables of the audit trail, as they are at the newest schema; their triggers are the migration's.

Nothing in them is ever changed. All that SQL can hold for a row stands in columns of its own, for whoever asks by SQL; ``entry`` is
what the chain is made of, and `keyturn audit verify` says whether the two still agree.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table

from keyturn.store.tables import metadata

log = Table(
    "secret_access_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event", String, nullable=False),
    Column("at", String, nullable=False),  # UTC, ISO 8601 to the microsecond: text that sorts, the same in every database
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("target", String, nullable=False),
    Column("trigger", String, nullable=False),
    Column("keys", String, nullable=False),  # JSON
    Column("details", String, nullable=False),  # JSON
    Column("attempt", String, nullable=False),
    Column("settles", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("seal", LargeBinary),
    Column("seal_key", String, nullable=False),
    Index("ix_secret_access_log_event", "event"),
    Index("ix_secret_access_log_settles", "settles"),
    Index("ix_secret_access_log_subject", "subject"),
)
"""One row for each intent and one for each settlement, in one chain. ``event`` is looked up under the writers' lock, and so unique:
PostgreSQL keeps the table in partitions by ``seq``, over which an index of it could not be."""

checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("at", String, primary_key=True),  # no two have one, and later ones have a later: each hangs on the one before it
    Column("seq", BigInteger, nullable=False),
    Column("key_id", String, nullable=False),
    Column("note", String, nullable=False),
)
"""Ends of the chain under a signature that anybody can check: ``note`` is a signed note of C2SP, and the columns say what it says."""

segments = Table(
    "audit_segments",
    metadata,
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),  # hash of the last row
    Column("count", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the file
    Column("name", String, nullable=False),  # of the file
    Column("note", String, nullable=False),
    Column("at", String, nullable=False),
)
"""What of the chain was moved out of the database into a file, and what that file has to be."""
