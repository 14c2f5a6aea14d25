"""The audit trail: one table that is only ever added to, in order."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

_LOG: Final = "secret_access_log"
_TEXTS: Final = (
    "event",
    "at",
    "actor",
    "action",
    "subject",
    "target",
    "trigger",
    "keys",
    "details",
    "attempt",
    "settles",
    "outcome",
    "reason",
)


def upgrade() -> None:
    """Makes the table and its triggers."""
    op.create_table(
        _LOG,
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in _TEXTS),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary()),
        sa.Column("seal_key", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=f"pk_{_LOG}"),
    )
    for column in ("event", "settles", "subject"):
        op.create_index(f"ix_{_LOG}_{column}", _LOG, [column])
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else (*_POSTGRESQL, *TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Takes it away, with all that is in it."""
    op.drop_table(_LOG)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION secret_access_log_only_grows")
        op.execute("DROP FUNCTION secret_access_log_is_next")


# With OR REPLACE a row would be taken away without a word to the trigger on DELETE: so the next number alone is let in.
_SQLITE: Final = (
    """
    CREATE TRIGGER secret_access_log_insert BEFORE INSERT ON secret_access_log
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM secret_access_log)
    BEGIN SELECT RAISE(ABORT, 'the audit trail takes the next row alone'); END
    """,
    """
    CREATE TRIGGER secret_access_log_update BEFORE UPDATE ON secret_access_log
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END
    """,
    """
    CREATE TRIGGER secret_access_log_delete BEFORE DELETE ON secret_access_log
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END
    """,
)
_POSTGRESQL: Final = (
    """
    CREATE FUNCTION secret_access_log_is_next() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM secret_access_log) THEN
            RAISE EXCEPTION 'the audit trail takes the next row alone';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE FUNCTION secret_access_log_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit trail is only added to'; END $$
    """,
)
TRIGGERS: Final = (
    """
    CREATE TRIGGER secret_access_log_insert BEFORE INSERT ON secret_access_log
    FOR EACH ROW EXECUTE FUNCTION secret_access_log_is_next()
    """,
    """
    CREATE TRIGGER secret_access_log_change BEFORE UPDATE OR DELETE ON secret_access_log
    FOR EACH ROW EXECUTE FUNCTION secret_access_log_only_grows()
    """,
    """
    CREATE TRIGGER secret_access_log_truncate BEFORE TRUNCATE ON secret_access_log
    FOR EACH STATEMENT EXECUTE FUNCTION secret_access_log_only_grows()
    """,
)
"""Of PostgreSQL, whose functions are there."""
