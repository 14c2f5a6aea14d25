"""A connection of SQLAlchemy's Core for asyncio: what sqlalchemy.ext.asyncio has, but without the ORM, which that loads.

Nobody here maps objects, and it would be a twentieth of the operator's memory. As there, SQLAlchemy's own code runs in a
greenlet, from which the drivers' coroutines are awaited.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, TypeVar, TypeVarTuple

from sqlalchemy import Connection, CursorResult, Dialect, Engine, Executable, ScalarResult
from sqlalchemy.util import greenlet_spawn

from keyturn.store.rows import Row

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

Answer: TypeAlias = "CursorResult[*tuple[Any, ...]]"
Values: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""What is bound to a statement, once or for each time that it is executed."""

PART: Final = 200
"""Rows of a long answer that are given at once."""


class AsyncConnection:
    """Use `connected`. The methods are those of `sqlalchemy.Connection`, awaited; answers are whole, but for `stream`."""

    __slots__ = ("_sync",)

    def __init__(self, sync: Connection) -> None:
        self._sync = sync

    @property
    def dialect(self) -> Dialect:
        return self._sync.dialect

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        """A transaction: committed at the end, rolled back after an exception."""
        transaction = await greenlet_spawn(self._sync.begin)
        try:
            yield
        except BaseException as error:
            await greenlet_spawn(transaction.__exit__, type(error), error, error.__traceback__)
            raise
        await greenlet_spawn(transaction.__exit__, None, None, None)

    async def execute(self, statement: Executable, parameters: Values | None = None) -> Answer:
        return await greenlet_spawn(self._sync.execute, statement, parameters)

    async def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row; None where there is none."""
        return (await self.execute(statement, parameters)).scalar()

    async def scalars(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> ScalarResult[Any]:
        """The first column of each row."""
        return (await self.execute(statement, parameters)).scalars()

    async def exec_driver_sql(
        self, statement: str, parameters: Mapping[str, Any] | None = None, *, execution_options: Mapping[str, Any] | None = None
    ) -> Answer:
        """As the driver takes it."""
        return await greenlet_spawn(self._sync.exec_driver_sql, statement, parameters, execution_options=execution_options)

    @asynccontextmanager
    async def stream(self, statement: Executable) -> AsyncIterator[AsyncIterator[Sequence[Row]]]:
        """The rows in parts, which the server keeps until they are asked for."""
        result = await greenlet_spawn(self._sync.execute, statement, execution_options={"stream_results": True})
        rows: Any = result.mappings()

        async def parts() -> AsyncIterator[Sequence[Row]]:
            while part := await greenlet_spawn(rows.fetchmany, PART):
                yield part

        try:
            yield parts()
        finally:
            await _to_its_end(greenlet_spawn(result.close))

    async def run_sync(self, work: Callable[[Connection, *_Ts], _T], *args: *_Ts) -> _T:
        """Work of who knows no asyncio, as Alembic."""
        return await greenlet_spawn(work, self._sync, *args)

    async def driver_connection(self) -> Any:
        """The driver's own."""
        return await greenlet_spawn(lambda: self._sync.connection.driver_connection)

    async def invalidate(self) -> None:
        """Has the pool forget it."""
        await greenlet_spawn(self._sync.invalidate)


@asynccontextmanager
async def connected(engine: Engine, **options: Any) -> AsyncIterator[AsyncConnection]:
    """One of the pool's connections, given back at the end. ``engine``: of a driver for asyncio. ``options``: of its executions."""
    sync = await greenlet_spawn(engine.connect)
    try:
        yield AsyncConnection(sync.execution_options(**options))
    finally:
        await _to_its_end(greenlet_spawn(sync.close))


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Who is called off meanwhile waits for it all the same: it would else give back a connection to a pool that is closed by then."""
    task, called_off = asyncio.create_task(work), None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            called_off = error
    task.result()
    if called_off is not None:
        raise called_off
