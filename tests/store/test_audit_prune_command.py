"""`keyturn audit prune`, as whoever looks after the database runs it, and what `keyturn audit verify` says after it."""

import asyncio
import os
import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.model.audit import Outcome
from keyturn.model.keys import MasterKeys
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit import seal_key, trail_of
from keyturn.store.audit_segments import segments_of
from keyturn.store.checkpoints import CheckpointBook, rows_of
from keyturn.store.keys import Keyholder
from keyturn.store.signing import SigningKey
from store.places import ITERATIONS, Place
from store.test_acknowledge_loss import ours
from store.test_audit import AT, row
from store.test_audit_segments import grown, names

SEED = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
"""Of a key that signs, for this test alone."""


async def keyturn(place: Place, *arguments: object, **environment: str) -> tuple[int, list[str]]:
    told = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "DATABASE_URL": place.url, **environment}
    argv = [sys.executable, "-m", "keyturn", "audit", *map(str, arguments)]
    pipe, stdin = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*argv, env=told, stdin=stdin, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, said.decode().splitlines()


async def test_rows_are_moved_by_the_command_and_followed_again(place: Place, tmp_path: Path) -> None:
    made, _ = await ours(place)
    await grown(place, made=made)
    (folder := tmp_path / "segments").mkdir()
    owner = {"DATABASE_OWNER_URL": place.owner_url, "AUDIT_SIGNING_KEY": SEED, "SECRET_KEY": place.master}
    code, said = await keyturn(place, "prune", "--up-to", 10, "--to", folder, **owner)
    moved = await segments_of(place.database())
    stays = "row 11 and all after it stay: it was not asked for"
    stays += "; rows before it in the same partition stay with it, and the newest takes 100,000" if place.server else ""
    lines = [f"rows {each.first} to {each.last} are in {folder / each.name} (SHA-256 {each.digest.hex()})" for each in moved]
    assert (code, said) == (0, [*lines, stays])
    assert names(folder) == [each.name for each in moved]
    assert moved[-1].last == 10
    code, said = await keyturn(place, "prune", "--up-to", 10, "--to", folder, **owner)
    assert (code, said) == (0, ["no row was moved", stays])
    code, said = await keyturn(place, "prune", "--keep", "3650d", "--to", folder, **owner)
    assert (code, "it is not older than what was asked for" in said[-1]) == (0, True), said
    _, [vkey] = await keyturn(place, "key", AUDIT_SIGNING_KEY=SEED)
    code, said = await keyturn(place, "verify", "--segments", folder, "--key", vkey)
    # The segments are signed, and what stays is not: no operator has written a checkpoint here.
    assert (code, said[1]) == (1, f"rows 1 to 10 are in {len(moved)} files, which were followed")
    assert "no row in the database is signed by" in said[-1]
    code, said = await keyturn(place, "verify")
    assert (code, said[1]) == (0, f"rows 1 to 10 are in {len(moved)} files: give their folder with --segments, and they are followed too")
    assert "was not checked: give the public key" in said[2]
    code, said = await keyturn(place, "verify", "--file", folder / moved[0].name)
    assert (code, said[0].partition(" hang")[0]) == (0, f"rows 1 to {moved[0].last}")
    code, said = await keyturn(place, "export", "-o", tmp_path / "old", "--from", 2)
    assert (code, said) == (1, [f"keyturn: rows up to 10 were moved out of the database; the newest of their files is {moved[-1].name}"])
    code, said = await keyturn(place, "export", "-o", tmp_path / "rest")
    assert (code, said[0].partition(";")[0]) == (0, f"{tmp_path / 'rest'} has rows 11 to {20 + len(moved)}")
    elsewhere = f"rows 1 to 10 were moved out of the database, and are not looked into; the newest of their files is {moved[-1].name}"
    assert said[1:] == [elsewhere]
    code, said = await keyturn(place, "export", "-o", "-")
    assert (code, said[-2].partition(";")[0], said[-1]) == (0, f"standard output has rows 11 to {20 + len(moved)}", elsewhere)
    assert "\n".join((*said[:-2], "")) == (tmp_path / "rest").read_text()
    code, said = await keyturn(place, "query", "--object", "shop/nothing")
    assert (code, said[-1]) == (0, elsewhere)
    code, said = await keyturn(place, "query", "--action", "audit.prune")
    assert (code, "user=" in said[0] and "host=" in said[0]) == (0, True), said
    (folder / moved[0].name).unlink()
    code, said = await keyturn(place, "verify", "--segments", folder, "--key", vkey)
    assert (code, len(said)) == (1, 1)
    assert "row 1: the segment that begins with it cannot be followed" in said[0]


