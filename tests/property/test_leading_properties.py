"""Never two leaders, whatever the network and the replicas go through; and one again when all is well."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from effort import effort
from keyturn.flow.leading import Leading
from keyturn.model.errors import Busy
from keyturn.model.lease import Lease, Terms
from keyturn.testing.leases import FakeLeases
from keyturn.testing.world import FakeClock, play

_T = TypeVar("_T")
TERMS = Terms()
NAMES = ("a", "b", "c")


@dataclass
class Way:
    """A replica's way to the record: requests arrive late, also those that their sender gave up, and answers get lost."""

    record: FakeLeases
    chance: random.Random
    is_broken: bool = False
    slowest_s: float = 0.0

    async def read(self) -> Lease | None:
        return await self._through(self.record.read)

    async def write(self, lease: Lease) -> Lease:
        return await self._through(lambda: self.record.write(lease))

    async def _through(self, call: Callable[[], Awaitable[_T]]) -> _T:
        async def arrive() -> _T:
            await asyncio.sleep(self.chance.random() * self.slowest_s)
            return await call()

        if self.is_broken:
            raise Busy("no way")
        answer = await asyncio.shield(asyncio.ensure_future(arrive()))
        await asyncio.sleep(self.chance.random() * self.slowest_s)
        if self.is_broken:
            raise Busy("the answer is lost")
        return answer


@settings(max_examples=effort(20, 300), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_never_do_two_replicas_lead(seed: int) -> None:
    play(lambda: _story(random.Random(seed)))


async def _story(chance: random.Random) -> None:
    loop, record, clock = asyncio.get_running_loop(), FakeLeases(), FakeClock()
    loop.set_exception_handler(lambda *_: None)  # of late requests whose sender has gone
    ways = {name: Way(record, chance) for name in NAMES}
    replicas = {name: Leading(ways[name], name, TERMS, clock, loop.time) for name in NAMES}
    tasks = {name: asyncio.create_task(replica.run()) for name, replica in replicas.items()}
    for _ in range(60):
        name = chance.choice(NAMES)
        way, replica = ways[name], replicas[name]
        match chance.randrange(7):
            case 0:
                way.is_broken = not way.is_broken
            case 1:
                way.slowest_s = chance.choice((0.0, 1.0, 6.0, 20.0))
            case 2:  # frozen, and later awake with all that it remembers
                tasks[name].cancel()
            case 3 if tasks[name].done():
                tasks[name] = asyncio.create_task(replica.run())
            case 4:  # killed, and started again at once
                tasks[name].cancel()
                replicas[name] = Leading(way, name, TERMS, clock, loop.time)
                tasks[name] = asyncio.create_task(replicas[name].run())
            case 5:  # stopped, and started again
                tasks[name].cancel()
                await replica.release()
                tasks[name] = asyncio.create_task(replica.run())
            case _:
                record.touch()
        for _ in range(chance.randrange(60)):
            assert sum(replica.is_leading for replica in replicas.values()) <= 1
            await asyncio.sleep(0.25)
    for name in NAMES:
        ways[name].is_broken, ways[name].slowest_s = False, 0.0
        if tasks[name].done():
            tasks[name] = asyncio.create_task(replicas[name].run())
    await asyncio.sleep(60)
    assert [replica.is_leading for replica in replicas.values()].count(True) == 1
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
