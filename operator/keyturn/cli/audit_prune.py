"""``keyturn audit prune``: the oldest rows of the trail moved out of the database into files, which stay part of the chain."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from keyturn.cli.audit_door import Span, Time, database_url, given_keys, opened_trail
from keyturn.cli.db import OWNER_URL, NotTheOwner
from keyturn.cli.needs import need
from keyturn.cli.trail import fact
from keyturn.model.errors import AccessDenied, KeyturnError
from keyturn.model.keys import SECRET_KEY, SECRET_KEYS_FILE, KeysRefused
from keyturn.model.sensitive import Sensitive

if TYPE_CHECKING:
    from keyturn.decide.segment import Shelf
    from keyturn.model.segment import Segment
    from keyturn.store.audit_prune import Wish

FOLDER: Final = click.Path(file_okay=False, exists=True, path_type=Path)


class NoSigningKey(KeyturnError):
    """What is moved has to be signed, and no key was given."""


@click.command()
@click.option("--before", type=Time(), help="Rows before the first that is not older than this (UTC).")
@click.option("--keep", "keep_s", type=Span(), help="Rows before the first that is not older than this, such as 90d.")
@click.option("--up-to", type=click.IntRange(1), help="Rows up to this one.")
@click.option("--to", "folder", required=True, type=FOLDER, help="Folder of the files. Keep it: they are part of the trail.")
def prune(*, before: datetime | None, keep_s: float | None, up_to: int | None, folder: Path) -> None:
    """Move the oldest rows out of the database into files, which `keyturn audit verify --segments` follows with the rest.

    Works as the owner in DATABASE_OWNER_URL, or DATABASE_URL where the database is a file. AUDIT_SIGNING_KEY signs what the
    database remembers of each file. The newest row stays always, as does that of the newest checkpoint. Checkpoints go too: all
    of the last seven days stay, and before that the last of each day by each key.
    """
    need("database", "keyturn audit")
    if sum(given is not None for given in (before, keep_s, up_to)) != 1:
        message = "give one of --before, --keep and --up-to"
        raise click.UsageError(message)
    from keyturn.store.audit_prune import Wish

    now = datetime.now(UTC)
    wish = Wish(up_to, now - timedelta(seconds=keep_s) if keep_s is not None else before)
    for line in asyncio.run(_prune(wish, folder, now)):
        click.echo(line)


async def _prune(wish: "Wish", folder: Path, now: datetime) -> Sequence[str]:
    from keyturn.store.audit import seal_key, trail_of
    from keyturn.store.audit_keys import take_audit_keys
    from keyturn.store.audit_partitions import ROWS
    from keyturn.store.audit_prune import Pruning
    from keyturn.store.audit_thin import thin

    given = take_audit_keys()
    if (signing := given.signing) is None:
        raise NoSigningKey("set AUDIT_SIGNING_KEY: what the database remembers of each file is signed")
    owner = Sensitive.of(os.environ.get(OWNER_URL, "").strip())
    async with opened_trail(owner or database_url()) as (database, _):
        if (holder := await given_keys(database)) is None:
            raise KeysRefused(f"what a prune records is sealed: give the master keys in {SECRET_KEY} or {SECRET_KEYS_FILE}")
        pruning = Pruning(
            database,
            partial(seal_key, holder),
            lambda: (holder.ring.active, seal_key(holder, holder.ring.active)),
            signing,
            fact,
            folder,
            known=given.known,
        )
        try:
            moved = await pruning.run(wish, now)
            last, why = await pruning.limit(wish)
            thinned = await thin(database, trail_of(holder), (signing.verifier, *given.known), fact)
        except AccessDenied:
            if database.is_sqlite:
                raise
            raise NotTheOwner(
                f"the database does not let this user move rows; log in with {OWNER_URL} as the owner of its tables"
            ) from None
    whole = "" if database.is_sqlite else f"; rows before it in the same partition stay with it, and the newest takes {ROWS:,}"
    gone = [f"{thinned} checkpoints of days that are over for a week were taken out: later ones cover them"] if thinned else []
    lines = [_line(each, folder) for each in moved] or ["no row was moved"]
    return [*lines, *gone, f"row {last + 1} and all after it stay: {why}{whole}"]


def _line(segment: "Segment", folder: Path) -> str:
    return f"rows {segment.first} to {segment.last} are in {folder / segment.name} (SHA-256 {segment.digest.hex()})"


def told_of_segments(shelf: "Shelf", *, is_signed: bool, is_followed: bool) -> Iterator[str]:
    """What there is to say of segments that hang together."""
    if not shelf.found:
        return
    where = f"rows 1 to {shelf.at.seq} are in {len(shelf.found)} files"
    yield f"{where}, which were followed" if is_followed else f"{where}: give their folder with --segments, and they are followed too"
    if not is_signed:
        yield "what the database remembers of them is signed, which was not checked: give the public key with --key"
