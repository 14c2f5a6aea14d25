"""Work that blocks: nobody's takes the threads of all others."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from contract.sources import until
from keyturn.providers.fair_threads import Threads

NAME = "keyturn-test"
WAIT_S = 5


@dataclass
class Gate:
    """Work that waits here until it is open."""

    gate: threading.Event = field(default_factory=threading.Event)
    begun: list[str] = field(default_factory=list)

    def __call__(self, whose: str) -> str:
        self.begun.append(whose)
        self.gate.wait(60)
        return whose


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.gate.set()


@pytest.fixture
def threads() -> Threads:
    return Threads(NAME, 16)


def start(threads: Threads, gate: Gate, whose: str, count: int) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(threads.run(whose, lambda: gate(whose))) for _ in range(count)]


async def test_one_who_has_much_work_holds_three_of_sixteen_threads_and_the_next_one_has_its_own(threads: Threads, gate: Gate) -> None:
    much = start(threads, gate, "evil", 40)
    await until(lambda: len(gate.begun) == 3)
    async with asyncio.timeout(WAIT_S):
        assert await threads.run("shop", lambda: "done") == "done"
    assert gate.begun == ["evil"] * 3
    gate.gate.set()
    assert await asyncio.gather(*much) == ["evil"] * 40


async def test_the_last_thread_goes_to_somebody_who_has_none(threads: Threads, gate: Gate) -> None:
    much = [task for number in range(9) for task in start(threads, gate, f"evil-{number}", 10)]
    async with asyncio.timeout(WAIT_S):
        assert await threads.run("shop", lambda: "done") == "done"
    assert threading.active_count() < 16 + 10
    gate.gate.set()
    await asyncio.gather(*much)


async def test_there_are_never_more_threads_and_all_work_is_done_in_the_end(threads: Threads, gate: Gate) -> None:
    most = [task for number in range(40) for task in start(threads, gate, f"ns-{number}", 2)]
    await until(lambda: len(gate.begun) == 16)
    assert sum(thread.name == NAME for thread in threading.enumerate()) == 16
    gate.gate.set()
    await asyncio.gather(*most)
    assert len(gate.begun) == 80
    await until(lambda: not any(thread.name == NAME for thread in threading.enumerate()))


async def test_work_that_nobody_waits_for_any_more_is_not_begun_and_what_runs_keeps_its_share(threads: Threads, gate: Gate) -> None:
    much = start(threads, gate, "evil", 20)
    await until(lambda: len(gate.begun) == 3)
    for task in much:
        task.cancel()
    await asyncio.wait(much)
    late = start(threads, gate, "evil", 1)
    async with asyncio.timeout(WAIT_S):
        await threads.run("shop", lambda: None)
    assert gate.begun == ["evil"] * 3
    gate.gate.set()
    assert await asyncio.gather(*late) == ["evil"]
    assert len(gate.begun) == 4


async def test_what_work_raises_is_told_to_whoever_waits_and_the_next_work_is_done(gate: Gate) -> None:
    threads = Threads(NAME, 1)
    held = start(threads, gate, "shop", 1)

    def wrong() -> None:
        raise KeyError("kt")

    failing, next_one = asyncio.create_task(threads.run("shop", wrong)), asyncio.create_task(threads.run("shop", lambda: "done"))
    await until(lambda: len(gate.begun) == 1)
    gate.gate.set()
    with pytest.raises(KeyError):
        await failing
    assert await next_one == "done"
    assert await asyncio.gather(*held) == ["shop"]


async def test_a_system_that_has_no_thread_says_so_and_has_them_again(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        for _ in range(40):
            with pytest.raises(RuntimeError):
                await threads.run("shop", lambda: "done")
    assert await threads.run("shop", lambda: "done") == "done"
