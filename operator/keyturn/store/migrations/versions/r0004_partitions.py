"""On PostgreSQL the audit trail lies in partitions, so that its oldest rows can be taken out as a whole. What was there is the first."""

from typing import Final

from alembic import op

from keyturn.store.migrations.versions.r0002_audit import TRIGGERS

revision: Final = "0004"
down_revision: Final = "0003"

_LOG: Final = "secret_access_log"
_FIRST: Final = f"{_LOG}_1"
_INDEXED: Final = ("event", "settles", "subject")


def upgrade() -> None:
    """Puts a table of partitions in the place of the table, which becomes its first and, for now, only one."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for statement in (
        *(f"DROP TRIGGER {_LOG}_{name} ON {_LOG}" for name in ("insert", "change", "truncate")),
        f"ALTER TABLE {_LOG} RENAME TO {_FIRST}",
        f"ALTER TABLE {_FIRST} RENAME CONSTRAINT pk_{_LOG} TO pk_{_FIRST}",
        *(f"ALTER INDEX ix_{_LOG}_{column} RENAME TO ix_{_FIRST}_{column}" for column in _INDEXED),
        f"CREATE TABLE {_LOG} (LIKE {_FIRST}, CONSTRAINT pk_{_LOG} PRIMARY KEY (seq)) PARTITION BY RANGE (seq)",
        *(f"CREATE INDEX ix_{_LOG}_{column} ON {_LOG} ({column})" for column in _INDEXED),
        f"ALTER TABLE {_LOG} ATTACH PARTITION {_FIRST} FOR VALUES FROM (MINVALUE) TO (MAXVALUE)",
        *TRIGGERS,
        # Those on rows hold in each partition by themselves; those on TRUNCATE do not.
        f"CREATE TRIGGER {_LOG}_truncate BEFORE TRUNCATE ON {_FIRST} FOR EACH STATEMENT EXECUTE FUNCTION {_LOG}_only_grows()",
        _GRANTS,
    ):
        op.execute(statement)


def downgrade() -> None:
    """Puts all rows into one table again."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for statement in (
        f"CREATE TABLE whole (LIKE {_LOG})",
        f"INSERT INTO whole SELECT * FROM {_LOG} ORDER BY seq",  # noqa: S608  # our own name
        f"DROP TABLE {_LOG}",
        f"ALTER TABLE whole RENAME TO {_LOG}",
        f"ALTER TABLE {_LOG} ADD CONSTRAINT pk_{_LOG} PRIMARY KEY (seq)",
        *(f"CREATE INDEX ix_{_LOG}_{column} ON {_LOG} ({column})" for column in _INDEXED),
        *TRIGGERS,
    ):
        op.execute(statement)


# Whoever had rights to the table has them to the new one, and to what lies below it only that of reading, which a backup needs.
_GRANTS: Final = f"""
DO $$
DECLARE given record; role text;
BEGIN
    FOR given IN
        SELECT a.grantee, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = '{_FIRST}'::regclass AND a.grantee <> c.relowner
    LOOP
        role = CASE WHEN given.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(given.grantee)) END;
        EXECUTE format('GRANT %s ON {_LOG} TO %s', given.privilege_type, role);
        IF given.privilege_type <> 'SELECT' THEN
            EXECUTE format('REVOKE %s ON {_FIRST} FROM %s', given.privilege_type, role);
        END IF;
    END LOOP;
END $$
"""  # noqa: S608  # our own names
