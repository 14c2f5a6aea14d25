"""``keyturn audit``: the trail in the database that DATABASE_URL names, followed row by row, or asked for what somebody did."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from keyturn.cli.needs import NoDatabase, need
from keyturn.decide.auditrow import Texts, row_of
from keyturn.decide.hashchain import Walk
from keyturn.model.audit import AuditRow, Chained, Head
from keyturn.model.errors import KeyturnError
from keyturn.model.keys import SECRET_KEY, SECRET_KEYS_FILE
from keyturn.model.sensitive import Sensitive

if TYPE_CHECKING:
    from keyturn.store.audit import AuditTrail
    from keyturn.store.engine import Database
    from keyturn.store.keys import Keyholder


class AuditTampered(KeyturnError):
    """The trail is not as it was written; the message names the first row that shows it."""


class Anchor(click.ParamType[Head]):
    """An end of the chain that somebody kept."""

    name = "seq:hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Head:
        found = Head.parse(str(value))
        if found is None:
            self.fail("is no end of a trail; give what `keyturn audit verify` told, as NUMBER:HASH", param, ctx)
        return found


class Time(click.ParamType[datetime]):
    """A time, in UTC where it names no zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail("is no time; write it as 2026-11-30 or 2026-11-30T12:00:00Z", param, ctx)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


@click.group()
def audit() -> None:
    """Follow the audit trail, or ask it who did what."""


@audit.command()
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


@audit.command()
@click.option("--object", "subject", default="", help="What is done for or to this object, such as ManagedSecret/shop/app.")
@click.option("--actor", default="", help="What this actor does, such as operator/keyturn-0.")
@click.option("--action", default="", help="This action, such as secret.create.")
@click.option("--attempt", default="", help="What belongs to one attempt.")
@click.option("--since", type=Time(), help="Not before this time (UTC).")
@click.option("--until", type=Time(), help="Before this time (UTC).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="So many of the newest.")
@click.option("--json", "as_json", is_flag=True, help="Each row as it stands in the chain, one on each line.")
def query(*, as_json: bool, limit: int, **asked: Any) -> None:
    """Show what was done, for whom, and how it ended; the newest last."""
    need("database", "keyturn audit")
    for line in asyncio.run(_query(limit, as_json=as_json, **asked)):
        click.echo(line)


@audit.command("acknowledge-loss")
@click.option("--anchor", type=Anchor(), required=True, help="The end that the trail lacks, as the operator tells it.")
def acknowledge_loss(*, anchor: Head) -> None:
    """Accept that rows of the audit trail are lost, as after a restore of an older backup, or with another database.

    That is recorded in the trail itself, with who did it; the operator goes on after it.
    """
    need("database", "keyturn audit")
    click.echo(asyncio.run(_acknowledge(anchor)))


async def _acknowledge(anchor: Head) -> str:
    from keyturn.store.audit import ACCEPTED, trail_of

    async with _opened() as (database, unsealed):
        holder = await _holder(database)
        trail = unsealed if holder is None else trail_of(holder)
        if await trail.holds(anchor):
            return f"nothing is lost: the trail holds {anchor}, or that was accepted before"
        head, event, who = await trail.head(), secrets.token_hex(8), f"user/{os.getuid()}"
        lost = {"rows": f"{head.seq + 1} to {anchor.seq}"}
        await trail.append([AuditRow(event, datetime.now(UTC), who, ACCEPTED, "audit trail", str(anchor), details=lost)])
    return f"recorded as row {head.seq + 1}: what was written up to row {anchor.seq} after row {head.seq} is lost"


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple["Database", "AuditTrail"]]:
    from keyturn.store.audit import AuditTrail
    from keyturn.store.engine import open_database
    from keyturn.store.schema import check

    url = Sensitive.of(os.environ.get("DATABASE_URL", "").strip())
    if not url:
        raise NoDatabase("set DATABASE_URL to the database whose audit trail is meant")
    database = open_database(url)
    if missing := database.missing_file:
        raise NoDatabase(f"the file {missing} that DATABASE_URL names is not there")
    try:
        await check(database)
        yield database, AuditTrail(database, lambda: ("", None))
    finally:
        await database.close()


async def _verify(anchor: Head | None) -> Sequence[str]:
    from keyturn.store.audit import seal_key

    async with _opened() as (database, trail):
        holder = await _holder(database)
        walk = Walk(lambda key_id: seal_key(holder, key_id) if holder is not None else None, anchor=anchor)
        if problem := await trail.verify(walk):
            raise AuditTampered(f"the audit trail is not as it was written: {problem}")
        unsettled = len(await trail.open_intents(""))
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


async def _holder(database: "Database") -> "Keyholder | None":
    """The master keys that were given, opened; None where none were. Raises `KeyturnError` where they do not fit."""
    from keyturn.store.custody import take_master_keys
    from keyturn.store.keys import Keyholder

    if not (os.environ.get(SECRET_KEY, "").strip() or os.environ.get(SECRET_KEYS_FILE, "").strip()):
        return None
    holder = Keyholder(database, take_master_keys())
    await holder.open()
    return holder


async def _query(limit: int, *, as_json: bool, **asked: Any) -> Sequence[str]:
    async with _opened() as (_, trail):
        found = await trail.asked(limit, **asked)
        ended = [] if as_json else await trail.settlements([each.texts["event"] for each in found])
    if as_json:
        return [each.entry.decode("utf-8", "replace") for each in found]
    settled = {each.texts["settles"]: each.texts for each in ended}
    return [_line(each, settled.get(each.texts["event"])) for each in found if not each.texts["settles"]]


def _line(found: Chained, settlement: Texts | None) -> str:
    row = row_of(found.texts)
    ended = "open" if settlement is None else settlement["outcome"] + (f" ({settlement['reason']})" if settlement["reason"] else "")
    keys = f" [{', '.join(row.keys)}]" if row.keys else ""
    what = row.subject if row.subject == row.target else f"{row.subject} -> {row.target}"
    attempt = f" #{row.attempt}" if row.attempt else ""
    return f"{found.seq} {found.texts['at']} {row.actor} {row.action} {what}{keys}: {ended}{attempt}"
