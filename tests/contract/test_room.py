"""Room for answers: whoever waits gets it in turn, nobody waits for ever, and large answers of a real server stay within it."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from contract.sources import until
from contract.vaults import Rig, all_hung_up, front
from keyturn.model.errors import Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.vault import TokenLogin
from keyturn.providers.guard import REMOTE, Guard
from keyturn.providers.room import CALL, Hold, NoRoomError, Room
from keyturn.providers.vault import VALUE_LIMIT

pytestmark = pytest.mark.timeout(60)

BODY = json.dumps(
    {"request_id": "1", "data": {"data": {"password": "kt-canary-room" + "x" * (1_500_000)}, "metadata": {"version": 1}}}
).encode()
MANY = [SourceRef(f"key{number}") for number in range(256)]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_tenant_gets_a_half_and_another_a_half_of_the_rest():
    room = Room(100)
    with room.hold("a") as one, room.hold("b") as other:
        await one.claim(50)
        waiting = asyncio.create_task(other.claim(26))
        await other.claim(25)
        assert room.taken == 75
        await turns()
        assert not waiting.done() or room.taken <= 100
        waiting.cancel()
        await asyncio.wait({waiting})
    assert (room.taken, room.most) == (0, 76)


async def test_who_holds_something_does_not_wait():
    room = Room(100)
    with room.hold("a") as hold, room.hold("a") as other:
        await hold.claim(30)
        hold.is_kept = True
        await other.claim(20)
        with pytest.raises(NoRoomError):
            await hold.claim(1)
        assert hold.size == 30


async def test_a_call_brings_home_what_it_has_before_it_takes_more_than_its_due():
    room = Room(CALL * 100)
    with room.hold("a") as hold:
        await hold.claim(CALL - 10)
        hold.is_kept = True
        await hold.claim(10)
        with pytest.raises(NoRoomError):
            await hold.claim(1)


async def test_those_who_wait_go_in_order_and_a_tenants_line_holds_nobody_else_up():
    room, went = Room(100), list[str]()

    async def go(tenant: str, name: str, size: int) -> None:
        with room.hold(tenant) as hold:
            await hold.claim(size)
            went.append(name)

    first = Hold(room, "a")
    await first.claim(50)
    waiting = [asyncio.create_task(go("a", name, 40)) for name in ("a1", "a2")]
    await turns()
    waiting.append(asyncio.create_task(go("a", "small", 1)))
    waiting.append(asyncio.create_task(go("b", "b", 40)))
    await turns()
    assert went == ["b"], "a small one does not overtake its own tenant's"
    first.give_back(50)
    await asyncio.gather(*waiting)
    assert went[:2] == ["b", "a1"]
    assert sorted(went) == ["a1", "a2", "b", "small"]
    assert room.taken == 0


@pytest.mark.parametrize("is_served", [True, False])
async def test_who_gives_up_waiting_leaves_nothing_behind(*, is_served: bool):
    room = Room(100)
    first, second = Hold(room, "a"), Hold(room, "a")
    await first.claim(100)
    waiting = asyncio.create_task(second.claim(60))
    await turns()
    if is_served:
        first.give_back(100)
    waiting.cancel()
    await asyncio.wait({waiting})
    first.give_back(first.size)
    assert room.taken == 0
    await asyncio.wait_for(second.claim(100), 1)


@pytest.fixture
async def large(rig: Rig) -> AsyncIterator[str]:
    """The URL of a server whose every value is of 1.5 MB."""
    async with front(rig.bao, lambda _: web.Response(body=BODY, content_type="application/json")) as made:
        yield made.url
    await all_hung_up()


def guarded(rig: Rig, server: str, room: Room, tenant: str = "") -> Guard:
    """A provider that has its token already."""
    return Guard(rig.open(TokenLogin(rig.keep("token", "kt-canary-token")), server=server, room=room, tenant=tenant), REMOTE)


async def read_all(guard: Guard, refs: list[SourceRef]) -> int:
    """How many came, each piece let go before the next one."""
    count, left = 0, refs
    while left:
        answers = await guard.get_many(left)
        assert all(isinstance(answer, Value) for answer in answers.values()), answers
        count += len(answers)
        left = [ref for ref in left if ref not in answers]
    return count


async def test_many_large_answers_are_all_read_and_stay_within_their_room(rig: Rig, large: str):
    """Four calls of 64 references were 400 MB before."""
    room = Room()
    guard = guarded(rig, large, room)
    assert len(BODY) < VALUE_LIMIT
    assert await read_all(guard, MANY) == len(MANY)
    print(f"at most {room.most / 2**20:.0f} MiB at once")
    assert CALL / 2 < room.most <= room.size / 2
    assert room.taken == 0
    await guard.close()


async def test_tenants_with_large_answers_leave_room_for_another(rig: Rig, large: str):
    room = Room(16 << 20)
    crowd = [guarded(rig, large, room, f"evil-{n % 2}") for n in range(4)]
    greedy = [asyncio.create_task(read_all(guard, MANY[:64])) for guard in crowd]
    await until(lambda: room.taken >= room.size // 2)
    rig.put("db", "kt-canary-quick")
    quick = Guard(rig.open(room=room, tenant="quiet"), REMOTE)
    assert await read_all(quick, [SourceRef("db")]) == 1
    assert not all(task.done() for task in greedy)
    assert await asyncio.gather(*greedy) == [64] * 4
    assert room.most <= room.size
    assert room.taken == 0
    for guard in (*crowd, quick):
        await guard.close()


async def test_who_finds_no_room_has_a_deadline(rig: Rig, large: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("keyturn.providers.dial.TOTAL_S", 0.5)
    room = Room()
    room.take("other", room.size)
    answers = await guarded(rig, large, room).get_many(MANY[:1])
    assert isinstance(answers[MANY[0]], Unavailable)
    assert room.taken == room.size
