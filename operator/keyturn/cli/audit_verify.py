"""``keyturn audit verify``: whether the trail is as it was written."""

import asyncio
from collections.abc import Iterator, Sequence

import click

from keyturn.cli.audit_door import Anchor, given_keys, opened_trail
from keyturn.cli.needs import need
from keyturn.decide.hashchain import Walk
from keyturn.model.audit import Head
from keyturn.model.errors import KeyturnError
from keyturn.model.keys import SECRET_KEY, SECRET_KEYS_FILE


class AuditTampered(KeyturnError):
    """The trail is not as it was written; the message names the first row that shows it."""


@click.command()
@click.option("--anchor", type=Anchor(), help="An end that was told before: it has to be on the way, or rows were taken away.")
def verify(*, anchor: Head | None) -> None:
    """Say whether the trail is as it was written, or which row shows that it is not.

    Needs no secret. With the master keys in SECRET_KEY or SECRET_KEYS_FILE the seals are checked too, which nobody can make
    who has the database alone. Keep the end that is told where nobody has both: given as --anchor, it proves later that
    nothing was taken away.
    """
    need("database", "keyturn audit")
    for line in asyncio.run(_verify(anchor)):
        click.echo(line)


async def _verify(anchor: Head | None) -> Sequence[str]:
    from keyturn.store.audit import seal_key

    async with opened_trail() as (database, trail):
        holder = await given_keys(database)
        walk = Walk(lambda key_id: seal_key(holder, key_id) if holder is not None else None, anchor=anchor)
        if problem := await trail.verify(walk):
            raise AuditTampered(f"the audit trail is not as it was written: {problem}")
        unsettled = len(await trail.unsettled(""))
    return list(_told(walk, unsettled, has_keys=holder is not None))


def _told(walk: Walk, open_intents: int, *, has_keys: bool) -> Iterator[str]:
    if not walk.at.seq:
        yield "the audit trail is empty"
        return
    yield f"{walk.at.seq} rows hang together as they were written; the end is {walk.at}"
    if has_keys:
        yield f"sealed by our keys to row {walk.sealed_to}" + (f"; {walk.unchecked} seals are of other keys" if walk.unchecked else "")
    else:
        yield f"seals were not checked: give the master keys in {SECRET_KEY} or {SECRET_KEYS_FILE}"
    if open_intents:
        yield f"{open_intents} intents are not settled: they are under way, or whoever made them ended; see keyturn audit query"
