"""What somebody puts into the tables of checkpoints and segments: it is named, hides nothing, and nothing of ours hangs on it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.decide.auditrow import moment
from keyturn.decide.checkpoint import digest, text_of
from keyturn.model.audit import Head
from keyturn.model.checkpoint import Checkpoint
from keyturn.model.errors import Unavailable
from keyturn.store.checkpoints import CheckpointBook, rows_of
from store.checkpointed import book, signer, told
from store.places import Place
from store.test_audit import AT, KEY, row, trail
from store.test_audit_forged import SEGMENT, forged, put
from store.test_checkpoints import LATER, filled, unlocked
from store.test_verify_command import VKEY, keyturn

INSERT = "INSERT INTO audit_checkpoints (at, seq, key_id, note) VALUES (:at, :seq, :key_id, :note)"


async def put_in(place: Place, at: datetime, previous: bytes = b"", by: str = "somebody", seq: int = 10) -> None:
    """As whoever has the database, and no key of ours."""
    key = signer(by)
    made = Checkpoint("dba.example/x", Head(seq, bytes(32)), previous, at, key.verifier.id.hex())
    await place.execute(INSERT, at=moment(at), seq=seq, key_id=made.key, note=key.sign(text_of(made)))


@pytest.mark.parametrize("minutes", [-1, 0.5, 1.5])
async def test_a_checkpoint_that_was_put_in_is_named_and_the_rest_is_checked(place: Place, minutes: float) -> None:
    made, _ = await filled(place)
    at = AT + timedelta(minutes=minutes)
    await put_in(place, at)
    proof = await told(place, made)
    assert (len(proof.strangers), proof.walk.signed_to) == (1, 15)
    assert proof.problem == f"row 10: its checkpoint is not as it was written: it is of another trail (at = '{moment(at)}')"
    await unlocked(place, "secret_access_log")
    await place.execute("UPDATE secret_access_log SET actor = 'nobody' WHERE seq = 12")
    proof = await told(place, made)
    assert (proof.problem, proof.strangers) == ("row 12: its columns are not what was written", ())


async def test_one_of_our_trail_by_an_unknown_key_between_ours_is_named_by_that_key(place: Place) -> None:
    made, signed = await filled(place)
    key = signer("somebody")
    first = signed[0].checkpoint
    theirs = Checkpoint(first.origin, Head(7, bytes(32)), digest(text_of(first)), AT + timedelta(seconds=1), key.verifier.id.hex())
    await place.execute(INSERT, at=moment(theirs.at), seq=7, key_id=theirs.key, note=key.sign(text_of(theirs)))
    proof = await told(place, made)
    assert proof.problem.startswith(f"row 7: its checkpoint was put in: it is signed by keyturn.dev/audit+{theirs.key}, and the public key")
    assert (len(proof.strangers), proof.walk.signed_to) == (1, 15)


async def test_the_command_tells_all_else_and_fails_with_what_to_do(place: Place) -> None:
    await filled(place)
    for minute in range(7):
        await put_in(place, AT + timedelta(minutes=minute, seconds=1))
    code, said = await keyturn(place, "verify", "--key", VKEY)
    assert (code, said.splitlines()[0][:30]) == (1, "15 rows hang together as they ")
    assert f"signed to row 15, by {VKEY}" in said
    assert "somebody put 7 rows into the tables of checkpoints or segments" in said
    assert "row 10: its checkpoint is not as it was written: it is of another trail (at = '2026-11-30T12:00:01.000005Z')" in said
    assert ", and 2 more; keep a copy of them, and have the tables' owner take them out" in said


async def test_the_last_but_one_that_is_gone_beside_one_that_was_put_in_is_found_too(place: Place) -> None:
    made, _ = await filled(place)
    await put_in(place, AT - timedelta(minutes=1))
    await unlocked(place)
    await place.execute("DELETE FROM audit_checkpoints WHERE seq = 10 AND key_id = :ours", ours=signer().verifier.id.hex())
    proof = await told(place, made)
    assert proof.problem
    assert (proof.strangers, proof.series.is_broken) == ((), True)


async def test_what_we_sign_hangs_on_ours_so_that_the_other_can_go(place: Place) -> None:
    made, signed = await filled(place)
    await put_in(place, LATER - timedelta(seconds=1), digest(text_of(signed[-1].checkpoint)))
    await made.append([row("more")])
    fresh = await book(place, made, KEY).write(LATER)
    assert fresh is not None
    assert fresh.checkpoint.previous == digest(text_of(signed[-1].checkpoint))
    assert len((await told(place, made)).strangers) == 1
    await unlocked(place)
    await place.execute("DELETE FROM audit_checkpoints WHERE key_id = :theirs", theirs=signer("somebody").verifier.id.hex())
    proof = await told(place, made)
    assert (proof.problem, proof.walk.signed_to) == ("", 16)


async def test_a_time_that_somebody_has_taken_keeps_nobody_from_signing(place: Place) -> None:
    made, _ = await filled(place)
    await put_in(place, LATER)
    await made.append([row("more")])
    fresh = await book(place, made, KEY).write(LATER)
    assert fresh is not None
    assert LATER < fresh.checkpoint.at < LATER + timedelta(seconds=2)


@pytest.mark.parametrize("first", [1, 2, 9000])
async def test_a_segment_that_was_put_in_is_named_and_the_rest_is_checked_and_signed(place: Place, first: int) -> None:
    made, _ = await filled(place)
    bare = forged(1_000_000, "somebody")
    values = {name: getattr(bare, name) for name in bare.__slots__} | {"first": first}
    await place.execute(SEGMENT, **values)
    proof = await told(place, made)
    assert proof.problem.startswith(
        f"row {first}: what says that rows from it on were moved was put in: it is signed by keyturn.dev/audit+"
    )
    assert (len(proof.strangers), proof.walk.signed_to, proof.shelf.found) == (1, 15, [])
    await made.append([row("more")])
    fresh = await book(place, made, KEY).write(LATER)
    assert fresh is not None
    assert fresh.checkpoint.head.seq == 16


async def test_a_segment_by_nobody_hides_no_rows_that_are_gone(place: Place) -> None:
    made, _ = await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq <= 5")
    await put(place, forged(5))
    proof = await told(place, made)
    assert proof.problem.startswith("row 1: ")
    assert proof.strangers == ()


async def notes(place: Place) -> Sequence[str]:
    return [each.note for each in await rows_of(place.database())]


async def test_nothing_is_signed_by_a_clock_that_is_far_ahead_of_the_server_s(place: Place) -> None:
    made = trail(place)
    await made.append([row("e")])
    ours = CheckpointBook(made, place.database(), lambda _: KEY, signer(), proves_clock=True)
    now = datetime.now(UTC)
    if place.server is None:  # a file has the clock of this machine
        assert await ours.write(now + timedelta(days=2)) is not None
        return
    with pytest.raises(Unavailable, match="more than a day ahead of the database's"):
        await ours.write(now + timedelta(days=2))
    assert await notes(place) == []
    assert await ours.write(now + timedelta(hours=23)) is not None


async def test_after_a_clock_was_far_ahead_checkpoints_still_follow_each_other_and_it_is_said(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    made, _ = await filled(place)
    await made.append([row("far")])
    ours = book(place, made, KEY)
    far = await ours.write(LATER + timedelta(days=3650))
    await made.append([row("near")])
    near = await ours.write(LATER)
    assert far is not None
    assert near is not None
    assert near.checkpoint.at == far.checkpoint.at + timedelta(microseconds=1)
    assert "as a clock was far ahead" in caplog.text
    assert (await told(place, made)).problem == ""
