"""`keyturn audit verify` as an auditor runs it: with the database, the public key, and what was kept elsewhere; and with no secret."""

import asyncio
import base64
import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from store.checkpointed import book, signer
from store.places import Place
from store.test_audit import KEY, row
from store.test_checkpoints import LATER, filled, made_anew, unlocked

VKEY = str(signer().verifier)


async def keyturn(place: Place, *arguments: str, **variables: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "keyturn", "audit", *arguments]
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": place.url, "PYTHONPATH": os.pathsep.join(sys.path)} | variables
    pipe = asyncio.subprocess.PIPE
    ran = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    told, _ = await ran.communicate()
    return ran.returncode or 0, told.decode()


async def test_with_the_public_key_it_says_how_far_the_trail_is_signed(place: Place, tmp_path: Path) -> None:
    made, signed = await filled(place)
    await made.append([row("later")])
    code, told = await keyturn(place, "verify", "--key", VKEY)
    assert (code, told.splitlines()[1]) == (0, f"signed to row 15, by {VKEY}")
    (tmp_path / "vkeys").write_text(f"{signer('older').verifier}\n{VKEY}\n")
    (tmp_path / "kept").write_text(signed[-1].note)
    code, told = await keyturn(place, "verify", "--key", str(tmp_path / "vkeys"), "--checkpoint", str(tmp_path / "kept"))
    assert (code, "signed to row 15" in told) == (0, True), told


async def test_without_a_key_it_says_that_nothing_signed_was_looked_at(place: Place) -> None:
    await filled(place)
    code, told = await keyturn(place, "verify")
    assert code == 0, told
    assert "signatures were not checked: give the public key with --key" in told


@pytest.mark.parametrize("rows", [5, 0])
async def test_without_an_end_from_elsewhere_it_says_that_missing_rows_are_not_found(place: Place, rows: int, tmp_path: Path) -> None:
    _, signed = await filled(place)
    (tmp_path / "kept").write_text(signed[-1].note)
    await unlocked(place)
    await place.execute(f"DELETE FROM secret_access_log WHERE seq > {rows}")
    await place.execute(f"DELETE FROM audit_checkpoints WHERE seq > {rows}")
    code, told = await keyturn(place, "verify")
    assert (code, "whether rows are missing from the end nobody can tell by the database alone" in told) == (0, True), told
    for kept in (("--checkpoint", str(tmp_path / "kept"), "--key", VKEY), ("--anchor", str(signed[-1].checkpoint.head))):
        code, told = await keyturn(place, "verify", *kept)
        assert (code, f"row {rows + 1}: is missing" in told, "nobody can tell" in told) == (1, True, False), told


async def test_the_private_key_gives_its_public_half(place: Place) -> None:

    seed = base64.b64encode(hashlib.sha256(b"ours").digest()).decode()
    await filled(place)
    assert await keyturn(place, "key", AUDIT_SIGNING_KEY=seed) == (0, f"{VKEY}\n")
    code, told = await keyturn(place, "verify", AUDIT_SIGNING_KEY=seed)
    assert (code, "signed to row 15" in told) == (0, True), told
    code, told = await keyturn(place, "key")
    assert (code, "configmap keyturn-audit-head" in told) == (1, True), told


async def test_a_checkpoint_of_a_strange_key_is_told(place: Place) -> None:
    made, _ = await filled(place)
    await made.append([row("later")])
    await book(place, made, KEY, signer("another")).write(LATER)
    code, told = await keyturn(place, "verify", "--key", VKEY)
    name = f"keyturn.dev/audit+{signer('another').verifier.id.hex()}"
    assert (code, "signed to row 15" in told) == (0, True), told
    assert f"1 checkpoints are signed by {name}, which is not at hand, and so by nobody" in told


async def test_a_trail_that_was_made_anew_whole_is_found_by_a_checkpoint_that_was_kept(place: Place, tmp_path: Path) -> None:
    """By somebody with the database and our code: every hash fits, no seal is there, and the checkpoints are theirs."""
    _, signed = await filled(place)
    file = tmp_path / "kept.txt"
    file.write_text(signed[1].note)
    await made_anew(place, since=1, key="another")
    code, told = await keyturn(place, "verify", "--key", VKEY)
    assert (code, "no row in the database is signed by" in told, "made them anew" in told) == (1, True, True), told
    code, told = await keyturn(place, "verify", "--key", VKEY, "--checkpoint", str(file))
    assert code == 1
    assert "the audit trail is not as it was written: row 10: it is not the one that kept.txt" in told


async def test_the_config_map_serves_as_a_checkpoint_and_says_what_its_key_is_worth(place: Place, tmp_path: Path) -> None:
    _, signed = await filled(place)
    file = tmp_path / "head.json"
    file.write_text(json.dumps({"kind": "ConfigMap", "data": {"note": signed[-1].note, "vkey": VKEY}}))
    code, told = await keyturn(place, "verify", "--checkpoint", str(file))
    assert (code, "signed to row 15" in told, "came with the checkpoint itself" in told) == (0, True, True), told
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 12")
    await place.execute("DELETE FROM audit_checkpoints WHERE seq > 12")
    code, told = await keyturn(place, "verify", "--key", VKEY, "--checkpoint", str(file))
    assert (code, "row 13: is missing, with all up to row 15 that head.json was signed of" in told) == (1, True), told


@pytest.mark.parametrize("more", ["\n", "\n\n \r\n", ""])
async def test_ends_of_lines_behind_a_checkpoint_that_was_kept_do_not_matter(place: Place, tmp_path: Path, more: str) -> None:
    _, signed = await filled(place)
    file = tmp_path / "kept"
    file.write_bytes(f"{signed[-1].note.rstrip()}{more}".encode())
    code, told = await keyturn(place, "verify", "--key", VKEY, "--checkpoint", str(file))
    assert (code, "signed to row 15" in told) == (0, True), told


@pytest.mark.parametrize("content", ["", "{}", '{"data": {"note": "x", "vkey": "x"}}', "text\n\n— x AAAA\n"])
async def test_what_is_no_checkpoint_is_refused(place: Place, tmp_path: Path, content: str) -> None:
    await filled(place, 1)
    file = tmp_path / "kept"
    file.write_text(content)
    code, told = await keyturn(place, "verify", "--key", VKEY, "--checkpoint", str(file))
    assert (code, "Traceback" in told) == (1, False), told


async def test_what_is_no_key_is_refused(place: Place) -> None:
    await filled(place, 1)
    code, told = await keyturn(place, "verify", "--key", VKEY[:-1])
    assert (code, "--key must be" in told) == (1, True), told
