"""Checkpoints of the audit trail: whoever has the database, and not the key, cannot make the chain anew where one was kept."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from keyturn.decide.checkpoint import checkpoint_of, text_of
from keyturn.decide.note import split
from keyturn.model.audit import ACCEPTED, Head, Outcome
from keyturn.model.checkpoint import AuditTampered, Signed
from keyturn.model.errors import ProviderError
from keyturn.model.note import NoteRefused, UnknownSigner
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit import AuditTrail
from keyturn.store.checkpoints import rows_of
from store.chains import all_rows
from store.checkpointed import book, signer, told
from store.places import Place
from store.test_audit import AT, KEY, forger, row, trail

LATER = AT + timedelta(hours=1)


async def filled(place: Place, parts: int = 3) -> tuple[AuditTrail, list[Signed]]:
    """Five rows and a checkpoint, and so on."""
    made, signed = trail(place), []
    ours = book(place, made, KEY)
    for part in range(parts):
        await made.append([row(f"e{part}-{n}", keys=("password",)) for n in range(5)])
        each = await ours.write(AT + timedelta(minutes=part))
        assert each is not None
        signed.append(each)
    return made, signed


async def unlocked(place: Place, *tables: str) -> None:
    for table in tables or ("secret_access_log", "audit_checkpoints"):
        if place.server is None:
            for name in ("insert", "update", "delete"):
                await place.execute(f"DROP TRIGGER {table}_{name}")
        else:
            await place.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")


async def made_anew(place: Place, *, since: int, key: str = "") -> AuditTrail:
    """As somebody with the database and our code: the rows from there on say something else, and every hash fits."""
    made = forger(place)
    texts = [each async for part in all_rows(made) for each in part]
    await unlocked(place)
    await place.execute(f"DELETE FROM secret_access_log WHERE seq >= {since}")
    if key:
        await place.execute("DELETE FROM audit_checkpoints")
    await made.append([row(f"forged-{each.seq}", actor="somebody/else") for each in texts[since - 1 :]])
    if key:
        await book(place, made, None, signer(key)).write(LATER)
    return made


async def test_a_checkpoint_says_what_the_trail_s_end_is_and_hangs_on_the_one_before(place: Place) -> None:
    made, signed = await filled(place)
    assert [each.checkpoint.head.seq for each in signed] == [5, 10, 15]
    assert signed[-1].checkpoint.head == await made.head()
    first = (await made.find(most=1))[0]
    assert {each.checkpoint.origin for each in signed} == {f"keyturn.dev/audit/{first.hash.hex()[:16]}"}
    assert signed[0].checkpoint.previous == b""
    assert len({each.checkpoint.previous for each in signed}) == 3
    found = await rows_of(place.database())
    assert [each.note for each in found] == [each.note for each in signed]
    assert [text_of(checkpoint_of(split(each.note)[0])) for each in signed] == [split(each.note)[0] for each in signed]
    proof = await told(place, made)
    assert (proof.problem, proof.walk.signed_to, proof.series.unknown) == ("", 15, {})


async def test_without_a_new_row_there_is_no_new_checkpoint_unless_under_a_new_key(place: Place) -> None:
    made, signed = await filled(place, 1)
    assert await book(place, made, KEY).write(LATER) == signed[0]
    assert len(await rows_of(place.database())) == 1
    other = await book(place, made, KEY, signer("new")).write(LATER)
    assert other is not None
    assert other.checkpoint.head == signed[0].checkpoint.head
    proof = await told(place, made)
    assert (proof.problem, proof.walk.signed_to) == ("", 5)
    assert proof.series.unknown == {f"keyturn.dev/audit+{signer('new').verifier.id.hex()}": 1}


async def test_an_empty_trail_has_no_checkpoint(place: Place) -> None:
    assert await book(place, trail(place), KEY).write(AT) is None


async def test_a_clock_that_goes_backwards_makes_no_disorder(place: Place) -> None:
    made, signed = await filled(place, 2)
    await made.append([row("later")])
    another = await book(place, made, KEY).write(AT - timedelta(days=1))
    assert another is not None
    assert another.checkpoint.at > signed[-1].checkpoint.at
    assert (await told(place, made)).problem == ""


@pytest.mark.parametrize("statement", ["UPDATE audit_checkpoints SET note = ''", "DELETE FROM audit_checkpoints"])
async def test_nobody_changes_a_checkpoint(place: Place, statement: str) -> None:
    await filled(place)
    with pytest.raises(ProviderError):
        await place.execute(statement)


async def test_what_is_not_as_it_was_written_is_not_signed(place: Place) -> None:
    """Else whoever changes a row in the last hour would have it signed by us."""
    made, _ = await filled(place)
    await made.append([row("e"), row("f")])
    await unlocked(place, "secret_access_log")
    await place.execute("UPDATE secret_access_log SET actor = 'nobody' WHERE seq = 16")
    with pytest.raises(AuditTampered, match="row 16: its columns"):
        await book(place, made, KEY).write(LATER)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 15")
    await forger(place, Sensitive(bytes(32))).append([row("forged")])
    with pytest.raises(AuditTampered, match="row 16: its seal is not ours"):
        await book(place, made, KEY).write(LATER)
    assert len(await rows_of(place.database())) == 3


async def test_rows_that_went_from_the_end_are_known_by_the_checkpoint_in_the_table(place: Place) -> None:
    made, signed = await filled(place)
    await unlocked(place, "secret_access_log")
    await place.execute("DELETE FROM secret_access_log WHERE seq > 12")
    assert (await told(place, made)).problem == ("row 13: is missing, with all up to row 15 that the checkpoint in the table was signed of")
    assert await book(place, made, KEY).lost("") == [signed[-1]]


async def test_rows_and_checkpoints_that_went_together_are_known_by_one_that_was_kept(place: Place) -> None:
    made, signed = await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 10")
    await place.execute("DELETE FROM audit_checkpoints WHERE seq > 10")
    assert (await told(place, made)).problem == "", "nobody can know"
    kept = {"kept.txt": signed[-1].note}
    assert (await told(place, made, kept=kept)).problem == "row 11: is missing, with all up to row 15 that kept.txt was signed of"
    assert await book(place, made, KEY).lost(signed[-1].note) == [signed[-1]]


@pytest.mark.parametrize("since", [1, 3, 11, 14])
async def test_a_chain_that_was_made_anew_is_found_by_a_checkpoint_that_was_kept(place: Place, since: int) -> None:
    """Every hash fits, there is no seal, and checkpoints are by another key, or not there."""
    _, signed = await filled(place)
    made = await made_anew(place, since=since, key="another")
    proof = await told(place, made)
    assert (proof.problem, proof.walk.signed_to) == ("", 0), "without a checkpoint of ours nothing is proved, and that is said"
    assert proof.series.unknown == {f"keyturn.dev/audit+{signer('another').verifier.id.hex()}": 1}
    proof = await told(place, made, kept={"kept.txt": signed[-1].note})
    assert proof.problem == "row 15: it is not the one that kept.txt was signed of: the chain was made anew"


async def test_a_chain_that_was_made_anew_is_found_by_the_checkpoints_that_stayed(place: Place) -> None:
    await filled(place)
    made = await made_anew(place, since=8)
    assert (await told(place, made)).problem == (
        "row 10: it is not the one that the checkpoint in the table was signed of: the chain was made anew"
    )


async def test_a_checkpoint_that_is_gone_from_the_table_is_named(place: Place) -> None:
    made, signed = await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM audit_checkpoints WHERE seq = 15")
    proof = await told(place, made, kept={"kept.txt": signed[-1].note})
    assert proof.problem == "row 15: its checkpoint, of which kept.txt is a copy, was taken out of the table"
    await place.execute("DELETE FROM audit_checkpoints WHERE seq = 5")
    assert (await told(place, made)).problem.startswith("row 10: its checkpoint is not as it was written: it does not follow")


async def test_a_note_that_is_not_ours_proves_nothing_and_stops_nothing(place: Place) -> None:
    made, signed = await filled(place, 1)
    forged = signer("another").sign(split(signed[0].note)[0].replace("\n5\n", "\n500\n"))
    with pytest.raises(UnknownSigner, match=r"kept\.txt proves nothing: it is signed by .*--key"):
        await told(place, made, kept={"kept.txt": forged})
    with pytest.raises(NoteRefused):
        await book(place, made, KEY).lost(forged)
    with pytest.raises(NoteRefused, match="was changed"):
        await book(place, made, KEY).lost(signed[0].note.replace("\n5\n", "\n6\n"))


async def accepted(made: AuditTrail, target: Head, at: datetime) -> None:
    entry = row("accepted", action=ACCEPTED, target=str(target), outcome=Outcome.SUCCESS)
    await made.append([entry.__class__(**{name: getattr(entry, name) for name in entry.__slots__} | {"at": at})])


async def test_a_loss_that_was_accepted_covers_all_that_was_signed_of_it_before(place: Place) -> None:
    """As after the restore of an older backup: an old note, put back into the cluster, must not stop the operator again."""
    made, signed = await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 5")
    await place.execute("DELETE FROM audit_checkpoints WHERE seq > 5")
    made = trail(place)  # by the next process: this one would miss what it wrote
    ours = book(place, made, KEY)
    assert await ours.lost(signed[1].note) == [signed[1]]
    await accepted(made, signed[2].checkpoint.head, LATER)
    assert [await ours.lost(each.note) for each in signed] == [[], [], []]
    await made.append([row(f"new-{n}") for n in range(9)])
    assert await ours.write(LATER + timedelta(minutes=1)) is not None
    proof = await told(place, made, kept={"one": signed[1].note, "two": signed[2].note})
    assert (proof.problem, len(proof.lost)) == ("", 2)


@pytest.mark.parametrize("key", [None, Sensitive(bytes(32))], ids=["unsealed", "sealed by another"])
async def test_a_loss_that_nobody_with_a_key_accepted_excuses_nothing(place: Place, key: Sensitive | None) -> None:
    """Whoever has the database could write that row."""
    made, signed = await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 7")
    await accepted(forger(place, key), signed[2].checkpoint.head, LATER)
    assert await book(place, made, KEY).lost("") == [signed[2]]
    assert not await made.holds(signed[2].checkpoint.head)
    assert "row 10" in (await told(place, made, kept={"kept": signed[2].note})).problem


async def test_what_is_lost_after_an_accepted_loss_is_a_new_one(place: Place) -> None:
    made, signed = await filled(place)
    await accepted(made, Head(20, bytes(32)), LATER)
    await made.append([row(f"new-{n}") for n in range(3)])
    ours = book(place, made, KEY)
    last = await ours.write(LATER + timedelta(minutes=1))
    assert last is not None
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 17")
    assert await ours.lost(signed[0].note) == [last]


async def test_a_denial_and_a_rotation_press_for_a_checkpoint_and_nothing_else_does(place: Place) -> None:
    made, _ = await filled(place, 1)
    ours = book(place, made, KEY)
    assert await ours.presses(0) == (5, False)
    await made.append([row("denied", outcome=Outcome.DENIED)])
    assert await ours.presses(5) == (6, True)
    assert await ours.presses(6) == (6, False)
    await made.append([row("rotated", action="rotation.set"), row("rotationless", action="rotationless")])
    assert await ours.presses(6) == (8, True)
    assert await ours.presses(7) == (8, False)
    await made.append([row("master key", action="keys.rotate")])
    assert await ours.presses(8) == (9, True)


async def test_bytes_that_are_no_text_are_told_as_a_change(place: Place) -> None:
    if place.server is not None:
        return  # PostgreSQL holds no such text
    made, _ = await filled(place)
    await unlocked(place)
    async with place.database().writing() as connection:
        await connection.execute(text("UPDATE audit_checkpoints SET note = CAST(x'ff00fe' AS TEXT) WHERE seq = 10"))
    assert (await told(place, made)).problem.startswith("row 10: its checkpoint is not as it was written")
