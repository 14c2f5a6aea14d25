"""The spool of the audit trail: in order, encrypted, there after a kill, and never more than it may be."""

import asyncio
import os
import random
import resource
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from effort import SEED
from keyturn.decide.auditrow import row_of
from keyturn.model.audit import AuditRow, Outcome
from keyturn.model.errors import AuditUnavailable
from keyturn.model.keys import MasterKeys
from keyturn.store.audit_spool import AuditSpool
from store.places import ITERATIONS, Place
from store.test_audit import row, trail

OPENED: list[AuditSpool] = []
WORDS = secrets.token_urlsafe(48)


def spool(folder: Path, largest: int = 1 << 20, **given: str) -> AuditSpool:
    keys = MasterKeys.of(given or {"SECRET_KEY": WORDS})

    async def masters() -> MasterKeys:
        return keys

    OPENED.append(AuditSpool(folder / "audit.spool", masters, largest=largest, iterations=ITERATIONS))
    return OPENED[-1]


@pytest.fixture(autouse=True)
async def all_closed() -> AsyncIterator[None]:
    yield
    while OPENED:
        await OPENED.pop().close()


def rows(*numbers: int) -> list[AuditRow]:
    return [row(f"e{n}", keys=("password", "ünï"), details={"uid": str(n)}, settles=f"s{n}", outcome=Outcome.SUCCESS) for n in numbers]


async def left(folder: Path, **given: str) -> list[AuditRow]:
    """What the next process finds there."""
    made = spool(folder, **given)
    await made.open()
    found = list(await made.first(1000))
    await made.close()
    return found


async def filled(folder: Path, count: int = 5) -> Path:
    made = spool(folder)
    for number in range(count):
        await made.append(rows(number))
    await made.close()
    return folder / "audit.spool"


async def test_its_size_is_that_of_the_rows_that_wait_in_it(tmp_path: Path) -> None:
    made = spool(tmp_path)
    await made.open()
    assert made.size == 0
    await made.append(rows(1, 2))
    assert made.size > 500
    await made.drop(2)
    assert made.size == 0


async def test_rows_come_back_in_their_order_and_after_the_end_of_the_process(tmp_path: Path) -> None:
    made = spool(tmp_path)
    await made.append(rows(1, 2))
    await made.append(rows(3))
    assert await made.first(2) == rows(1, 2)
    await made.drop(2)
    await made.append(rows(4))
    assert (await made.first(10), made.rows) == (rows(3, 4), 2)
    await made.close()
    # What the trail has already comes again, and is passed over there.
    assert await left(tmp_path) == rows(1, 2, 3, 4)


async def test_once_the_trail_has_all_the_file_is_empty(tmp_path: Path) -> None:
    made = spool(tmp_path)
    await made.append(rows(1, 2))
    size = (tmp_path / "audit.spool").stat().st_size
    await made.drop(2)
    assert (made.rows, (tmp_path / "audit.spool").stat().st_size < size) == (0, True)
    await made.append(rows(3))
    await made.close()
    assert await left(tmp_path) == rows(3)


async def test_nothing_in_it_can_be_read_and_nobody_else_may_open_it(tmp_path: Path) -> None:
    file = await filled(tmp_path)
    for word in (b"ManagedSecret", b"password", b"operator/a", WORDS.encode()):
        assert word not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600


async def test_wherever_its_end_was_cut_off_all_whole_rows_before_that_are_there(tmp_path: Path) -> None:
    file = await filled(tmp_path, 3)
    whole = file.read_bytes()
    seen = set()
    for end in range(len(whole) + 1):
        file.write_bytes(whole[:end])
        found = await left(tmp_path)
        assert found == rows(*range(len(found)))
        seen.add(len(found))
    assert seen == {0, 1, 2, 3}


