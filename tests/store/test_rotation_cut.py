"""A rotation of the master key that is killed at each of its steps leaves an audit trail that goes on, and asks for the keys it needs."""

import secrets
import signal

import pytest

from keyturn.model.keys import MasterKeys
from keyturn.store.audit import trail_of
from keyturn.store.keys import Keyholder, WrongKey
from keyturn.store.rotation import standing
from store.places import ITERATIONS, Place
from store.test_audit import row
from store.test_rotation_kills import Ran, rotate

KILLED = """
import os, signal, sys
from keyturn.cli import main
from keyturn.store.rotation import Rotation
setattr(Rotation, os.environ.pop("STEP"), lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
main()
"""


async def killed_before(step: str, place: Place, new: str) -> Ran:
    ran = await rotate(place, new, place.master, start=("-c", KILLED), STEP=step)
    assert ran.returncode == -signal.SIGKILL, ran.errors
    return ran


async def opened(place: Place, key: str, previous: str = "") -> Keyholder:
    holder = Keyholder(place.database(), MasterKeys.of({"SECRET_KEY": key, "SECRET_KEY_PREVIOUS": previous}), ITERATIONS)
    await holder.open()
    return holder


@pytest.mark.parametrize(
    ("step", "needs_old"), [("_swap", True), ("_take_over", True), ("_move", False), ("_drop", False), ("_ending", False)]
)
async def test_killed_before_any_step_a_start_is_refused_or_the_trail_goes_on(place: Place, step: str, *, needs_old: bool) -> None:
    """Nothing is stored under a key here: the end of the trail alone tells which one is needed."""
    former, new = await opened(place, place.master), secrets.token_urlsafe(48)
    await trail_of(former).append([row("before")])
    await killed_before(step, place, new)
    if needs_old:
        with pytest.raises(WrongKey, match=f"SECRET_KEY does not open '{former.ring.active}'.*as SECRET_KEY_PREVIOUS"):
            await opened(place, new)
    else:
        assert await trail_of(await opened(place, new)).append([row("with the new one alone")])
    await trail_of(await opened(place, new, place.master)).append([row("with both")])
    assert (await rotate(place, new, place.master)).returncode == 0
    assert await trail_of(await opened(place, new)).append([row("after")])
    assert [key.state for key in (await standing(place.database())).keys] == ["active"]


async def test_the_former_key_stays_for_as_long_as_the_end_of_the_trail_is_under_it(place: Place) -> None:
    """Also where a command that drops keys adds no row of its own."""
    former, new = await opened(place, place.master), secrets.token_urlsafe(48)
    await trail_of(former).append([row("before")])
    await killed_before("_take_over", place, new)
    log = {"KEYTURN_AUDIT": "log"}
    alone = await rotate(place, new, "", None, 0, "--withdraw", **log)
    assert (alone.returncode, alone.errors.split(" of ")[0]) == (1, f"keyturn: SECRET_KEY does not open '{former.ring.active}'")
    both = await rotate(place, new, place.master, None, 0, "--withdraw", **log)
    assert (both.returncode, "dropped" in "".join(both.lines)) == (0, False), both.errors
    assert await trail_of(await opened(place, new, place.master)).append([row("with both")])
    assert await trail_of(await opened(place, new)).append([row("after")])


async def test_an_end_that_somebody_put_there_under_an_unknown_key_asks_for_no_key(place: Place) -> None:
    """What is none of ours is told by who adds to the trail, and a loss can be accepted."""
    await trail_of(await opened(place, place.master)).append([row("before")])
    await place.execute(
        "INSERT INTO secret_access_log SELECT seq + 1, 'forged', at, actor, action, subject, target, trigger, keys, details, attempt,"
        " settles, outcome, reason, entry, hash, seal, 'k-nobodys' FROM secret_access_log"
    )
    assert (await opened(place, place.master)).ring.active
