"""`keyturn audit verify` with a key that proves nothing: it fails, and says what to do."""

from pathlib import Path

import pytest

from store.checkpointed import signer
from store.places import Place
from store.test_audit import row, trail
from store.test_checkpoints import filled, unlocked
from store.test_verify_command import VKEY, keyturn


@pytest.mark.parametrize("content", ["", "\n\n  \n", " , "])
async def test_a_file_without_a_key_is_refused_by_its_name(place: Place, tmp_path: Path, content: str) -> None:
    _, signed = await filled(place)
    file, kept = tmp_path / "vkey", tmp_path / "kept"
    file.write_text(content)
    kept.write_text(signed[-1].note)
    for more in ((), ("--key", VKEY), ("--checkpoint", str(kept))):
        code, told = await keyturn(place, "verify", "--key", str(file), *more)
        assert (code, "the file vkey that --key names is empty" in told, "configmap keyturn-audit-head" in told) == (1, True, True), told


@pytest.mark.parametrize("given", ["", " "])
async def test_no_key_where_one_was_asked_for_is_refused(place: Place, given: str) -> None:
    await filled(place)
    code, told = await keyturn(place, "verify", "--key", given)
    assert (code, "what --key was given is empty" in told) == (1, True), told


async def test_a_key_that_signed_nothing_of_it_fails_and_names_those_that_did(place: Place) -> None:
    await filled(place)
    code, told = await keyturn(place, "verify", "--key", str(signer("another").verifier))
    assert (code, f"no row in the database is signed by {signer('another').verifier}" in told) == (1, True), told
    assert f"the checkpoints in the database are by keyturn.dev/audit+{signer().verifier.id.hex()}" in told
    assert "15 rows hang together" in told


async def test_a_trail_whose_checkpoints_were_all_taken_away_fails_with_the_right_key(place: Place) -> None:
    await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM audit_checkpoints")
    code, told = await keyturn(place, "verify", "--key", VKEY)
    assert (code, "the database has no checkpoint by it" in told, "they were taken away" in told) == (1, True, True), told


async def test_a_trail_that_no_operator_signed_yet_is_followed_without_a_key_alone(place: Place) -> None:
    await trail(place).append([row("first")])
    code, told = await keyturn(place, "verify", "--key", VKEY)
    assert (code, "leave out --key and AUDIT_SIGNING_KEY" in told) == (1, True), told
    assert (await keyturn(place, "verify"))[0] == 0


async def test_an_empty_trail_is_no_proof_by_a_key(place: Place) -> None:
    code, told = await keyturn(place, "verify", "--key", VKEY)
    assert (code, told.startswith("the audit trail is empty\n"), "no row in the database is signed by" in told) == (1, True, True), told
