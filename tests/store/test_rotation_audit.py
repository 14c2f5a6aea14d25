"""A new master key is a matter for the audit trail: who brought it in, from which to which, and how far it came."""

import os
import secrets

from keyturn.decide.auditrow import row_of
from keyturn.model.audit import AuditRow
from store.chains import all_rows
from store.places import Place
from store.test_audit import trail
from store.test_rotation_kills import check, fill, rotate


async def rows(place: Place) -> list[AuditRow]:
    return [row_of(each.texts) async for part in all_rows(trail(place, None)) for each in part]


async def test_a_rotation_stands_in_the_trail_before_it_is_done_and_with_how_it_ended(place: Place) -> None:
    await fill(place)
    second = secrets.token_urlsafe(48)
    assert (await rotate(place, second, place.master)).returncode == 0
    intent, taken, ended = await rows(place)
    assert (intent.action, intent.actor, intent.outcome) == ("keys.rotate", f"user/{os.getuid()}", "")
    assert (ended.settles, ended.outcome) == (intent.event, "success")
    active = (await check(place, second, place.master)).keys[0].id
    assert (ended.details["active"], intent.details["active"] != active) == (active, True)
    who = {name: intent.details[name] for name in ("user", "host")}
    assert (taken.action, taken.actor) == ("keys.activate", intent.actor), "the old key can go now"
    assert (taken.details, taken.outcome) == ({"active": active, **who}, "success")
    assert f"activated {active}" in ended.details["steps"]
    assert (await rotate(place, place.master)).returncode == 1, "a key that is not given any more"
    assert len(await rows(place)) == 3, "what cannot open the database changes nothing, and cannot write there"


async def test_a_rotation_that_is_killed_leaves_its_intent_open(place: Place) -> None:
    await fill(place)
    ran = await rotate(place, secrets.token_urlsafe(48), place.master, 2)
    assert ran.returncode == -9
    assert [row.outcome for row in await rows(place)] == [""]
