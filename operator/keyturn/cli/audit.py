"""``keyturn audit``: the trail in the database that DATABASE_URL names, followed row by row, or asked for what somebody did."""

import asyncio
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from keyturn.cli.audit_door import Anchor, Time, given_keys, opened_trail
from keyturn.cli.audit_export import export
from keyturn.cli.audit_verify import key, verify
from keyturn.cli.needs import need
from keyturn.decide.auditrow import Texts, row_of
from keyturn.model.audit import ACCEPTED, AuditRow, Chained, Head, Outcome


@click.group()
def audit() -> None:
    """Follow the audit trail, or ask it who did what."""


audit.add_command(verify)
audit.add_command(export)
audit.add_command(key)


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
    from keyturn.store.audit import trail_of

    async with opened_trail() as (database, unsealed):
        holder = await given_keys(database)
        trail = unsealed if holder is None else trail_of(holder)
        if await trail.holds(anchor):
            return f"nothing is lost: the trail holds {anchor}, or that was accepted before"
        head, event, who = await trail.head(), secrets.token_hex(8), f"user/{os.getuid()}"
        lost = {"rows": f"{head.seq + 1} to {anchor.seq}"}
        await trail.append(
            [AuditRow(event, datetime.now(UTC), who, ACCEPTED, "audit trail", str(anchor), details=lost, outcome=Outcome.SUCCESS)]
        )
    return f"recorded as row {head.seq + 1}: what was written up to row {anchor.seq} after row {head.seq} is lost"


async def _query(limit: int, *, as_json: bool, **asked: Any) -> Sequence[str]:
    async with opened_trail() as (_, trail):
        found = await trail.asked(limit, **asked)
        ended = [] if as_json else await trail.settlements([each.texts["event"] for each in found])
    if as_json:
        return [each.entry.decode("utf-8", "replace") for each in found]
    settled = {each.texts["settles"]: each.texts for each in ended}
    return [_line(each, settled.get(each.texts["event"])) for each in found if not each.texts["settles"]]


def _line(found: Chained, settlement: Texts | None) -> str:
    row = row_of(found.texts)
    told = settlement or found.texts
    ended = (told["outcome"] or "open") + (f" ({told['reason']})" if told["reason"] else "")
    keys = f" [{', '.join(row.keys)}]" if row.keys else ""
    what = row.subject if row.subject == row.target else f"{row.subject} -> {row.target}"
    attempt = f" #{row.attempt}" if row.attempt else ""
    return f"{found.seq} {found.texts['at']} {row.actor} {row.action} {what}{keys}: {ended}{attempt}"
