"""Which schema a database has, and the way to another one. Steps are in `migrations`; each way is gone wholly or not at all."""

from pathlib import Path
from typing import Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from keyturn.store import audit_partitions, audit_tables, record_tables
from keyturn.store.connection import AsyncConnection
from keyturn.store.engine import Database
from keyturn.store.failures import NO_TABLES, DatabaseRefused
from keyturn.store.tables import metadata

EMPTY: Final = "base"
NEWEST: Final = "head"

_STEPS: Final = ScriptDirectory(str(Path(__file__).with_name("migrations")))
# What the operator does at run time: nothing is ever dropped by it, and a secret's row never deleted.
_GRANTS: Final = {
    "application_secrets": "SELECT, INSERT, UPDATE",
    "application_secret_versions": "SELECT, INSERT, UPDATE, DELETE",
    "encryption_keys": "SELECT, INSERT, UPDATE, DELETE",
    "replicas": "SELECT, INSERT, UPDATE, DELETE",
    audit_tables.log.name: "SELECT, INSERT",
    audit_tables.checkpoints.name: "SELECT, INSERT",
    audit_tables.segments.name: "SELECT",
    record_tables.fence.name: "SELECT, INSERT, UPDATE",
    record_tables.rotations.name: "SELECT, INSERT",
    record_tables.policies.name: "SELECT, INSERT, UPDATE, DELETE",
    "alembic_version": "SELECT",
}


async def check(database: Database) -> None:
    """Makes sure that the schema is that of this version, and changes nothing. Raises `DatabaseRefused`, and `ProviderError`."""
    async with database.reading() as connection:
        found = await connection.run_sync(_revision)
    _refuse_newer(found)
    if found != newest():
        raise DatabaseRefused(NO_TABLES)


async def migrate(database: Database, to: str = NEWEST, *, grant_to: str = "") -> tuple[str, str]:
    """From the schema that is there to another one, in one transaction; gives both, '' for none.

    ``grant_to``: a role of PostgreSQL that is given what the operator needs at run time, and no more.
    Raises `DatabaseRefused` where the schema is newer than this version of Keyturn, and `ProviderError`.
    """
    async with database.writing(is_first=True) as connection:
        before = await connection.run_sync(_revision)
        _refuse_newer(before)
        await connection.run_sync(_migrate, to)
        if to == NEWEST and not database.is_sqlite:
            await audit_partitions.cut(connection)
        if grant_to and not database.is_sqlite:
            await _grant(connection, grant_to)
        return before, await connection.run_sync(_revision)


def newest() -> str:
    """The schema of this version of Keyturn."""
    return _STEPS.get_current_head() or ""


def _refuse_newer(found: str) -> None:
    if found and found not in {step.revision for step in _STEPS.walk_revisions()}:
        raise DatabaseRefused(
            f"the database's schema ({repr(found)[:70]}) is of a newer Keyturn than this; run that version, or restore a backup"
        )


def _revision(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""


def _migrate(connection: Connection, to: str) -> None:
    def way(found: object, _: MigrationContext) -> object:
        # Alembic's own commands walk the same way; they want files of settings beside it.
        going_up = _STEPS._upgrade_revs if to != EMPTY else _STEPS._downgrade_revs
        return going_up(to, found)  # type: ignore[arg-type]  # what Alembic found it takes again

    with EnvironmentContext(Config(), _STEPS, fn=way, destination_rev=to) as environment:
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=True, transaction_per_migration=False)
        environment.run_migrations()


async def _grant(connection: AsyncConnection, role: str) -> None:
    """The server quotes the names: they are the user's, and may have any sign."""
    schema, sequences = (f"format('ON {what} %I', current_schema())" for what in ("SCHEMA", "ALL SEQUENCES IN SCHEMA"))
    # A backup by the same user reads the sequences too.
    rights = [("USAGE", schema), ("USAGE, SELECT", sequences), *((given, f"'ON {table}'") for table, given in _GRANTS.items())]
    for given, where in rights:
        statement = await connection.scalar(text(f"SELECT format('GRANT {given} %s TO %I', {where}, cast(:role AS text))"), {"role": role})
        await connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    await audit_partitions.let_read(connection)
