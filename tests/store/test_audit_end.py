"""Nothing is built upon an end of the audit trail that is not ours: else the next seal would be over what somebody else wrote."""

from collections.abc import Sequence

import pytest

from keyturn.cli.trail import fact
from keyturn.decide.auditrow import COLUMNS
from keyturn.decide.hashchain import Walk, chained
from keyturn.model.audit import AuditRow, Chained
from keyturn.model.checkpoint import AuditTampered
from keyturn.model.keys import MasterKeys
from keyturn.store.audit import AuditTrail, trail_of
from keyturn.store.keys import Keyholder
from keyturn.store.rotation import Rotation
from store.chains import all_rows, verified
from store.places import ITERATIONS, Place
from store.test_acknowledge_loss import keyturn
from store.test_audit import KEY, filled, row, trail, unlocked

REFUSED = "is under no seal of ours"


async def forge(place: Place, made: AuditTrail, rows: Sequence[AuditRow], seal: tuple[str, bytes] | None = None) -> None:
    """As whoever has the right to insert and not the keys: with every hash right."""
    for each in chained(rows, await made.head(), None, ""):
        await insert(place, each, seal)


async def insert(place: Place, each: Chained, seal: tuple[str, bytes] | None) -> None:
    names = ("seq", *COLUMNS, "entry", "hash", "seal", "seal_key")
    marks = ", ".join(f":{name}" for name in names)
    key_id, mac = seal or ("", None)
    told = {**each.texts, "seq": each.seq, "entry": each.entry, "hash": each.hash, "seal": mac, "seal_key": key_id}
    await place.execute(f"INSERT INTO secret_access_log ({', '.join(names)}) VALUES ({marks})", **told)


@pytest.mark.parametrize("seal", [None, ("k1", bytes(40)), ("nobodys", bytes(40)), ("k1", b"")])
async def test_rows_that_somebody_added_stop_all_until_they_are_accepted_and_stay_told(
    place: Place, seal: tuple[str, bytes] | None
) -> None:
    made = await filled(place)
    await forge(place, made, [row("forged"), row("forged too")], seal)
    for writer in (made, trail(place)):
        with pytest.raises(AuditTampered, match=REFUSED):
            await writer.append([row("ours")])
        with pytest.raises(AuditTampered, match=REFUSED):
            await writer.append([])
    await made.append([row("accepted")], onto=await made.head())
    await trail(place).append([row("ours")])
    if seal is None:
        walk = Walk(lambda _: KEY)
        assert await verified(made, walk) == ""
        assert (walk.sealed_to, list(walk.bare)) == (24, [(21, 22)])


async def test_nobody_takes_the_numbers_of_rows_in_advance(place: Place) -> None:
    """A row that is there already is passed over, and whoever waits for it acts: so it has to be ours."""
    made = await filled(place)
    await forge(place, made, [row("next", action="provider.check"), row("settled", settles="e1", outcome="denied")])
    for each in (row("next"), row("true", settles="e1", outcome="success")):
        with pytest.raises(AuditTampered, match=REFUSED):
            await made.append([each])


async def test_no_older_row_bears_the_number_of_a_coming_one(place: Place) -> None:
    made, coming = await filled(place), row("next")
    await unlocked(place)
    await place.execute("UPDATE secret_access_log SET event = 'next' WHERE seq = 7")
    with pytest.raises(AuditTampered, match="under the id next of another row"):
        await made.append([coming])
    await place.execute("UPDATE secret_access_log SET event = 'e6' WHERE seq = 7")
    assert (await made.append([coming])).seq == 21
    assert (await made.append([coming])).seq == 21, "the same row, asked again"


async def test_whoever_wrote_a_row_misses_it(place: Place) -> None:
    made = await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 10")
    with pytest.raises(AuditTampered, match="row 20 of the audit trail was taken away or changed"):
        await made.append([row("ours")])


async def test_another_end_under_our_seal_is_taken_and_what_we_wrote_has_to_be_before_it(place: Place) -> None:
    ours, theirs = await filled(place), trail(place)
    await theirs.append([row("theirs")])
    assert (await ours.append([row("ours")])).seq == 22
    await unlocked(place)
    await place.execute("UPDATE secret_access_log SET hash = entry WHERE seq = 22")
    await place.execute("DELETE FROM secret_access_log WHERE seq > 20")
    await trail(place).append([row("anew") for _ in range(3)])
    with pytest.raises(AuditTampered, match="row 22"):
        await ours.append([row("later")])


async def test_a_seal_is_under_the_key_that_is_active_now(place: Place) -> None:
    words = {"SECRET_KEY": place.master}
    operator = Keyholder(place.database(), MasterKeys.of(words), ITERATIONS)
    await operator.open()
    trail = trail_of(operator)
    await trail.append([row("before")])
    both = {"SECRET_KEY": "another master key, of as many signs as it needs to be one", "SECRET_KEY_PREVIOUS": place.master}
    operator.masters = MasterKeys.of(both)
    await operator.refresh()
    other = Keyholder(place.database(), MasterKeys.of(both), ITERATIONS)
    await other.open()
    await Rotation(other, lambda _: None, fact, ITERATIONS).run(30)
    await trail.append([row("after")])
    sealed = [each.seal_key async for part in all_rows(trail) for each in part]
    assert sealed[0] != sealed[1] == other.ring.active


async def test_the_command_that_the_log_says_lets_the_trail_go_on(place: Place) -> None:
    holder = Keyholder(place.database(), MasterKeys.of({"SECRET_KEY": place.master}), ITERATIONS)
    await holder.open()
    operator = trail_of(holder)
    await operator.append([row("before")])
    await forge(place, operator, [row("forged")])
    with pytest.raises(AuditTampered) as refusal:
        await operator.append([row("after")])
    *_, anchor = str(refusal.value).split()
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", anchor, SECRET_KEY=place.master)
    assert (code, "recorded as row 3: the trail goes on behind row 2" in told) == (0, True), told
    assert (await operator.append([row("after")])).seq == 4
    code, told = await keyturn(place, "verify", SECRET_KEY=place.master)
    assert (code, "1 rows are under no seal: 2;" in told) == (0, True), told
