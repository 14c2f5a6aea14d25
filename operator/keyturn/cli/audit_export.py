"""``keyturn audit export``: rows of the trail in a file, which can be looked at where there is no database."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from keyturn.cli.audit_door import Time, given_keys, in_order, opened_trail, told_elsewhere
from keyturn.cli.needs import need
from keyturn.decide.hashchain import Walk
from keyturn.model.errors import KeyturnError

FILE: Final = click.Path(dir_okay=False, exists=True, path_type=Path)


class NothingToExport(KeyturnError):
    """There are no rows within what was asked for."""


@click.command()
@click.option(
    "-o",
    "--out",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to make, or - for standard output; none is overwritten.",
)
@click.option("--from", "first", type=click.IntRange(1), default=1, help="From this row on.")
@click.option("--to", "last", type=click.IntRange(1), help="Up to this row.")
@click.option("--since", type=Time(), help="From the first row on that is not before this time (UTC).")
@click.option("--until", type=Time(), help="Up to the last row that is before this time (UTC).")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "sqlite"]), default="jsonl", show_default=True, help="Lines of JSON, or a database."
)
def export(*, path: Path, first: int, last: int | None, since: datetime | None, until: datetime | None, form: str) -> None:
    """Write rows to a file that `keyturn audit verify --file` can follow without the database.

    They are followed as they are written: a trail that is not as it was written is not exported. Keep the end that is told.
    """
    need("database", "keyturn audit")
    in_order(since, until)
    if str(path) == ".":  # what an empty word becomes
        message = "-o is empty; name the file to make, or - for standard output"
        raise click.UsageError(message)
    if (is_piped := str(path) == "-") and form != "jsonl":
        message = "only lines of JSON go to standard output; name a file for a database"
        raise click.UsageError(message)
    click.echo(asyncio.run(_export(path, first, last, since, until, form)), err=is_piped)


async def _export(path: Path, first: int, last: int | None, since: datetime | None, until: datetime | None, form: str) -> str:
    from keyturn.store.audit import seal_key
    from keyturn.store.audit_file import export as write
    from keyturn.store.audit_file import stream
    from keyturn.store.audit_range import bounds
    from keyturn.store.audit_segments import segments_of

    async with opened_trail() as (database, _):
        holder = await given_keys(database)
        found = await bounds(database, first, last, since, until)
        if found is None:
            raise NothingToExport("the audit trail has no rows within what was asked for")
        begin, end = found
        walk = Walk(lambda key_id: seal_key(holder, key_id) if holder is not None else None, at=begin)
        moved = [each for each in await segments_of(database) if since is None and each.last >= first]
        if str(path) == "-":
            await stream(database, walk, end, sys.stdout.buffer)
        else:
            await write(database, walk, end, path, form)
    where = "standard output" if str(path) == "-" else path
    told = f"{where} has rows {begin.seq + 1} to {walk.at.seq}; the end is {walk.at}"
    return "\n".join(each for each in (told, told_elsewhere(moved)) if each)
