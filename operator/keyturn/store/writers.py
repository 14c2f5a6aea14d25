"""The one writer of a PostgreSQL database at a time: by a lock on a table, which wants a right on it, and who holds it where we cannot.

An advisory lock would be had by whoever may connect, without a right on any table.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from keyturn.model.errors import Unavailable
from keyturn.store.connection import AsyncConnection
from keyturn.store.record_tables import fence

_FIRST: Final = 0x6B657974
"""The advisory lock of whoever makes the first tables."""
_NOT_IN_TIME: Final = "55P03"
_NAMED: Final = 3
_SHOWN: Final = 40

_IS_THERE: Final = text(f"SELECT to_regclass('{fence}') IS NOT NULL")
_LOCK: Final = f"LOCK TABLE {fence} IN SHARE ROW EXCLUSIVE MODE"
# Users and names of programs are shown to everybody, what else there is to know of a session is not.
_HOLDERS: Final = text(f"""
    SELECT held.pid, session.usename, session.application_name
    FROM pg_locks AS held LEFT JOIN pg_stat_activity AS session ON session.pid = held.pid
    WHERE held.relation = to_regclass('{fence}') AND held.granted
        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND held.mode NOT IN ('AccessShareLock', 'RowShareLock') AND held.pid IS DISTINCT FROM pg_backend_pid()
    ORDER BY held.pid LIMIT {_NAMED}
""")  # noqa: S608  # our own name


class Held(Unavailable):
    """Somebody else has been the one writer for all the time that we waited."""


async def enter(connection: AsyncConnection, idle_s: int, wait_s: float) -> None:
    """Makes this transaction the one writer's. Raises `Held`.

    All of it is of this transaction alone: a pooler may give the connection to another one next. It waits for other locks no longer
    than for this one: whoever reads a table for hours would else hold up all who write, by what waits for that table.
    """
    try:
        await _execute(connection, f"{_idle(idle_s)}; SET LOCAL lock_timeout = {max(1, round(wait_s * 1000))}; {_LOCK}")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _NOT_IN_TIME:
            raise Held(f"another session has been writing to the database for more than {wait_s:g} s") from None
        raise


async def enter_first(connection: AsyncConnection, idle_s: int) -> None:
    """As `enter`, for as long as it takes, and where there may be no tables yet."""
    await _execute(connection, _idle(idle_s))
    if not await connection.scalar(_IS_THERE):
        await _execute(connection, f"SELECT pg_advisory_xact_lock({_FIRST})")
    if await connection.scalar(_IS_THERE):
        await _execute(connection, _LOCK)


async def named(connection: AsyncConnection, held: Held) -> Held:
    """The same, with who is in the way now, as far as we may know it, and what to do."""
    told = [_told(*found) for found in await connection.execute(_HOLDERS)]
    if not told:
        return held
    return Held(
        f"{held}, or holds its table {fence}: {', '.join(told)}; let it end, or end it with pg_terminate_backend, and let no user have"
        " rights on that table who does not need them"
    )


def _told(pid: int | None, user: str | None, program: str | None) -> str:
    if pid is None:
        return "a prepared transaction (pg_prepared_xacts)"
    return f"pid {pid}, user {_short(user)}, application {_short(program)}"


def _short(name: str | None) -> str:
    """Whoever connects may call it anything."""
    return ascii(name or "")[:_SHOWN]


def _idle(idle_s: int) -> str:
    return f"SET LOCAL idle_in_transaction_session_timeout = '{idle_s}s'"


async def _execute(connection: AsyncConnection, statements: str) -> None:
    """In one message: every writer waits for it."""
    await connection.exec_driver_sql(statements, execution_options={"no_parameters": True})
