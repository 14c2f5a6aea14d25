"""What stands around the audit trail: its checkpoints and segments, the fence, and the records of rotations and policies."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

_TIME = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")
_JSON = sa.JSON().with_variant(sa.String(), "sqlite")
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ONLY_ADDED_TO: Final = ("audit_checkpoints", "audit_segments", "secret_rotation_log")


def upgrade() -> None:
    """Makes the tables, and the triggers of those that are only added to."""
    _make_marks()
    _make_records()
    for table in _ONLY_ADDED_TO:
        for statement in _sqlite(table) if op.get_bind().dialect.name == "sqlite" else _postgresql(table):
            op.execute(statement)


def _make_marks() -> None:
    op.create_table(
        "audit_checkpoints",
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("at", name="pk_audit_checkpoints"),
    )
    op.create_table(
        "audit_segments",
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("first", name="pk_audit_segments"),
    )
    op.create_table(
        "fence",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("settled_to", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_fence"),
    )


def _make_records() -> None:
    op.create_table(
        "secret_rotation_log",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("attempt", sa.String(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("schedule", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_secret_rotation_log"),
    )
    op.create_index("ix_secret_rotation_log_attempt", "secret_rotation_log", ["attempt"])
    op.create_index("ix_secret_rotation_log_provider_key", "secret_rotation_log", ["provider", "key"])
    op.create_table(
        "secret_policies",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secret_policies"),
    )


def downgrade() -> None:
    """Takes them away, with all that is in them."""
    for table in ("secret_policies", "fence", *_ONLY_ADDED_TO):
        op.drop_table(table)


def _sqlite(table: str) -> tuple[str, ...]:
    # Without recursive triggers OR REPLACE deletes without a word to the trigger on DELETE: so a row that is there is not let in.
    key = {"audit_checkpoints": "at = NEW.at", "audit_segments": "first = NEW.first"}.get(table, "id = NEW.id")
    refusal = f"BEGIN SELECT RAISE(ABORT, '{table} is only added to'); END"
    return (
        f"CREATE TRIGGER {table}_insert BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {key}) {refusal}",  # noqa: S608  # our own names
        f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} {refusal}",
        f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} {refusal}",
    )


def _postgresql(table: str) -> tuple[str, ...]:
    act = "EXECUTE FUNCTION secret_access_log_only_grows()"
    return (
        f"CREATE TRIGGER {table}_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {act}",
        f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {act}",
    )
