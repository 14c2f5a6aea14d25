"""``keyturn audit``: the trail in the database that DATABASE_URL names, followed row by row, or asked for what somebody did."""

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click

from keyturn.cli.audit_door import Anchor, given_keys, opened_trail
from keyturn.cli.audit_export import export
from keyturn.cli.audit_prune import prune
from keyturn.cli.audit_query import query
from keyturn.cli.audit_verify import key, verify
from keyturn.cli.needs import need
from keyturn.model.audit import ACCEPTED, AuditRow, Head, Outcome
from keyturn.model.keys import SECRET_KEY, SECRET_KEYS_FILE, KeysRefused


@click.group()
def audit() -> None:
    """Follow the audit trail, or ask it who did what."""


audit.add_command(verify)
audit.add_command(export)
audit.add_command(prune)
audit.add_command(key)
audit.add_command(query)


@audit.command("acknowledge-loss")
@click.option(
    "--anchor",
    "anchors",
    type=Anchor(),
    required=True,
    multiple=True,
    help="An end that the trail lacks, as the operator tells it; may be given again.",
)
def acknowledge_loss(*, anchors: tuple[Head, ...]) -> None:
    """Accept that rows of the audit trail are lost, as after a restore of an older backup, or with another database.

    That is recorded in the trail itself, with who did it; the operator goes on after it.
    """
    need("database", "keyturn audit")
    for line in asyncio.run(_acknowledge(anchors)):
        click.echo(line)


async def _acknowledge(anchors: Sequence[Head]) -> Sequence[str]:
    from keyturn.store.audit import trail_of

    async with opened_trail() as (database, _):
        if (holder := await given_keys(database)) is None:
            raise KeysRefused(
                f"whoever has the database alone could accept its loss: give the master keys in {SECRET_KEY} or {SECRET_KEYS_FILE}"
            )
        trail = trail_of(holder)
        head, told = await trail.head(), []
        for anchor in anchors:
            if await trail.holds(anchor):
                told.append(f"nothing is lost: the trail holds {anchor}, or that was accepted before")
                continue
            row = _loss(anchor, {"rows": f"{head.seq + 1} to {anchor.seq}"})
            seq = (await trail.append([row])).seq
            told.append(f"recorded as row {seq}: what was written up to row {anchor.seq} after row {head.seq} is lost")
    return told


def _loss(anchor: Head, details: Mapping[str, str]) -> AuditRow:
    event, who = secrets.token_hex(8), f"user/{os.getuid()}"
    return AuditRow(event, datetime.now(UTC), who, ACCEPTED, "audit trail", str(anchor), details=details, outcome=Outcome.SUCCESS)
