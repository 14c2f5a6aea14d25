"""``keyturn audit query``: who did what, for whom, why, and how it ended, a line for each."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from keyturn.cli.audit_door import Text, Time, in_order, opened_trail, told_elsewhere
from keyturn.cli.needs import need
from keyturn.decide.auditrow import row_of
from keyturn.decide.printable import printed
from keyturn.model.audit import OPEN, AuditRow, Chained, Outcome, Question

TOLD: Final = (
    "by",
    "fields",
    "added",
    "removed",
    "sources",
    "version",
    "asked",
    "answered",
    "failed",
    "cause",
    "secret",
    "problem",
    "message",
    "more",
    "rows",
    "note",
    "user",
    "host",
)
"""Details that a line tells, in this order; all of them stand in --json."""


@click.command()
@click.option(
    "--object", type=Text(), default="", help="What is done for or to this object: ManagedSecret/shop/app, or shop/app for all kinds."
)
@click.option("--namespace", type=Text(), default="", help="What is done for or to objects of this namespace.")
@click.option("--actor", type=Text(), default="", help="What this actor does, such as operator/keyturn-0.")
@click.option("--action", type=Text(), default="", help="This action, such as secret.create.")
@click.option("--attempt", type=Text(), default="", help="What belongs to one attempt, as a line has it after the #.")
@click.option("--key", type=Text(), default="", help="What is about this key, by its name in the Secret or at the provider.")
@click.option("--outcome", type=click.Choice([*map(str, Outcome), OPEN]), help="What ended like this, or did not end.")
@click.option("--reason", type=Text(), default="", help="What ended for this reason, such as AccessDenied.")
@click.option("--since", type=Time(), help="Not before this time (UTC), or so long ago, such as 2h or 2d.")
@click.option("--until", type=Time(), help="Before this time (UTC), or so long ago.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="So many of the newest.")
@click.option("--json", "as_json", is_flag=True, help="Each row as it stands in the chain, one on each line.")
def query(*, as_json: bool, limit: int, **asked: Any) -> None:
    """Show what was done, for whom, why, and how it ended; the newest last."""
    need("database", "keyturn audit")
    in_order(asked["since"], asked["until"])
    asked["attempt"] = asked["attempt"].removeprefix("#")
    given = {name: value for name, value in asked.items() if value}
    lines, elsewhere = asyncio.run(_lines(Question(**given, every_row=as_json), limit, as_json=as_json))
    for line in lines:
        click.echo(printed(line))
    if not lines:
        click.echo(_nothing(given), err=True)
    elif len(lines) == limit:
        click.echo(f"these are the newest {limit}; --limit shows more, --since and --until others", err=True)
    if elsewhere and len(lines) < limit:
        click.echo(elsewhere, err=True)


async def _lines(question: Question, limit: int, *, as_json: bool) -> tuple[Sequence[str], str]:
    from keyturn.store.audit_range import begins_after
    from keyturn.store.audit_segments import segments_of

    async with opened_trail() as (database, trail):
        found = await trail.asked(question, limit)
        ended = [] if as_json else await trail.settlements([each.texts["event"] for each in found])
        elsewhere = told_elsewhere(await segments_of(database)) if await begins_after(database, question.since) else ""
    if as_json:
        return [each.entry.decode("utf-8", "replace") for each in found], elsewhere
    settled = {each.texts["settles"]: row_of(each.texts) for each in ended}
    return [_line(each, settled.get(each.texts["event"])) for each in found], elsewhere


def _line(found: Chained, settlement: AuditRow | None) -> str:
    row = row_of(found.texts)
    told = settlement or row
    ended = (told.outcome or OPEN) + (f" ({told.reason})" if told.reason else "")
    keys = f" [{', '.join(told.keys)}]" if told.keys else ""
    what = row.subject if row.subject == row.target else f"{row.subject} -> {row.target}"
    attempt = f" #{row.attempt}" if row.attempt else ""
    why = "".join(f"; {part}" for part in (row.trigger, _more(told.details)) if part)
    return f"{found.seq} {found.texts['at']} {row.actor} {row.action} {what}{keys}: {ended}{why}{attempt}"


def _more(details: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={details[name]}" for name in TOLD if details.get(name))


def _nothing(asked: Mapping[str, Any]) -> str:
    if not asked:
        return "the audit trail is empty: nothing was done yet, or DATABASE_URL names another database than the operator's"
    hints = list(dict.fromkeys(hint for name, hint in _HINTS.items() if name in asked))
    return f"no row is about that{'; ' if hints else ''}{'; '.join(hints)}"


_HINTS: Final = {
    "object": "objects are called KIND/NAMESPACE/NAME, such as ManagedSecret/shop/app, ClusterSecretProvider/NAME, or default",
    "actor": "actors are called operator/POD, or user/UID",
    "action": "docs/audit.md lists the actions",
    "attempt": "an attempt is all of the word behind the # of a line",
    "key": "keys are named as in the Secret or at the provider, whole",
    "since": "times are in UTC",
    "until": "times are in UTC",
}
