"""The oldest rows moved into files: the chain goes on unbroken, nothing is lost wherever it is cut off, and what is changed is found."""

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.decide.hashchain import Walk
from keyturn.model.audit import Head, Outcome
from keyturn.model.errors import KeyturnError, ProviderError
from keyturn.model.note import UnknownSigner, VerifierKey
from keyturn.model.segment import Segment
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_file import FileRefused
from keyturn.store.audit_prune import PruneRefused, Wish
from keyturn.store.audit_segments import RowsElsewhere, segments_of
from keyturn.store.proof import prove
from store.audit_pruner import KEY, SIGNING, STEPS, pruning
from store.chains import all_rows
from store.checkpointed import book
from store.places import Place
from store.test_audit import AT, row, trail, unlocked
from store.test_audit_partitions import cut_at

NOW = datetime(2026, 12, 1, tzinfo=UTC)
MOST = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (made := tmp_path / "segments").mkdir()
    return made


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


async def grown(place: Place, parts: int = 4, made: AuditTrail | None = None) -> AuditTrail:
    """Five rows a part, each of which a server keeps in a partition of its own, closed behind them."""
    made = made or trail(place)
    for part in range(parts):
        await made.append([row(f"e{n}", at=AT + timedelta(days=n), outcome=Outcome.SUCCESS) for n in range(part * 5, part * 5 + 5)])
        if place.server is not None and part < parts - 1:
            await cut_at(place)
    return made


async def moved(place: Place, url: str, folder: Path, wish: Wish, most: int = MOST) -> list[Segment]:
    made = pruning(url, folder, most)
    try:
        return list(await made.run(wish, NOW))
    finally:
        await made.database.close()


async def found(place: Place, folder: Path | None = None, known: tuple[VerifierKey, ...] | None = None, anchor: Head | None = None) -> str:
    """What is wrong with the whole of it."""
    signers = known if known is not None else (SIGNING.verifier,)
    try:
        proof = await prove(place.database(), Walk(lambda _: KEY, anchor=anchor), signers, folder=folder)
    except UnknownSigner as unknown:
        return str(unknown)
    return proof.problem


async def test_what_was_moved_is_followed_as_one_chain_with_the_rest(place: Place, folder: Path) -> None:
    made = await grown(place)
    head = await made.head()
    done = await moved(place, place.owner_url, folder, Wish(10))
    assert [(each.first, each.last, each.count) for each in done] == [(1, 5, 5), (6, 10, 5)]
    assert names(folder) == [each.name for each in done]
    assert await segments_of(place.database()) == done
    rows = [each.seq for part in [one async for one in all_rows(made, 10)] for each in part]
    assert rows == list(range(11, head.seq + 3)), "those that stay, and one for each segment"
    assert (await place.execute("SELECT min(seq) FROM secret_access_log"))[0][0] == 11
    assert await found(place) == await found(place, folder) == await found(place, folder, anchor=head) == ""
    said = (await made.find(most=100))[-2].texts
    assert (said["action"], said["actor"], said["target"], said["outcome"]) == ("audit.prune", "user/0", "rows 1 to 5", "success")
    assert done[0].digest.hex() in said["details"]
    await made.append([row("after")])
    assert await found(place, folder) == ""


async def test_the_trail_can_still_not_be_changed(place: Place, folder: Path) -> None:
    await grown(place)
    await moved(place, place.owner_url, folder, Wish(10))
    for statement in (
        "DELETE FROM secret_access_log WHERE seq = 11",
        "UPDATE secret_access_log SET actor = '' WHERE seq = 11",
        "DELETE FROM audit_segments",
        "UPDATE audit_segments SET name = ''",
    ):
        with pytest.raises(ProviderError):
            await place.execute(statement)


async def test_the_run_time_user_of_a_server_moves_nothing(place: Place, folder: Path) -> None:
    await grown(place)
    if place.server is None:
        return
    with pytest.raises(ProviderError, match="does not let this user do it"):
        await moved(place, place.url, folder, Wish(10))
    assert names(folder) == []


