"""Rows of a long answer, some at a time, so that the event loop breathes between them."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from sqlalchemy import Select

from keyturn.model.errors import Invalid
from keyturn.store.connection import AsyncConnection
from keyturn.store.rows import Row

TOO_MANY: Final = "the database gave more rows than it can have for what was asked; restore its tables from a backup"


async def parts(connection: AsyncConnection, query: Select[Any], most: int) -> AsyncIterator[Sequence[Row]]:
    """The rows, some at a time. Raises `Invalid` where a database that is none of ours gives more than can be there."""
    async with connection.stream(query) as found:
        async for part in found:
            most -= len(part)
            if most < 0:
                break  # raised in here it would leave the cursor open
            yield part
        else:
            return
    raise Invalid(TOO_MANY)
