"""The guard: a sick provider is left alone, a busy one is not hurried, and each call is counted."""

import asyncio

import pytest

from contract.answers import text_of
from contract.sources import CANARY, PACE, A, B, C, Clock, Source, until, until_asked
from keyturn.model.errors import AuthFailed, Invalid, Throttled, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.providers.guard import Guard, Pace

pytestmark = pytest.mark.timeout(30)
D = SourceRef("d")


async def test_failures_in_a_row_open_the_breaker_and_one_probe_closes_it():
    clock, source = Clock(), Source(failure=AuthFailed("no log-in"))
    guard = Guard(source, PACE, clock=clock, chance=lambda: 0.5)
    for _ in range(3):
        await guard.get_many([A])
    held_back = (await guard.get_many([A]))[A]
    assert len(source.calls) == 3
    # What is known of the provider stays known: a log-in that fails does not turn into an outage.
    assert isinstance(held_back, AuthFailed)
    assert held_back.retry_after == 5.0
    with pytest.raises(AuthFailed):
        await guard.validate()

    clock.now_s += 5.0
    source.failure = None
    source.gate.clear()
    probe = asyncio.create_task(guard.get_many([A]))
    await until_asked(source, 4)
    assert isinstance((await guard.get_many([B]))[B], AuthFailed)
    source.gate.set()
    assert text_of((await probe)[A]) == f"{CANARY}-a"
    assert text_of((await guard.get_many([B]))[B]) == f"{CANARY}-b"


async def test_a_throttled_call_holds_back_at_once_for_as_long_as_the_provider_asked():
    clock, source = Clock(), Source(failure=Throttled("slow down", retry_after=30.0))
    guard = Guard(source, PACE, clock=clock, chance=lambda: 0.0)
    await guard.get_many([A])
    clock.now_s += 29.0
    held_back = (await guard.get_many([A]))[A]
    assert isinstance(held_back, Throttled)
    assert held_back.retry_after == 1.0
    source.failure = None
    clock.now_s += 1.0
    assert text_of((await guard.get_many([A]))[A]) == f"{CANARY}-a"


async def test_a_pause_that_was_asked_for_in_the_middle_of_a_call_holds_for_the_next_one():
    clock, source = Clock(), Source(answers={B: Throttled("slow down", retry_after=30.0)})
    guard = Guard(source, PACE, clock=clock, chance=lambda: 0.0)
    assert text_of((await guard.get_many([A, B]))[A]) == f"{CANARY}-a"
    assert isinstance((await guard.get_many([C]))[C], Throttled)
    clock.now_s += 30.0
    assert text_of((await guard.get_many([C]))[C]) == f"{CANARY}-c"


async def test_an_answer_to_what_was_asked_before_a_pause_does_not_end_it():
    clock, source = Clock(), Source(answers={A: Throttled("slow down", retry_after=30.0)})
    guard = Guard(source, PACE, clock=clock, chance=lambda: 0.0)
    source.gate.clear()
    refused, answered = asyncio.create_task(guard.get_many([A])), asyncio.create_task(guard.get_many([B]))
    await until_asked(source, 1)
    later = asyncio.create_task(guard.get_many([C]))
    await until_asked(source, 2)
    source.gate.set()
    assert isinstance((await refused)[A], Throttled)
    await asyncio.gather(answered, later)
    assert isinstance((await guard.get_many([D]))[D], Throttled)


async def test_keys_that_all_meet_the_same_wall_count_as_a_failed_call_and_single_ones_do_not():
    source = Source(answers={A: Unavailable("away"), B: Unavailable("away")})
    guard = Guard(source, PACE)
    for _ in range(5):
        await guard.get_many([A, C])
    assert len(source.calls) == 5
    for _ in range(5):
        await guard.get_many([A, B])
    assert len(source.calls) == 8


async def test_what_is_missing_or_denied_never_opens_the_breaker():
    source = Source(failure=Invalid("bad document"))
    guard = Guard(source, PACE)
    for _ in range(10):
        assert isinstance((await guard.get_many([A]))[A], Invalid)
    assert len(source.calls) == 10


async def test_a_cancelled_probe_leaves_its_place_to_the_next():
    clock, source = Clock(), Source(failure=Unavailable("away"))
    guard = Guard(source, PACE, clock=clock, chance=lambda: 0.5)
    for _ in range(3):
        await guard.get_many([A])
    clock.now_s += 5.0
    source.failure = None
    source.gate.clear()
    probe = asyncio.create_task(guard.validate())
    await until(lambda: source.running == 1)
    probe.cancel()
    await asyncio.wait([probe])
    source.gate.set()
    await guard.validate()


async def test_a_rate_makes_calls_wait_and_refuses_those_that_would_wait_too_long():
    clock, source = Clock(), Source()
    guard = Guard(source, Pace(rate_per_s=100.0, burst=1.0, deadline_s=0.05), clock=clock)
    outcomes = [(await guard.get_many([SourceRef(f"k{number}")])) for number in range(6)]
    assert [isinstance(answer, Value) for outcome in outcomes for answer in outcome.values()] == [True] * 6
    hurried = Guard(source, Pace(rate_per_s=1.0, burst=1.0, deadline_s=0.5), clock=clock)
    await hurried.get_many([A])
    calls = len(source.calls)
    answer = (await hurried.get_many([A]))[A]
    assert isinstance(answer, Throttled)
    assert answer.retry_after == 1.0
    assert len(source.calls) == calls
    clock.now_s += 1.0
    assert isinstance((await hurried.get_many([A]))[A], Value)


async def test_each_call_is_told_to_the_observer_with_its_result_and_its_seconds():
    seen: list[tuple[str, str, float]] = []
    clock, source = Clock(), Source()
    guard = Guard(source, PACE, observe=lambda *call: seen.append(call), clock=clock)
    source.gate.clear()
    asking = asyncio.create_task(guard.get_many([A]))
    await until_asked(source)
    clock.now_s += 2.0
    source.gate.set()
    await asking
    await guard.validate()
    assert [meta.key async for meta in guard.list("x")] == ["x1", "x2"]
    source.failure = RuntimeError(CANARY)
    await guard.get_many([A])
    assert seen == [("get_many", "OK", 2.0), ("validate", "OK", 0.0), ("list", "OK", 0.0), ("get_many", "Unavailable", 0.0)]
