"""``keyturn keys``: the master keys of the database. Reads DATABASE_URL and the keys from the environment, never from arguments."""

import asyncio
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from keyturn.cli.kept_keys import master_keys
from keyturn.cli.needs import NoDatabase, need
from keyturn.cli.run import Duration
from keyturn.cli.trail import about_actor, fact, kept
from keyturn.flow.audit import audited
from keyturn.model.audit import AuditEntry
from keyturn.model.sensitive import Sensitive

if TYPE_CHECKING:
    from keyturn.store.engine import Database
    from keyturn.store.rotation import Standing

WAIT_S = 120.0
_LONGEST = 70
_NO_KEY = "the database has no key yet: the first one is made when it is first used"


@click.group()
def keys() -> None:
    """Look at and change the master key of the database that DATABASE_URL names."""


@keys.command()
@click.option("--status", is_flag=True, help="Say where the keys are, and change nothing; needs no master key.")
@click.option("--withdraw", is_flag=True, help="Keep SECRET_KEY, which is active, and drop keys that were added and never activated.")
@click.option("--wait", "wait_s", type=Duration(), default=WAIT_S, help="How long to wait for replicas to open the key.  [default: 2m]")
def rotate(*, status: bool, withdraw: bool, wait_s: float) -> None:
    """Bring all rows under the key in SECRET_KEY, or in the first line of SECRET_KEYS_FILE.

    Give every replica, and this command, the new key as SECRET_KEY and the old one as SECRET_KEY_PREVIOUS (or both in
    SECRET_KEYS_FILE, the new one first), and restart the replicas. Then run this. It adds the new key, waits until every
    live replica can open it, activates it, moves all rows and drops the old key. Cut off anywhere, it goes on when it is run again.
    """
    if status and withdraw:
        raise click.UsageError("--status changes nothing, and --withdraw does; leave one of them out")
    need("database", "keyturn keys")
    asyncio.run(_status() if status else _rotate(wait_s, withdraw=withdraw))


def _database() -> "Database":
    from keyturn.store.engine import open_database

    url = Sensitive.of(os.environ.get("DATABASE_URL", "").strip())
    if not url:
        raise NoDatabase("set DATABASE_URL to the database whose keys are meant")
    database = open_database(url)
    # SQLite would make it, and a rotation of nothing would seem to have been one.
    if missing := database.missing_file:
        raise NoDatabase(f"the file {missing} that DATABASE_URL names is not there")
    return database


async def _rotate(wait_s: float, *, withdraw: bool) -> None:
    from keyturn.store.audit import trail_of
    from keyturn.store.keys import Keyholder
    from keyturn.store.readiness import ready
    from keyturn.store.rotation import Rotation, standing

    database = _database()
    try:
        await ready(database)
        found = await standing(database)
        if not found.keys and not found.rows:
            click.echo(_NO_KEY)
            return
        holder = Keyholder(database, await master_keys())
        await holder.open()
        steps: list[str] = []

        def tell(step: str) -> None:
            steps.append(step)
            click.echo(step)

        rotation, entry = Rotation(holder, tell, fact), _entry("keys.withdraw" if withdraw else "keys.rotate", holder.ring.active)
        async with audited(kept(trail_of(holder)), entry) as result:
            try:
                await (rotation.withdraw() if withdraw else rotation.run(wait_s))
            finally:
                result.details = {"active": holder.ring.active, "steps": "; ".join(step for step in steps if not step.startswith("moved "))}
    finally:
        await database.close()


def _entry(action: str, active: str) -> AuditEntry:
    return AuditEntry(action, f"user {os.getuid()}", "encryption_keys", "cli", details={"active": active, **about_actor()})


async def _status() -> None:
    from keyturn.store.rotation import standing

    database = _database()
    try:
        found = await standing(database)
    finally:
        await database.close()
    for line in _told(found):
        click.echo(line)


def _shown(text: str) -> str:
    """What stands in the database, on one line: whoever writes there must not write on the terminal."""
    return text if text.isprintable() and len(text) <= _LONGEST else repr(text)[:_LONGEST]


def _told(found: "Standing") -> Iterator[str]:
    names = {key.id for key in found.keys}
    for key in found.keys:
        yield f"key {_shown(key.id)}: {_shown(key.state)}, {found.rows[key.id]} rows, since {key.created_at:%Y-%m-%d %H:%M} UTC"
    for lost in sorted(set(found.rows) - names):
        yield f"key {_shown(lost)}: lost, and {found.rows[lost]} rows need it; restore encryption_keys from a backup"
    for replica in found.replicas:
        cannot = sorted(names - replica.key_ids)
        state = "live" if replica.is_live else f"silent since {replica.seen_at:%Y-%m-%d %H:%M:%S} UTC"
        yield f"replica {replica.id}: {state}, {'cannot open ' + ', '.join(cannot) if cannot else 'can open all'}"
    if not found.keys and not found.rows:
        yield _NO_KEY
