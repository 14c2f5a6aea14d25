"""The guard of a provider that may be written to: what it lets through, what it bounds, and what it never turns into a write."""

import asyncio

import pytest

from contract.sources import PACE, Source
from keyturn.model.errors import Conflict, Invalid, NotFound, Throttled, Unavailable
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, SourceRef
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Writer
from keyturn.providers.fake_store import Store
from keyturn.providers.guard import Guard, Pace
from keyturn.providers.guarded_writer import GuardedWriter
from keyturn.testing.fake_server import FakeClient, FakeServer

TOKEN, LATER = "t" * 32, "u" * 32
KEY, OLD, NEW = "shop/db", Sensitive.of("kt-canary-old"), Sensitive.of("kt-canary-new")


async def test_every_write_goes_through_and_is_told_of() -> None:
    told: list[tuple[str, str]] = []
    server = FakeServer()
    writer = GuardedWriter(FakeClient(server), observe=lambda name, result, _: told.append((name, result)))
    first = await writer.put(KEY, OLD, token=TOKEN, expect="", tags={"team": "shop"})
    second = await writer.put(KEY, NEW, token=LATER, expect=first, stage=PENDING)
    await writer.promote(KEY, second)
    assert {stage: each.name for each in await writer.versions(KEY) for stage in each.stages} == {CURRENT: second, PREVIOUS: first}
    assert server.store.keys[KEY].tags == {"team": "shop"}
    await writer.delete(KEY)
    await writer.undelete(KEY)
    await writer.delete(KEY, purge=True)
    with pytest.raises(NotFound):
        await writer.undelete(KEY)
    assert told == [
        *(("put", "OK"), ("put", "OK"), ("promote", "OK"), ("versions", "OK"), ("delete", "OK"), ("undelete", "OK"), ("delete", "OK")),
        ("undelete", "NotFound"),
    ]
    await writer.close()
    with pytest.raises(Unavailable):
        await writer.put(KEY, NEW, token=TOKEN)


async def test_a_conflict_is_no_outage() -> None:
    writer = GuardedWriter(FakeClient(FakeServer()), PACE)
    for _ in range(PACE.threshold + 1):
        with pytest.raises(Conflict):
            await writer.put(KEY, NEW, token=TOKEN, expect="7")
    assert await writer.put(KEY, NEW, token=TOKEN)
    await writer.close()


async def test_a_write_that_is_given_up_is_unavailable_and_may_be_asked_again() -> None:
    server = FakeServer(is_silent=True)
    writer = GuardedWriter(FakeClient(server), Pace(deadline_s=0.05))
    with pytest.raises(Unavailable, match="in time"):
        await writer.put(KEY, NEW, token=TOKEN)
    server.is_silent = False
    assert await writer.put(KEY, NEW, token=TOKEN) == "1"
    await writer.close()


async def test_writes_and_reads_have_one_breaker() -> None:
    server = FakeServer(trouble=Throttled("slow down", retry_after=30.0))
    writer = GuardedWriter(FakeClient(server), PACE)
    for _ in range(PACE.threshold):
        with pytest.raises(Throttled):
            await writer.put(KEY, NEW, token=TOKEN)
    server.trouble = None
    answers = await writer.get_many([SourceRef(KEY)])
    assert isinstance(answers[SourceRef(KEY)], Throttled)
    await writer.close()


class Crowd(FakeClient):
    """Counts how many are in it."""

    running = most = 0

    async def _store(self) -> Store:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return await super()._store()


async def test_writes_have_the_places_of_the_bulkhead() -> None:
    crowd = Crowd(FakeServer())
    writer = GuardedWriter(crowd, Pace(concurrency=2))
    assert await asyncio.gather(*(writer.put(f"{KEY}{number}", NEW, token=TOKEN) for number in range(6))) == ["1"] * 6
    assert crowd.most == 2
    await writer.close()


async def test_the_guard_of_a_reader_has_no_way_to_write() -> None:
    assert not isinstance(Guard(FakeClient(FakeServer())), Writer)
    writer = GuardedWriter(Source())
    with pytest.raises(Invalid, match="cannot be written to"):
        await writer.put(KEY, NEW, token=TOKEN)
    await writer.close()
