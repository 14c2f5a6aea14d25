"""One pass for all who ask, one log-in on its way at a time, and what becomes of both when the provider is closed."""

import asyncio
import gc
from dataclasses import dataclass, field

import pytest

from contract.sources import until
from keyturn.decide.tokenlife import RENEW_AT, SPREAD
from keyturn.model.errors import AuthFailed, ProviderError, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.providers.passes import LOG_IN_S, Pass, Passes

LIFE_S = 600.0
SILENCE = "the doorkeeper gave no answer"


@dataclass(eq=False)
class Door:
    """Whoever logs in here waits until it is open, and gets a pass or a failure."""

    now_s: float = 0.0
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    log_ins: int = 0
    log_in_s: float = LOG_IN_S

    def __post_init__(self) -> None:
        self.is_open.set()
        self.passes = Passes[Pass]("keyturn-test-login", self.log_in, clock=lambda: self.now_s, silence=SILENCE, log_in_s=self.log_in_s)

    async def log_in(self) -> Pass:
        self.log_ins += 1
        await self.is_open.wait()
        if self.failure:
            raise self.failure
        return Pass.of(Sensitive(b"kt-canary-pass%d" % self.log_ins), self.now_s, LIFE_S, chance=0.0)

    async def waiting(self, count: int) -> list[asyncio.Task[Pass]]:
        """So many who ask, while the door is shut."""
        self.is_open.clear()
        asking = [asyncio.create_task(self.passes.usable()) for _ in range(count)]
        await until(lambda: self.log_ins == 1)
        return asking


@pytest.fixture
async def door() -> Door:
    return Door()


def test_a_pass_is_due_at_two_thirds_of_its_life_or_a_little_earlier():
    for chance in (0.0, 0.5, 1.0):
        made = Pass.of(Sensitive(b"kt-canary-pass"), 1000.0, LIFE_S, chance)
        assert made.due_at_s == pytest.approx(1000.0 + LIFE_S * RENEW_AT * (1 - SPREAD * chance))
        assert made.ends_at_s == 1000.0 + LIFE_S


async def test_a_pass_is_used_without_a_look_until_it_is_due(door: Door):
    first = await door.passes.usable()
    door.now_s += LIFE_S * RENEW_AT - 1
    assert await door.passes.usable() is first
    door.now_s += 2
    assert await door.passes.usable() is not first
    assert door.log_ins == 2


async def test_a_pass_of_which_nobody_tells_when_it_ends_is_never_due(door: Door):
    door.passes.kept = Pass(Sensitive(b"kt-canary-pass"))
    door.now_s += 1e9
    assert await door.passes.usable() is door.passes.kept
    assert door.log_ins == 0


async def test_all_who_ask_meanwhile_share_one_log_in(door: Door):
    asking = await door.waiting(5)
    door.is_open.set()
    found = await asyncio.gather(*asking)
    assert all(each is found[0] for each in found)
    assert door.log_ins == 1


async def test_whoever_gives_up_takes_nothing_from_those_who_wait_on(door: Door):
    impatient, *others = await door.waiting(3)
    impatient.cancel()
    await asyncio.wait({impatient})
    door.is_open.set()
    assert len(await asyncio.gather(*others)) == 2
    assert door.log_ins == 1


async def test_a_failure_is_told_to_each_by_an_error_of_its_own(door: Door):
    door.failure = AuthFailed("the door does not know us", request_id="1")
    asking = await door.waiting(3)
    door.is_open.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [(type(each), str(each)) for each in found] == [(AuthFailed, str(door.failure))] * 3
    assert len({id(each) for each in (*found, door.failure)}) == 4
    door.failure = None
    assert await door.passes.usable()
    assert door.log_ins == 2


async def test_a_pass_that_is_due_is_used_while_nobody_gives_another_one(door: Door):
    first = await door.passes.usable()
    door.failure = Unavailable("the door is away")
    door.now_s += LIFE_S * RENEW_AT + 1
    assert await door.passes.usable() is first
    assert door.log_ins == 2
    door.now_s += LIFE_S
    with pytest.raises(Unavailable, match="the door is away"):
        await door.passes.usable()


async def test_a_pass_that_is_due_is_not_used_once_another_one_is_refused(door: Door):
    await door.passes.usable()
    door.failure = AuthFailed("the door does not know us")
    door.now_s += LIFE_S * RENEW_AT + 1
    with pytest.raises(AuthFailed):
        await door.passes.usable()


async def test_whoever_was_refused_gets_what_another_has_found_since(door: Door):
    first = await door.passes.usable()
    second = await door.passes.share(first)
    assert second is not first
    assert await door.passes.share(first) is second
    assert door.log_ins == 2


async def test_what_is_started_in_place_of_a_log_in_may_bring_the_same_pass(door: Door):
    first = await door.passes.usable()

    async def look() -> Pass:
        return first

    assert await door.passes.share(first, look) is first
    assert await door.passes.usable() is first
    assert door.log_ins == 1


async def test_what_a_look_has_found_stays_also_where_it_fails_in_the_end(door: Door):
    first = await door.passes.usable()

    async def look() -> Pass:
        door.passes.kept = await door.log_in()
        raise Unavailable("the door is away")

    with pytest.raises(Unavailable, match="the door is away"):
        await door.passes.share(first, look)
    assert await door.passes.usable() is not first
    assert door.log_ins == 2


async def test_a_log_in_that_takes_too_long_is_ended():
    door = Door(log_in_s=0.01)
    door.is_open.clear()
    with pytest.raises(Unavailable, match=SILENCE) as caught:
        await door.passes.usable()
    assert caught.value.__cause__ is None
    door.is_open.set()
    assert await door.passes.usable()


async def test_a_log_in_that_fails_when_nobody_waits_any_more_is_nothing_for_the_log(door: Door):
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: heard.append(told))
    door.failure = AuthFailed("the door does not know us")
    asking = await door.waiting(2)
    for each in asking:
        each.cancel()
    await asyncio.wait(asking)
    door.is_open.set()
    flight = door.passes._flight
    assert flight is not None
    await asyncio.wait({flight})
    door.passes._flight = None
    del asking, each, flight
    gc.collect()
    assert heard == []


async def test_to_close_ends_the_log_in_and_gives_nobody_a_pass(door: Door):
    asking = await door.waiting(2)
    assert await door.passes.close() is None
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(each) for each in found if isinstance(each, ProviderError)] == ["the provider is closed"] * 2
    for ask in (door.passes.usable, lambda: door.passes.share(None)):
        with pytest.raises(Unavailable, match="the provider is closed"):
            await ask()
    with pytest.raises(Unavailable, match="the provider is closed"):
        door.passes.check_open()
    assert door.log_ins == 1


async def test_a_pass_that_is_due_is_not_used_by_whom_the_close_has_met(door: Door):
    await door.passes.usable()
    door.now_s += LIFE_S * RENEW_AT + 1
    door.is_open.clear()
    asking = asyncio.create_task(door.passes.usable())
    await until(lambda: door.log_ins == 2)
    await door.passes.close()
    with pytest.raises(Unavailable, match="the provider is closed"):
        await asking


async def test_the_first_who_closes_gets_the_pass_to_give_it_back(door: Door):
    first = await door.passes.usable()
    assert await door.passes.close() is first
    assert await door.passes.close() is None