async def test_the_newest_rows_stay_and_those_that_somebody_needs(place: Place, folder: Path) -> None:
    made = await grown(place)
    assert await moved(place, place.owner_url, folder, Wish(before=AT)) == []
    assert [each.last for each in await moved(place, place.owner_url, folder, Wish(before=AT + timedelta(days=9, hours=1)))] == [5, 10]
    await made.append([row("open"), row("more", outcome=Outcome.SUCCESS)])
    done = await moved(place, place.owner_url, folder, Wish(1000), most=1)
    assert done, "rows before the open intent go"
    [still] = [each.seq for each in await made.find(most=100) if each.texts["event"] == "open"]
    assert done[-1].last < still
    await made.append([row("settled", settles="open", outcome=Outcome.SUCCESS)])
    await moved(place, place.owner_url, folder, Wish(1000), most=1)
    assert await made.find(most=100), "the newest stays"
    assert await found(place, folder) == ""


async def test_an_end_in_a_segment_is_held_and_another_is_not(place: Place, folder: Path) -> None:
    made = await grown(place)
    ends = {each.seq: Head(each.seq, each.hash) for part in [one async for one in all_rows(made)] for each in part}
    await moved(place, place.owner_url, folder, Wish(10))
    assert not await made.holds(ends[3]), "nobody says whose the segments are"
    made = made.signed_by([SIGNING.verifier])
    assert [await made.holds(ends[seq]) for seq in (3, 5, 11)] == [True, True, True]
    assert not await made.holds(Head(10, bytes(32)))
    assert not await made.holds(Head(40, bytes(32)))
    assert await found(place, folder, anchor=ends[3]) == ""
    assert (await found(place, folder, anchor=Head(3, bytes(32)))).startswith("row 3: it is not the one that the anchor was taken of")
    assert (await found(place, anchor=Head(10, bytes(32)))).startswith("row 10: it is not the one that the anchor")
    with pytest.raises(RowsElsewhere, match="give the folder"):
        await found(place, anchor=ends[3])


@pytest.mark.parametrize("step", STEPS)
async def test_a_prune_that_is_killed_at_any_step_loses_nothing_and_goes_on(place: Place, folder: Path, step: str) -> None:
    if place.server is None and step == "cut":
        return  # a file has no partitions
    made = await grown(place)
    head = await made.head()
    for times in (1, 2) if step != "cut" else (1,):
        code = await in_process(place, folder, step, times)
        assert code == -9
        assert await found(place) == ""
        kept = {each.seq for part in [one async for one in all_rows(made, (await shelved(place)).seq)] for each in part}
        assert set(range((await shelved(place)).seq + 1, head.seq + 1)) <= kept, "what is in no segment is in the database"
    assert await in_process(place, folder, "", 1) == 0
    assert [(each.first, each.last) for each in await segments_of(place.database())] == [(1, 5), (6, 10), (11, 15)]
    assert len(names(folder)) == 3
    assert await found(place, folder, anchor=head) == ""


async def shelved(place: Place) -> Head:
    known = await segments_of(place.database())
    return known[-1].end if known else Head(0, bytes(32))


async def in_process(place: Place, folder: Path, step: str, times: int) -> int:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-m", "store.audit_pruner", place.owner_url, str(folder), "15", str(MOST), step, str(times)]
    process = await asyncio.create_subprocess_exec(*argv, env=environment, stdin=asyncio.subprocess.DEVNULL)
    return await asyncio.wait_for(process.wait(), 60)


async def test_two_at_a_time_move_each_row_once(place: Place, folder: Path, tmp_path: Path) -> None:
    await grown(place)
    (other := tmp_path / "other").mkdir()
    tries = await asyncio.gather(
        *(moved(place, place.owner_url, where, Wish(10)) for where in (folder, folder, other)), return_exceptions=True
    )
    assert [each for each in tries if isinstance(each, BaseException) and not isinstance(each, KeyturnError)] == []
    assert any(isinstance(each, PruneRefused) for each in tries)
    assert [(each.first, each.last) for each in await segments_of(place.database())] == [(1, 5), (6, 10)]
    assert await found(place) == ""


async def test_a_file_that_is_in_the_way_is_looked_at_and_left(place: Place, folder: Path) -> None:
    await grown(place)
    name = "keyturn-audit-000000000001-000000000005.sqlite"
    (folder / name).write_text("another")
    with pytest.raises(FileRefused, match=name):
        await moved(place, place.owner_url, folder, Wish(10))
    assert await segments_of(place.database()) == []
    with pytest.raises(PruneRefused, match="make it first"):
        await moved(place, place.owner_url, folder / "none", Wish(10))


