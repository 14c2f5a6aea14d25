"""``keyturn audit verify`` and ``keyturn audit key``: whether the trail is as it was written, and by which key that is told."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.audit_door import Anchor, database_url, given_keys, opened_trail, processors, progress
from keyturn.cli.audit_evidence import ASK, CAME_ALONG, NO_END, NoAuditKey, kept_notes, known_keys
from keyturn.cli.audit_export import FILE
from keyturn.cli.audit_prune import FOLDER, told_of_segments
from keyturn.cli.audit_verify_file import told_of_file
from keyturn.cli.needs import need
from keyturn.decide.hashchain import Walk
from keyturn.decide.printable import printed
from keyturn.model.audit import Head
from keyturn.model.checkpoint import AuditTampered
from keyturn.model.errors import KeyturnError
from keyturn.model.keys import AUDIT_SIGNING_KEY, SECRET_KEY, SECRET_KEYS_FILE
from keyturn.model.note import VerifierKey

if TYPE_CHECKING:
    from keyturn.decide.hashchain import Break
    from keyturn.store.proof import Proof

_BARE: str = "by a command without the master keys, or by somebody who has the database"
_NAMED: int = 5


class NothingSigned(KeyturnError):
    """A key was given, and nothing of the trail is signed by it: whoever asks with a key is not to take that for a proof."""


@click.command()
@click.option("--anchor", type=Anchor(), help="An end that was told before: it has to be on the way, or rows were taken away.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="VKEY|FILE",
    help="The public key of checkpoints, or a file of such; may be given again. Without it, that of AUDIT_SIGNING_KEY.",
)
@click.option(
    "--checkpoint",
    "kept",
    multiple=True,
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="A checkpoint that was kept elsewhere, or the ConfigMap in JSON; may be given again.",
)
@click.option("--segments", "folder", type=FOLDER, help="The folder of what `keyturn audit prune` moved: it is followed from row 1 on.")
@click.option("--file", type=FILE, help="Rows that `keyturn audit export` wrote, in the place of a database.")
@click.option("--jobs", type=click.IntRange(1, 64), default=processors, help="Processes that share in a long trail. Default: the CPUs.")
def verify(
    *, anchor: Head | None, keys: tuple[str, ...], kept: tuple[Path, ...], jobs: int, file: Path | None, folder: Path | None
) -> None:
    """Say whether the trail is as it was written, or which row shows that it is not.

    Needs no secret: the public key of checkpoints is enough, and checkpoints that were kept where nobody has the database
    prove that no row up to there was changed since. With the master keys in SECRET_KEY or SECRET_KEYS_FILE the seals are
    checked too, which nobody can make who has the database alone.
    """
    need("database", "keyturn audit")
    if file is not None:
        if folder is not None:
            message = "--segments goes with a database; a file of it is followed alone with --file"
            raise click.UsageError(message)
        click.echo(told_of_file(file, anchor, keys, kept))
        return
    told, problem = asyncio.run(_verify(anchor, keys, kept, jobs, folder))
    for line in told:
        click.echo(printed(line))
    if problem is not None:
        raise problem


@click.command()
def key() -> None:
    """Print the public key of AUDIT_SIGNING_KEY, which `keyturn audit verify --key` takes."""
    need("database", "keyturn audit")
    from keyturn.store.audit_keys import take_audit_keys

    signing = take_audit_keys().signing
    if signing is None:
        raise NoAuditKey(f"set AUDIT_SIGNING_KEY; the public half of a key that the operator made for itself: {ASK}")
    click.echo(str(signing.verifier))


async def _verify(
    anchor: Head | None, keys: Sequence[str], kept: Sequence[Path], jobs: int, folder: Path | None
) -> tuple[Sequence[str], KeyturnError | None]:
    from keyturn.store.audit import seal_key
    from keyturn.store.audit_walk import Pace
    from keyturn.store.proof import prove

    notes, brought = kept_notes(kept)
    known = known_keys(keys)
    async with opened_trail() as (database, trail):
        holder = await given_keys(database)
        walk = Walk(lambda key_id: seal_key(holder, key_id) if holder is not None else None, anchor=anchor)
        with progress() as followed:
            proof = await prove(database, walk, known or brought, notes, Pace(database_url(), jobs, followed), folder)
        if proof.problem and not proof.strangers:
            raise AuditTampered(f"the audit trail is not as it was written: {proof.problem}")
        unsettled = len(await trail.unsettled())
    told = list(_told(walk, unsettled, has_keys=holder is not None))
    moved = told_of_segments(proof.shelf, is_signed=bool(known or brought), is_followed=folder is not None)
    signed = _signed(proof, known, brought) if walk.at.seq else ()
    if anchor is None and not notes:
        told.append(NO_END)
    return [*told[:1], *moved, *signed, *told[1:]], _problem(proof, known or brought)


def _problem(proof: "Proof", keys: Sequence[VerifierKey]) -> KeyturnError | None:
    """Why it fails, where all rows hang together."""
    unsigned = _unsigned(proof, keys) if keys and not proof.walk.signed_to else ""
    if proof.strangers:
        return AuditTampered(printed("; ".join(each for each in (_put_in(proof.strangers), unsigned) if each)))
    return NothingSigned(printed(unsigned)) if unsigned else None


def _unsigned(proof: "Proof", keys: Sequence[VerifierKey]) -> str:
    none, held = (
        f"no row in the database is signed by {', '.join(map(str, keys))}",
        "hold the trail against one that was kept elsewhere (--checkpoint)",
    )
    if names := ", ".join(proof.series.unknown):
        return (
            f"{none}: the checkpoints in the database are by {names}; if that is a key of yours, give it with --key; else somebody"
            f" made them anew, or this is another database: {held}"
        )
    return (
        f"{none}: the database has no checkpoint by it. An operator writes one as it begins to work: if one ever did with this database,"
        f" they were taken away, or it is another: {held}. If none did yet, there is nothing to check by a key: leave out --key and"
        f" {AUDIT_SIGNING_KEY}"
    )


def _put_in(strangers: "Sequence[Break]") -> str:
    more = f", and {len(strangers) - _NAMED} more" if len(strangers) > _NAMED else ""
    return (
        f"somebody put {len(strangers)} rows into the tables of checkpoints or segments, which say nothing; all else is as told above:"
        f" {'; '.join(map(str, strangers[:_NAMED]))}{more}; keep a copy of them, and have the tables' owner take them out"
        " (docs/audit.md, What somebody put in)"
    )


def _signed(proof: "Proof", known: Sequence[VerifierKey], brought: Sequence[VerifierKey]) -> Iterator[str]:
    if proof.walk.signed_to:
        yield f"signed to row {proof.walk.signed_to}, by {', '.join(str(key) for key in known or brought)}"
    elif not (known or brought):
        yield f"signatures were not checked: give the public key with --key; {ASK}"
    if brought and not known:
        yield CAME_ALONG
    for name, count in proof.series.unknown.items() if known or brought else ():
        yield f"{count} checkpoints are signed by {name}, which is not at hand, and so by nobody: give it with --key if it is yours"
    for each in proof.lost:
        yield f"rows up to {each.checkpoint.head.seq} of a checkpoint from elsewhere are lost, and that was accepted"
    anchor = proof.walk.anchor
    if anchor is not None and proof.walk.lacks(anchor):
        yield f"row {anchor.seq} of the anchor is lost, and that was accepted in row {proof.walk.accepted}"


def _stretches(bare: Sequence[tuple[int, int]]) -> str:
    named = ", ".join(f"{first} to {last}" if last > first else str(first) for first, last in bare[:_NAMED])
    return f"{named} and more" if len(bare) > _NAMED else named


def _told(walk: Walk, open_intents: int, *, has_keys: bool) -> Iterator[str]:
    if not walk.at.seq:
        yield "the audit trail is empty"
        return
    yield f"{walk.at.seq} rows hang together as they were written; the end is {walk.at}"
    if has_keys:
        yield f"sealed by our keys to row {walk.sealed_to}" + (f"; {walk.unchecked} seals are of other keys" if walk.unchecked else "")
        if bare := walk.bare:
            yield f"{sum(last - first + 1 for first, last in bare)} rows are under no seal: {_stretches(bare)}; {_BARE}"
    else:
        yield f"seals were not checked: give the master keys in {SECRET_KEY} or {SECRET_KEYS_FILE}"
    if open_intents:
        yield f"{open_intents} intents are not settled: under way, or whoever made them ended; see keyturn audit query --outcome open"