async def test_whoever_has_no_master_key_moves_nothing_for_nobody_could_tell_the_rows_of_it(place: Place, tmp_path: Path) -> None:
    code, said = await keyturn(place, "prune", "--up-to", 5, "--to", tmp_path, AUDIT_SIGNING_KEY=SEED)
    assert (code, said) == (1, ["keyturn: what a prune records is sealed: give the master keys in SECRET_KEY or SECRET_KEYS_FILE"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--up-to", 5), "keyturn: set AUDIT_SIGNING_KEY: what the database remembers of each file is signed"),
        (
            ("--keep", "90"),
            "Error: Invalid value for '--keep': is no time that rows could be kept; write it as 90d, or as a Go duration such as 2160h",
        ),
        ((), "Error: give one of --before, --keep and --up-to"),
        (("--up-to", 5, "--keep", "1h"), "Error: give one of --before, --keep and --up-to"),
    ],
)
async def test_what_is_not_said_is_asked_for(place: Place, tmp_path: Path, given: tuple[object, ...], told: str) -> None:
    code, said = await keyturn(place, "prune", "--to", tmp_path, *given)
    assert (code > 0, said[-1]) == (True, told)


async def test_the_run_time_user_of_a_server_is_told_whose_log_in_it_takes(place: Place, tmp_path: Path) -> None:
    if place.server is None:
        return  # whoever has the file may move rows out of it
    made, _ = await ours(place)
    await grown(place, made=made)
    given = {"AUDIT_SIGNING_KEY": SEED, "SECRET_KEY": place.master}
    code, said = await keyturn(place, "prune", "--up-to", 10, "--to", tmp_path, **given)
    assert (code, len(said)) == (1, 1)
    assert re.search("log in with DATABASE_OWNER_URL as the owner of its tables", said[0])
    assert names(tmp_path) == []


async def test_checkpoints_of_days_that_are_over_for_long_go_too(place: Place, tmp_path: Path) -> None:
    holder = Keyholder(place.database(), MasterKeys.of({"SECRET_KEY": place.master}), ITERATIONS)
    await holder.open()
    made, signing = trail_of(holder), SigningKey.of(Sensitive.of(SEED), "a test")
    book = CheckpointBook(made, place.database(), lambda key_id: seal_key(holder, key_id), signing)
    for hour in (1, 2, 3, 24 * 9):
        await made.append([row(f"h{hour}", outcome=Outcome.SUCCESS)])
        assert await book.write(AT.replace(hour=0) + timedelta(hours=hour)) is not None
    keys = {"DATABASE_OWNER_URL": place.owner_url, "AUDIT_SIGNING_KEY": SEED, "SECRET_KEY": place.master}
    code, said = await keyturn(place, "prune", "--up-to", 1, "--to", tmp_path, **keys)
    assert (code, said[-2]) == (0, "2 checkpoints of days that are over for a week were taken out: later ones cover them")
    assert [each.seq for each in await rows_of(place.database())] == [3, 4]
    code, said = await keyturn(place, "verify", AUDIT_SIGNING_KEY=SEED, SECRET_KEY=place.master)
    assert (code, any(line.startswith("signed to row 4, by ") for line in said)) == (0, True), said