# What somebody with the database or the folder does, and what is said of it. "{}" stands for the table of segments.
BY_SQL: Mapping[str, tuple[str, str]] = {
    "a row taken away": ("DELETE FROM {} WHERE first = 6", "row 11: it stands before row 6|row 6: is missing"),
    "the first row taken away": ("DELETE FROM {} WHERE first = 1", "row 1: is missing: the next segment is that of row 6"),
    "a head": ("UPDATE {} SET head = digest WHERE first = 6", "row 6: the segment that begins with it is not as it was written"),
    "a digest": ("UPDATE {} SET digest = head WHERE first = 1", "row 1: the segment that begins with it is not as it was written"),
    "a count": ("UPDATE {} SET count = 4 WHERE first = 1", "row 1: the segment that begins with it is not as it was written: its columns"),
    "a name": ("UPDATE {} SET name = '../x' WHERE first = 1", "row 1: the segment that begins with it is not as it was written"),
    "a note": ("UPDATE {} SET note = 'x' WHERE first = 6", "row 6: the segment that begins with it is not as it was written"),
    "a signature": (
        "UPDATE {} SET note = substr(note, 1, length(note) - 20) || 'AAAA' || substr(note, length(note) - 15) WHERE first = 6",
        "row 6: the segment that begins with it is not as it was written",
    ),
    "nothing": ("UPDATE {} SET last = 9 WHERE first = 6", "row 6: the segment that begins with it"),
}


@pytest.mark.parametrize("what", BY_SQL)
async def test_a_changed_segment_is_named(place: Place, folder: Path, what: str) -> None:
    await grown(place)
    await moved(place, place.owner_url, folder, Wish(10))
    await unlocked(place)
    if place.server is None:
        for name in ("insert", "update", "delete"):
            await place.execute(f"DROP TRIGGER audit_segments_{name}")
    else:
        await place.execute("ALTER TABLE audit_segments DISABLE TRIGGER ALL")
    statement, told = BY_SQL[what]
    await place.execute(statement.format("audit_segments"))
    for where in (None, folder):
        problem = await found(place, where)
        assert any(problem.startswith(each) for each in told.split("|")), problem


async def test_rows_that_were_taken_away_are_no_segment_because_somebody_signed_one(place: Place, folder: Path) -> None:
    """Who has the database and our code, and another key."""
    await grown(place)
    await moved(place, place.owner_url, folder, Wish(10))
    other = VerifierKey("keyturn.dev/audit", bytes(32))
    assert "public key of that is not at hand" in await found(place, known=(other,))


BY_FILE = {
    "taken away": (lambda path: path.unlink(), "row 6: the segment that begins with it cannot be followed"),
    "changed": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "row 6: the file"),
    "another": (lambda path: path.write_bytes((path.parent / "keyturn-audit-000000000001-000000000005.sqlite").read_bytes()), "row 6: "),
}


@pytest.mark.parametrize("what", BY_FILE)
async def test_a_changed_file_is_named(place: Place, folder: Path, what: str) -> None:
    await grown(place)
    done = await moved(place, place.owner_url, folder, Wish(10))
    change, told = BY_FILE[what]
    change(folder / done[1].name)
    assert (await found(place, folder)).startswith(told)
    assert await found(place) == "", "without the folder nobody can know"


async def test_a_broken_trail_is_not_moved(place: Place, folder: Path) -> None:
    await grown(place)
    await unlocked(place)
    await place.execute("UPDATE secret_access_log SET actor = 'nobody' WHERE seq = 7")
    with pytest.raises(KeyturnError, match="row 7: its columns"):
        await moved(place, place.owner_url, folder, Wish(10))
    assert [(each.first, each.last) for each in await segments_of(place.database())] == [(1, 5)]


async def test_it_is_told_what_stays_and_why(place: Place, folder: Path) -> None:
    made = await grown(place, 1)
    await made.append([row("open"), row("last", outcome=Outcome.SUCCESS)])
    prune = pruning(place.owner_url, folder, MOST)
    try:
        for wish, told in {
            Wish(3): (3, "it was not asked for"),
            Wish(before=AT + timedelta(days=1)): (1, "it is not older than what was asked for"),
            Wish(100): (5, "it is an intent that an operator has still to settle"),
        }.items():
            assert await prune.limit(wish) == told
        await made.append([row("settled", settles="open", outcome=Outcome.SUCCESS)])
        assert await prune.limit(Wish(100)) == (7, "it is the newest")
        await book(place, made, KEY).write(NOW)
        await made.append([row("more", outcome=Outcome.SUCCESS)])
        assert await prune.limit(Wish(100)) == (7, "it is the one of the newest checkpoint")
    finally:
        await prune.database.close()
