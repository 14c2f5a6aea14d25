"""Looking names up: what hangs takes threads from nobody but who asked for it, and never more than there are.

``getaddrinfo`` stands for the system's resolver, which asks whom /etc/resolv.conf names, for all of the machine.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from contract.servers import Http
from keyturn.model.errors import Unavailable
from keyturn.providers.dial import Line
from keyturn.providers.names import MOST, LookUps

LIMIT_S = 20
ANY = socket.AF_UNSPEC


class System:
    """A resolver with a silent server for each name that begins with ``hang``; ``asked`` is who came to it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hanging = 0
        self.lock, self.end = threading.Lock(), threading.Event()

    def ask(self, host: str, port: int | None, *_: int, **__: int) -> list[tuple[object, ...]]:
        with self.lock:
            self.asked.append(host)
        if host.startswith("hang"):
            with self.lock:
                self.hanging += 1
            self.end.wait(60)
            with self.lock:
                self.hanging -= 1
        if not host.endswith(".test"):
            raise socket.gaierror(socket.EAI_NONAME, "kt-canary-library-text")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port or 0))] * 2


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    found = System()
    monkeypatch.setattr(socket, "getaddrinfo", found.ask)
    yield found
    found.end.set()


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not claim():  # noqa: ASYNC110  # other threads have no event of this loop
            await asyncio.sleep(0.01)


def threads() -> int:
    return sum(thread.name == "keyturn-name" for thread in threading.enumerate())


async def answered(names: LookUps, asker: str, host: str) -> bool:
    async with asyncio.timeout(LIMIT_S):
        return await names.ask(asker, host, ANY) == ["127.0.0.1"]


async def ended(tasks: list[asyncio.Task[list[str]]], system: System) -> None:
    system.end.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: threads() == 0)


async def test_names_that_hang_do_not_stop_those_of_others(system: System):
    names = LookUps()
    hanging = [asyncio.create_task(names.ask("loud", f"hang-{n}.test", ANY)) for n in range(300)]
    await until(lambda: system.hanging >= MOST // 8)
    assert all([await answered(names, f"quiet-{n}", "vault.test") for n in range(MOST)])
    assert system.hanging <= MOST // 4
    # ... nor its own for good: when one ends, who waits longest comes next
    await ended(hanging, system)
    assert all(task.result() == ["127.0.0.1"] for task in hanging)


async def test_whoever_has_many_names_that_hang_threads_stay_few(system: System):
    names = LookUps()
    hanging = [asyncio.create_task(names.ask(f"shop-{n % 16}", f"hang-{n}.test", ANY)) for n in range(300)]
    await until(lambda: system.hanging >= MOST // 2)
    assert await answered(names, "quiet", "vault.test")
    more = [asyncio.create_task(names.ask(f"more-{n}", f"hang-{n}.test", ANY)) for n in range(300)]
    await until(lambda: system.hanging == MOST)
    assert threads() == MOST
    await ended(hanging + more, system)


async def test_many_who_ask_for_one_name_are_one_question_and_fail_each_with_an_error_of_its_own(system: System):
    names = LookUps()
    good = [asyncio.create_task(names.ask("shop", "hang.test", ANY)) for _ in range(50)]
    bad = [asyncio.create_task(names.ask("shop", "hang.nowhere", ANY)) for _ in range(50)]
    await until(lambda: system.hanging == 2)
    good[0].cancel()
    await ended(good + bad, system)
    assert system.asked == ["hang.test", "hang.nowhere"]
    assert [task.result() for task in good[1:]] == [["127.0.0.1"]] * 49
    assert len({id(task.exception()) for task in bad}) == 50
    assert {type(task.exception()) for task in bad} == {socket.gaierror}


async def test_what_nobody_waits_for_any_more_is_not_asked(system: System):
    names = LookUps(most=1)
    hanging = asyncio.create_task(names.ask("shop", "hang.test", ANY))
    await until(lambda: system.hanging == 1)
    left = [asyncio.create_task(names.ask("shop", f"left-{n}.test", ANY)) for n in range(50)]
    kept = asyncio.create_task(names.ask("shop", "kept.test", ANY))
    await asyncio.sleep(0)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await ended([hanging, *left, kept], system)
    assert system.asked == ["hang.test", "kept.test"]
    assert names._questions == {}


async def test_a_tenant_with_300_servers_whose_names_hang_stops_neither_another_nor_an_admin(
    http: Http, opened: Callable[..., Line], system: System
):
    lines = [opened(f"http://hang-{n}.test") for n in range(300)]
    lost = [asyncio.create_task(line.send("GET", "/there", headers={})) for line in lines]
    await until(lambda: system.hanging > 0)
    for server in (opened(f"http://vault.test:{http.port}", tenant="other"), opened(f"http://vault.test:{http.port}", None)):
        assert (await server.send("GET", "/there", headers={})).status == 200
    assert threads() <= MOST
    assert {type(failure) for failure in await asyncio.gather(*lost, return_exceptions=True)} == {Unavailable}
    for line in lines:
        await line.close()  # what it asked does not hold it
