"""Checkpoints that later ones cover go from their table, by the owner alone, and no less is found than before."""

import os
import random
import socket
from datetime import timedelta

import pytest

from effort import SEED
from keyturn.cli.trail import fact
from keyturn.decide.auditrow import row_of
from keyturn.model.checkpoint import AuditTampered, Signed
from keyturn.model.errors import AccessDenied
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_thin import THINNED, thin
from keyturn.store.checkpoints import rows_of
from store.chains import all_rows
from store.checkpointed import book, signer, told
from store.places import Place
from store.test_audit import AT, KEY, row, trail
from store.test_checkpoints import unlocked
from store.test_strangers import put_in

KEYS = [signer().verifier]


async def signed_for(place: Place, days: int, hours: int = 6) -> tuple[AuditTrail, list[Signed]]:
    """A row and a checkpoint every some hours."""
    made, signed = trail(place), []
    ours = book(place, made, KEY)
    for hour in range(0, 24 * days, hours):
        await made.append([row(f"h{hour}")])
        each = await ours.write(AT.replace(hour=0) + timedelta(hours=hour))
        assert each is not None
        signed.append(each)
    return made, signed


async def thinned(place: Place) -> int:
    owner = place.database(place.owner_url)
    return await thin(owner, AuditTrail(owner, lambda: ("k1", KEY), lambda _: KEY), KEYS, fact)


async def times(place: Place) -> list[str]:
    return [each.at[:13] for each in await rows_of(place.database())]


async def test_all_of_seven_days_stay_and_before_that_the_last_of_each_day(place: Place) -> None:
    made, _ = await signed_for(place, 10)
    assert await thinned(place) == 2 * 3
    kept = await times(place)
    assert kept[:2] == ["2026-11-30T18", "2026-12-01T18"]
    assert kept[2:] == [f"2026-12-{day:02}T{hour:02}" for day in range(2, 10) for hour in range(0, 24, 6)]
    proof = await told(place, made)
    assert (proof.problem, proof.walk.signed_to) == ("", 40)
    assert await thinned(place) == 0
    last = [each async for part in all_rows(made, 40) for each in part]
    assert [(each.texts["action"], each.texts["outcome"]) for each in last] == [(THINNED, ""), (THINNED, "success")]
    for each in last:
        details = row_of(each.texts).details
        assert (details["count"], details["host"]) == ("6", socket.gethostname())
        assert each.texts["actor"] == f"user/{os.getuid()}"


async def test_nobody_but_the_owner_does_it_and_the_triggers_are_there_after_it(place: Place) -> None:
    await signed_for(place, 10)
    if place.server is not None:
        made = trail(place)
        with pytest.raises(AccessDenied):
            await thin(place.database(), made, KEYS, fact)
        assert [each.texts["outcome"] async for part in all_rows(made, 40) for each in part] == ["", "failure"]
    assert await thinned(place) == 6
    with pytest.raises(Exception, match=r"database|SQLite"):
        await place.execute("DELETE FROM audit_checkpoints")


async def test_one_that_was_kept_of_a_day_that_was_thinned_out_still_proves_its_rows(place: Place) -> None:
    made, signed = await signed_for(place, 10)
    await thinned(place)
    kept = {"kept": signed[1].note}
    assert (await told(place, made, kept=kept)).problem == ""
    await unlocked(place)
    await place.execute("UPDATE audit_checkpoints SET note = note WHERE seq = 4")
    await place.execute("DELETE FROM audit_checkpoints WHERE seq = 4")
    assert (await told(place, made, kept=kept)).problem == "row 2: its checkpoint, of which kept is a copy, was taken out of the table"


async def test_what_is_taken_away_or_changed_within_the_seven_days_is_found_as_before(place: Place) -> None:
    made, _ = await signed_for(place, 10)
    await thinned(place)
    await unlocked(place)
    lot = random.Random(SEED)
    for seq in lot.sample(range(9, 40), 5):
        await place.execute(f"CREATE TABLE kept AS SELECT * FROM audit_checkpoints WHERE seq = {seq}")
        await place.execute(f"DELETE FROM audit_checkpoints WHERE seq = {seq}")
        assert (await told(place, made)).problem.startswith(f"row {seq + 1}: its checkpoint is not as it was written: it does not follow")
        await place.execute("INSERT INTO audit_checkpoints SELECT * FROM kept")
        await place.execute("DROP TABLE kept")
    await place.execute("UPDATE secret_access_log SET actor = 'nobody' WHERE seq = 2")
    assert (await told(place, made)).problem.startswith("row 2: ")


async def test_an_auditor_without_the_key_is_told_of_no_gap(place: Place) -> None:
    made, _ = await signed_for(place, 10)
    await thinned(place)
    assert (await told(place, made)).problem == ""
    other = signer("new")
    await made.append([row("more")])
    fresh = await book(place, made, KEY, other).write(AT + timedelta(days=11))
    assert fresh is not None
    proof = await told(place, made)
    assert (proof.problem, proof.series.unknown.total()) == ("", 1)


async def test_with_two_keys_the_last_of_each_stays(place: Place) -> None:
    made = trail(place)
    for number, name in enumerate(("ours", "ours", "new", "new", "new")):
        await made.append([row(f"e{number}")])
        await book(place, made, KEY, signer(name)).write(AT + timedelta(hours=number))
    await made.append([row("late")])
    await book(place, made, KEY, signer("new")).write(AT + timedelta(days=20))
    owner = place.database(place.owner_url)
    keys = [signer().verifier, signer("new").verifier]
    assert await thin(owner, AuditTrail(owner, lambda: ("k1", KEY), lambda _: KEY), keys, fact) == 3
    assert [each.seq for each in await rows_of(place.database())] == [2, 5, 6]
    assert (await told(place, made)).problem == ""


async def test_what_somebody_put_in_stays_and_where_one_is_gone_all_stay(place: Place) -> None:
    made, _ = await signed_for(place, 10)
    await put_in(place, AT + timedelta(minutes=7))
    assert await thinned(place) == 6
    assert len((await told(place, made)).strangers) == 1
    await unlocked(place, "audit_checkpoints")
    await place.execute("DELETE FROM audit_checkpoints WHERE seq = 20")
    before = await times(place)
    with pytest.raises(AuditTampered, match="checkpoints are left as they are"):
        await thinned(place)
    assert await times(place) == before