async def test_a_row_that_was_changed_left_out_or_moved_is_found(tmp_path: Path) -> None:
    file = await filled(tmp_path, 6)
    whole, lot = file.read_bytes(), random.Random(f"{SEED} spool")
    made = spool(tmp_path)
    await made.open()
    at = [place - 4 for place, _ in made._places]
    await made.close()
    changed = bytearray(whole)
    changed[lot.randrange(at[2] + 4, at[3])] ^= 1 << lot.randrange(8)
    left_out = whole[: at[2]] + whole[at[4] :]
    moved = whole[: at[1]] + whole[at[2] : at[3]] + whole[at[1] : at[2]] + whole[at[3] :]
    for damaged in (left_out, moved, bytes(changed)):
        file.write_bytes(damaged)
        with pytest.raises(AuditUnavailable, match="is not as it was written"):
            await left(tmp_path)
        assert file.read_bytes() == damaged, "nothing is overwritten"
        await OPENED.pop().close()


async def test_a_full_one_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    made = spool(tmp_path, largest=1500)
    await made.append(rows(1))
    with pytest.raises(AuditUnavailable, match="spool of the audit trail is full"):
        await made.append(rows(*range(2, 20)))
    await made.append(rows(2))
    assert await made.first(10) == rows(1, 2)


async def test_where_the_disk_takes_no_more_none_of_the_group_is_there(tmp_path: Path) -> None:
    made = spool(tmp_path)
    await made.append(rows(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "audit.spool").stat().st_size + 700, hard))
    try:
        with pytest.raises(AuditUnavailable, match="--audit-spool, and make room there"):
            await made.append(rows(*range(2, 20)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await made.append(rows(2))
    await made.close()
    assert await left(tmp_path) == rows(1, 2)


async def test_under_another_master_key_it_is_not_touched_and_the_former_one_opens_it(tmp_path: Path) -> None:
    file = await filled(tmp_path, 2)
    before, other = file.read_bytes(), secrets.token_urlsafe(48)
    with pytest.raises(AuditUnavailable, match="SECRET_KEY_PREVIOUS"):
        await left(tmp_path, SECRET_KEY=other)
    await OPENED.pop().close()
    assert file.read_bytes() == before
    assert await left(tmp_path, SECRET_KEY=other, SECRET_KEY_PREVIOUS=WORDS) == rows(0, 1)


async def test_one_file_has_one_writer(tmp_path: Path) -> None:
    made = spool(tmp_path)
    await made.append(rows(1))
    with pytest.raises(AuditUnavailable, match="another process writes"):
        await spool(tmp_path).open()


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuditUnavailable, match=f"{tmp_path}/none/audit.spool, cannot be used: No such file"):
        await spool(tmp_path / "none").open()


async def test_a_kill_while_it_is_written_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The file is cut at every byte elsewhere; here the process is really gone."""
    argv = [sys.executable, "-m", "store.spool_writer", str(tmp_path / "audit.spool")]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "SECRET_KEY": WORDS}
    process = await asyncio.create_subprocess_exec(*argv, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    told = [await process.stdout.readline() for _ in range(200)]
    process.kill()
    told += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    acknowledged = [line.decode().strip() for line in told if line.endswith(b"\n")]
    found = [each.event for each in await left(tmp_path)]
    assert found[: len(acknowledged)] == acknowledged
    assert len(acknowledged) >= 200


async def test_a_row_of_more_names_than_fit_is_known_when_it_comes_again_from_the_spool(place: Place, tmp_path: Path) -> None:
    """As where the answer to its commit was lost: what it says is compared with what stands there."""
    names = tuple(f"n{number:03}" for number in range(300))
    big, file, made = row("big", keys=names, details=dict.fromkeys(names, "told")), spool(tmp_path), trail(place)
    await file.append([big])
    end = await made.append([big])
    assert await made.append(await file.first(1)) == end
    [found] = await made.find(most=1)
    kept = row_of(found.texts)
    assert (len(kept.keys), len(kept.details), kept.details["keys"]) == (256, 256, "300")
