"""``keyturn audit``: the trail in the database that DATABASE_URL names, followed row by row, or asked for what somebody did."""

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from keyturn.cli.audit_door import Anchor, given_keys, opened_trail
from keyturn.cli.audit_export import export
from keyturn.cli.audit_prune import prune
from keyturn.cli.audit_query import query
from keyturn.cli.audit_verify import key, verify
from keyturn.cli.kept_keys import audit_keys
from keyturn.cli.needs import need
from keyturn.cli.trail import fact
from keyturn.model.audit import ACCEPTED, AuditEntry, AuditRow, Head
from keyturn.model.checkpoint import AuditTampered
from keyturn.model.errors import KeyturnError
from keyturn.model.keys import AUDIT_SIGNING_KEY, AUDIT_SIGNING_KEY_PREVIOUS, SECRET_KEY, SECRET_KEYS_FILE, KeysRefused

if TYPE_CHECKING:
    from keyturn.model.segment import Segment
    from keyturn.store.audit import AuditTrail


class NoOutput(KeyturnError):
    """There is nowhere to tell anything."""


@click.group()
def audit() -> None:
    """Follow the audit trail, or ask it who did what."""
    if sys.stdout is None:
        raise NoOutput("standard output is closed, and what this command tells would be lost: send it to a file, or to /dev/null")


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
@click.option("--note", default="", help="Why, such as the number of a ticket: it is recorded with it.")
def acknowledge_loss(*, anchors: tuple[Head, ...], note: str) -> None:
    """Accept that rows of the audit trail are lost, as after a restore of an older backup, or with another database.

    That is recorded in the trail itself, with who did it; the operator goes on after it.
    """
    need("database", "keyturn audit")
    for line in asyncio.run(_acknowledge(anchors, note.strip())):
        click.echo(line)


async def _acknowledge(anchors: Sequence[Head], note: str) -> Sequence[str]:
    from keyturn.store.audit import trail_of
    from keyturn.store.audit_segments import segments_of, shelved

    async with opened_trail() as (database, _):
        if (holder := await given_keys(database)) is None:
            raise KeysRefused(
                f"whoever has the database alone could accept its loss: give the master keys in {SECRET_KEY} or {SECRET_KEYS_FILE}"
            )
        trail, moved = trail_of(holder), await segments_of(database)
        # Whoever has the database could say that rows were moved which are lost, and so keep anybody from accepting that.
        if moved and (keys := await audit_keys()):
            moved, is_proved = await shelved(database, keys), True
        else:
            is_proved = False
        head = await trail.head()
        told = [await _accept(trail, head, note)] if head in anchors and await _is_strange(trail) else []
        known = {anchor: await _known(trail, moved, anchor, is_proved=is_proved) for anchor in anchors if not told or anchor != head}
        told += [f"nothing is lost: {why}" for why in known.values() if why]
        for anchor in (each for each, why in known.items() if not why):
            is_beyond = anchor.seq > head.seq
            rows = f"{head.seq + 1} to {anchor.seq}" if is_beyond else f"up to {anchor.seq}, where another row is now"
            seq = (await trail.append([_row(ACCEPTED, anchor, rows, note)])).seq
            lost = (
                f"what was written up to row {anchor.seq} after row {head.seq}" if is_beyond else f"row {anchor}, where another one is now,"
            )
            told.append(f"recorded as row {seq}: {lost} is lost")
    return told


async def _known(trail: "AuditTrail", moved: Sequence["Segment"], anchor: Head, *, is_proved: bool) -> str:
    """Why this end is not lost; '' where it is. Raises `RowsElsewhere` where that is known by a file alone.

    ``is_proved``: whether ``moved`` are ours, as a known key signed them.
    """
    from keyturn.store.audit_segments import RowsElsewhere

    if await trail.has(anchor):
        return f"the trail holds {anchor}"
    if any(row.target == str(anchor) for row in await trail.losses()):
        return f"that {anchor} is lost was accepted before"
    for each in moved:
        if not is_proved and each.first <= anchor.seq <= each.last:
            raise RowsElsewhere(
                f"nothing is recorded: the table of segments says that row {anchor.seq} was moved into {each.name}; whether that is ours"
                f" its key tells: give {AUDIT_SIGNING_KEY}, or the public key as {AUDIT_SIGNING_KEY_PREVIOUS}"
            )
        if each.end == anchor:
            return f"{anchor} is the end of {each.name}, which was moved out of the database"
        if each.first <= anchor.seq < each.last:
            raise RowsElsewhere(
                f"nothing is recorded: row {anchor.seq} was moved into {each.name}, and its hash is known there alone; look whether it is"
                f" the one: keyturn audit verify --segments FOLDER --anchor {anchor}"
            )
    return ""


async def _is_strange(trail: "AuditTrail") -> bool:
    """Whether nobody of ours would write behind its end."""
    try:
        await trail.append(())
    except AuditTampered:
        return True
    return False


async def _accept(trail: "AuditTrail", head: Head, note: str) -> str:
    row = _row("audit.accept-end", head, f"up to {head.seq}, which no seal of ours is over", note)
    seq = (await trail.append([row], onto=head)).seq
    return (
        f"recorded as row {seq}: the trail goes on behind row {head.seq}, though it is under no seal; keyturn audit verify goes on to tell"
    )


def _row(action: str, anchor: Head, rows: str, note: str) -> AuditRow:
    return fact(AuditEntry(action, "audit trail", str(anchor), details={"rows": rows, **({"note": note} if note else {})}))
