"""A writer of files that is killed: whoever reads sees the old value or the new one, and whoever asks again ends what was begun."""

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from contract import file_crashes
from contract.file_crashes import token_of, value_of
from contract.files import provider, writer
from effort import SEED, effort
from evidence import counted
from keyturn.model.errors import NotFound
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Provider
from keyturn.providers.file_writer import FileWriter

KEY = "db/password"
OLDEST, OLD, NEW = 1, 2, 3
_MOST_STEPS = 80
_LIMIT_S = 60.0
_TESTS = Path(__file__).parents[1]

Cutter = Callable[[str, int, str, list[object]], bool]


def program(*arguments: str) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": str(_TESTS)}
    command = [sys.executable, str(Path(file_crashes.__file__)), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


@pytest.fixture
def cutter(tmp_path: Path) -> Iterator[Cutter]:
    """Does something in another process that kills itself before a step; says whether it came to that."""
    with program(str(tmp_path), "cut") as process:
        assert process.stdin
        assert process.stdout

        def cut(where: str, step: int, method: str, arguments: list[object]) -> bool:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([where, step, method, arguments]) + "\n")
            process.stdin.flush()
            told = process.stdout.readline().strip()
            assert told in {"killed", "done"}
            return told == "killed"

        yield cut
        process.stdin.close()


async def read(writing: FileWriter, version: str = "") -> int | None:
    """The number of the value that is read whole; None where there is none."""
    ref = SourceRef(KEY, version)
    answer = (await writing.get_many([ref]))[ref]
    if isinstance(answer, NotFound):
        return None
    assert isinstance(answer, Value), answer
    number = int(answer.data.reveal()[10:16])
    assert answer.data == Sensitive(value_of(number))
    return number


async def version(writing: FileWriter) -> str:
    answer = (await writing.get_many([SourceRef(KEY)]))[SourceRef(KEY)]
    return answer.version if isinstance(answer, Value) else ""


async def put(writing: FileWriter, number: int, stage: str = CURRENT) -> str:
    return await writing.put(KEY, Sensitive(value_of(number)), token=token_of(number), stage=stage)


def strays(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.suffix in {".new", ".last"}]


def holding(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and b"kt-canary" in path.read_bytes()]


class Trials:
    """The same operation, killed at each of its steps, each time in a new folder."""

    def __init__(self, root: Path, cutter: Cutter, method: str, prepare: Callable[[FileWriter], Awaitable[object]]) -> None:
        self._root, self._cutter, self._method, self._prepare = root, cutter, method, prepare

    async def __call__(self, arguments: Callable[[object], list[object]], check: Callable[[FileWriter, object], Awaitable[None]]) -> int:
        for step in itertools.count():
            assert step < _MOST_STEPS
            where = f"t{step}"
            (self._root / where).mkdir()
            writing = writer(self._root / where)
            made = await self._prepare(writing)
            was_killed = self._cutter(where, step, self._method, arguments(made))
            await check(writing, made)
            assert not strays(self._root / where)
            await writing.close()
            if not was_killed:
                return step
        return 0


async def two(writing: FileWriter) -> str:
    await put(writing, OLDEST)
    return await put(writing, OLD)


async def test_a_put_that_is_killed_is_done_or_not_and_once_when_it_comes_again(tmp_path: Path, cutter: Cutter) -> None:
    async def check(writing: FileWriter, old: object) -> None:
        seen, name = await read(writing), await version(writing)
        assert (seen, name == old) in {(OLD, True), (NEW, False)}
        again = await put(writing, NEW)
        assert again == await put(writing, NEW)
        assert seen == OLD or name == again
        assert [await read(writing), await read(writing, PREVIOUS), await read(writing, PENDING)] == [NEW, OLD, None]
        assert await read(writing, str(old)) == OLD

    assert await Trials(tmp_path, cutter, "put", two)(lambda _: [KEY, NEW, CURRENT], check) > 15


async def test_the_first_put_of_a_key_may_be_killed_too(tmp_path: Path, cutter: Cutter) -> None:
    async def nothing(_: FileWriter) -> None:
        """The folder is empty."""

    async def check(writing: FileWriter, _: object) -> None:
        await put(writing, NEW)
        assert [await read(writing), await read(writing, PREVIOUS)] == [NEW, None]

    assert await Trials(tmp_path, cutter, "put", nothing)(lambda _: [KEY, NEW, CURRENT], check) > 15


async def test_a_pending_put_that_is_killed_is_never_read_as_current(tmp_path: Path, cutter: Cutter) -> None:
    async def check(writing: FileWriter, old: object) -> None:
        assert (await read(writing), await version(writing)) == (OLD, old)
        assert await read(writing, PENDING) in {None, NEW}
        again = await put(writing, NEW, PENDING)
        assert [await read(writing), await read(writing, PREVIOUS), await read(writing, PENDING)] == [OLD, OLDEST, NEW]
        assert await read(writing, again) == NEW

    assert await Trials(tmp_path, cutter, "put", two)(lambda _: [KEY, NEW, PENDING], check) > 10


