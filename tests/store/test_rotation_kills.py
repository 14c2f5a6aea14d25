"""`keyturn keys rotate` as a process of its own, killed anywhere: all rows stay readable, one key is active, and it goes on."""

import asyncio
import os
import random
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from effort import SEED, effort
from evidence import counted
from keyturn.model.keys import MasterKeys
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store.keys import Keyholder
from keyturn.store.rotation import Standing, standing
from keyturn.store.values import SqlValues
from store.places import ITERATIONS, Place, token

ROWS = 500
LIMIT_S = 120.0


@dataclass(slots=True)
class Ran:
    """One run of the command: what it said, line by line, and how it ended (-9: killed)."""

    returncode: int
    lines: list[str] = field(default_factory=list)
    errors: str = ""


async def rotate(
    place: Place,
    new: str,
    old: str = "",
    kill_after: int | None = None,
    pause_s: float = 0.0,
    *arguments: str,
    start: Sequence[str] = ("-m", "keyturn"),
    **more: str,
) -> Ran:
    """Runs it, and kills it so many seconds after so many lines; it may have ended by itself before.

    ``start`` is how Python runs it, ``more`` stands in its environment beside the keys.
    """
    keys = {"SECRET_KEY": new, "SECRET_KEY_PREVIOUS": old, **more}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "DATABASE_URL": place.url, **keys}
    argv = [sys.executable, *start, "keys", "rotate", "--wait=1s", *arguments]
    pipe = asyncio.subprocess.PIPE
    async with asyncio.timeout(LIMIT_S):
        process = await asyncio.create_subprocess_exec(*argv, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        assert process.stdout is not None
        assert process.stderr is not None
        lines: list[str] = []
        while kill_after is None or len(lines) < kill_after:
            line = await process.stdout.readline()
            if not line:
                break
            lines.append(line.decode().rstrip())
        else:
            await asyncio.wait([asyncio.create_task(process.wait())], timeout=pause_s)
            if process.returncode is None:
                process.kill()
        rest, errors = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, [*lines, *rest.decode().splitlines()], errors.decode())


async def values_of(place: Place, new: str, old: str) -> SqlValues:
    holder = Keyholder(place.database(), MasterKeys.of({"SECRET_KEY": new, "SECRET_KEY_PREVIOUS": old}), ITERATIONS)
    await holder.open()
    return SqlValues(holder, "default")


async def fill(place: Place) -> None:
    """Enough for many batches."""
    values = await place.values()
    for number in range(ROWS):
        await values.put(f"shop/{number}", Sensitive.of(f"kt-canary-{number}"), token=token())


async def check(place: Place, new: str, old: str) -> Standing:
    """All is readable with the two keys that everybody was given, can be written, and one key is active."""
    values = await values_of(place, new, old)
    found = await values.get_many([SourceRef(f"shop/{number}") for number in range(ROWS)])
    read = {ref.key: got.data.reveal() for ref, got in found.items() if isinstance(got, Value)}
    assert read == {f"shop/{number}": b"kt-canary-%d" % number for number in range(ROWS)}
    await values.put("after", Sensitive.of("kt-canary-after"), token=token())
    found_keys = await standing(place.database())
    assert [key.state for key in found_keys.keys].count("active") == 1
    assert set(found_keys.rows) == {key.id for key in found_keys.keys}
    return found_keys


@pytest.mark.timeout(1800)
async def test_a_rotation_that_is_killed_anywhere_loses_nothing_and_goes_on(place: Place, request: pytest.FixtureRequest) -> None:
    chance = random.Random(f"{SEED} rotation kills")
    await fill(place)
    old, new = place.master, secrets.token_urlsafe(48)
    whole = await rotate(place, new, old)
    assert whole.returncode == 0, whole.errors
    old, new = new, secrets.token_urlsafe(48)
    kills, halfway, total = 0, 0, effort(8, 50)
    while kills < total or not halfway:  # chance may leave the middle out for a while
        after = chance.randrange(len(whole.lines))
        ran = await rotate(place, new, old, after, chance.choice((0.0, chance.uniform(0, 0.05))) if after else chance.uniform(0, 1.5))
        assert ran.returncode in {0, -9}, ran.errors
        found = await check(place, new, old)
        kills += ran.returncode == -9
        halfway += len(found.keys) == 2
        if ran.returncode == 0 or (len(found.keys) == 1 and ran.lines[-1:] and ran.lines[-1].startswith(("dropped", "done"))):
            old, new = new, secrets.token_urlsafe(48)

    ended = await rotate(place, new, old)
    assert ended.returncode == 0, ended.errors
    assert len((await check(place, new, "")).keys) == 1
    counted(request, kills, total, "kills")


async def test_the_command_finds_a_wrong_key_and_a_lost_row_and_says_no_word_of_a_key(place: Place) -> None:
    values = await place.values()
    await values.put("db", Sensitive.of("kt-canary-1"), token=token())
    new, other = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
    wrong = await rotate(place, new, other)
    weak = await rotate(place, "kt-canary-" * 8, place.master)
    status = await rotate(place, "", "", None, 0, "--status")
    await place.execute("DELETE FROM encryption_keys")
    lost = await rotate(place, new, place.master)
    assert [ran.returncode for ran in (wrong, weak, status, lost)] == [1, 1, 0, 1]
    assert wrong.errors.startswith("keyturn: neither SECRET_KEY nor SECRET_KEY_PREVIOUS opens 'k-")
    assert weak.errors.startswith("keyturn: SECRET_KEY could be guessed")
    assert lost.errors.startswith("keyturn: encryption_keys has no row for 'k-")
    assert status.lines[0].startswith("key k-")
    assert ": active, 2 rows, since 20" in status.lines[0]
    said = "".join(ran.errors + "".join(ran.lines) for ran in (wrong, weak, status, lost))
    assert [word for word in (new, other, place.master, "kt-canary-kt") if word in said] == []
    assert [len(ran.errors.splitlines()) for ran in (wrong, weak, lost)] == [1, 1, 1]


async def test_the_command_fails_where_keys_are_swapped_and_withdraws_what_was_added(place: Place) -> None:
    values, new = await place.values(), secrets.token_urlsafe(48)
    await values.put("db", Sensitive.of("kt-canary-1"), token=token())
    swapped = await rotate(place, place.master, new)
    assert (swapped.returncode, len(swapped.errors.splitlines())) == (1, 1)
    assert "the two are swapped" in swapped.errors
    none = await rotate(place, place.master, "", None, 0, "--withdraw")
    assert (none.returncode, none.lines[-1].split(":")[0]) == (0, "nothing to withdraw")
    both = await rotate(place, place.master, "", None, 0, "--withdraw", "--status")
    assert both.returncode == 2


async def test_the_command_makes_no_first_key_and_no_file(place: Place) -> None:
    ran = await rotate(place, secrets.token_urlsafe(48))
    assert (ran.returncode, ran.lines) == (0, ["the database has no key yet: the first one is made when it is first used"])
    assert list((await standing(place.database())).keys) == []
    if place.file is not None:
        place.url = f"sqlite:///{place.file}.other"
        ran = await rotate(place, secrets.token_urlsafe(48))
        assert (ran.returncode, ran.errors) == (1, f"keyturn: the file {place.file}.other that DATABASE_URL names is not there\n")
        assert not place.file.with_name(f"{place.file.name}.other").exists()
    place.url = ""
    ran = await rotate(place, secrets.token_urlsafe(48))
    assert (ran.returncode, ran.errors) == (1, "keyturn: set DATABASE_URL to the database whose keys are meant\n")