async def test_a_promotion_that_is_killed_is_done_or_not(tmp_path: Path, cutter: Cutter) -> None:
    async def prepare(writing: FileWriter) -> str:
        await two(writing)
        return await put(writing, NEW, PENDING)

    async def check(writing: FileWriter, name: object) -> None:
        assert await read(writing) in {OLD, NEW}
        await writing.promote(KEY, str(name))
        assert [await read(writing), await read(writing, PREVIOUS), await read(writing, PENDING)] == [NEW, OLD, None]
        assert await version(writing) == name

    assert await Trials(tmp_path, cutter, "promote", prepare)(lambda name: [KEY, name], check) > 10


async def test_a_way_back_that_is_killed_is_gone_or_not(tmp_path: Path, cutter: Cutter) -> None:
    async def prepare(writing: FileWriter) -> str:
        first = await put(writing, OLDEST)
        await put(writing, OLD)
        return first

    async def check(writing: FileWriter, name: object) -> None:
        assert await read(writing) in {OLDEST, OLD}
        await writing.promote(KEY, str(name))
        assert [await read(writing), await read(writing, PREVIOUS)] == [OLDEST, OLD]
        assert await version(writing) == name

    assert await Trials(tmp_path, cutter, "promote", prepare)(lambda name: [KEY, name], check) > 10


async def test_a_deletion_that_is_killed_is_done_or_not_and_can_be_undone(tmp_path: Path, cutter: Cutter) -> None:
    async def check(writing: FileWriter, old: object) -> None:
        assert await read(writing) in {OLD, None}
        await writing.delete(KEY)
        assert [await read(writing), await read(writing, PREVIOUS)] == [None, None]
        await writing.undelete(KEY)
        assert [await read(writing), await read(writing, PREVIOUS)] == [OLD, OLDEST]
        assert await version(writing) == old

    assert await Trials(tmp_path, cutter, "delete", two)(lambda _: [KEY], check) > 5


async def test_an_undeletion_that_is_killed_is_done_or_not(tmp_path: Path, cutter: Cutter) -> None:
    async def prepare(writing: FileWriter) -> str:
        old = await two(writing)
        await writing.delete(KEY)
        return old

    async def check(writing: FileWriter, old: object) -> None:
        assert await read(writing) in {OLD, None}
        await writing.undelete(KEY)
        assert (await read(writing), await version(writing)) == (OLD, old)

    assert await Trials(tmp_path, cutter, "undelete", prepare)(lambda _: [KEY], check) > 5


async def test_a_purge_that_is_killed_is_ended_by_the_next_and_leaves_no_value(tmp_path: Path, cutter: Cutter) -> None:
    async def check(writing: FileWriter, _: object) -> None:
        assert await read(writing) in {OLD, None}
        await writing.delete(KEY, purge=True)
        with pytest.raises(NotFound):
            await writing.undelete(KEY)
        assert [await read(writing), await read(writing, PREVIOUS)] == [None, None]
        assert not holding(Path(writing._folder._place.path))

    assert await Trials(tmp_path, cutter, "purge", two)(lambda _: [KEY], check) > 5


async def test_a_put_over_what_was_deleted_brings_nothing_back_when_it_is_killed(tmp_path: Path, cutter: Cutter) -> None:
    async def prepare(writing: FileWriter) -> None:
        await two(writing)
        await writing.delete(KEY)

    async def check(writing: FileWriter, _: object) -> None:
        assert await read(writing) in {NEW, None}
        await put(writing, NEW)
        assert [await read(writing), await read(writing, PREVIOUS), await read(writing, PENDING)] == [NEW, None, None]
        assert len(await writing.versions(KEY)) == 1

    assert await Trials(tmp_path, cutter, "put", prepare)(lambda _: [KEY, NEW, CURRENT], check) > 10


async def test_readers_see_whole_values_while_writers_are_killed_at_any_moment(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    kills, chance = counted(request, effort(8, 100), 100, "kills"), random.Random(f"{SEED} file kills")
    reading, writing = provider(tmp_path), writer(tmp_path)
    (tmp_path / "other").write_bytes(b"so that the folder is not empty")
    told, seen = 0, 0
    for _ in range(kills):
        process = program(str(tmp_path), "run", str(told + 1))
        assert process.stdout
        told = max(told, int(await asyncio.to_thread(process.stdout.readline)))
        lines = asyncio.create_task(asyncio.to_thread(process.stdout.read))
        async with asyncio.timeout(_LIMIT_S):
            for _ in range(chance.randrange(1, 40)):
                seen = max(seen, await now(reading))
        process.send_signal(signal.SIGKILL)
        told = max([told, *map(int, (await lines).split())])
        await asyncio.to_thread(process.wait)
        process.stdout.close()
        assert process.stdin
        process.stdin.close()
        there = await now(reading)
        assert there in {told, told + 1}  # what was told is there, and at most the one that was on its way
        again = await put(writing, there)
        assert again == await version(writing)  # it came to be once
        told = there
    assert seen > 0
    assert not strays(tmp_path)
    await reading.close()
    await writing.close()


async def now(reading: Provider) -> int:
    answer = (await reading.get_many([SourceRef(KEY)]))[SourceRef(KEY)]
    assert isinstance(answer, Value), answer
    number = int(answer.data.reveal()[10:16])
    assert answer.data == Sensitive(value_of(number))
    return number
