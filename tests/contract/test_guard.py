"""The guard: many ask, one call goes out, and each gets an answer."""

import asyncio
import gc
from collections.abc import Mapping, Sequence

import pytest

from contract.answers import text_of
from contract.files import all_that_hangs_on
from contract.sources import CANARY, PACE, A, B, C, Source, until, until_asked
from keyturn.model.errors import AuthFailed, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.providers.guard import Guard, Pace

pytestmark = pytest.mark.timeout(30)


async def test_those_who_ask_for_one_reference_share_one_call():
    source = Source()
    source.gate.clear()
    guard = Guard(source, PACE)
    asking = [asyncio.create_task(guard.get_many([A])) for _ in range(50)]
    await until_asked(source)
    asking += [asyncio.create_task(guard.get_many([A])) for _ in range(50)]
    await asyncio.sleep(0)
    source.gate.set()
    assert {text_of(answers[A]) for answers in await asyncio.gather(*asking)} == {f"{CANARY}-a"}
    assert source.calls == [(A,)]


async def test_those_who_ask_in_one_turn_of_the_loop_go_out_as_one_batch():
    source = Source()
    guard = Guard(source, PACE)
    refs = [SourceRef(f"k{number}") for number in range(100)]
    answers = await asyncio.gather(*(guard.get_many([ref]) for ref in refs))
    assert [text_of(answer[ref]) for ref, answer in zip(refs, answers, strict=True)] == [f"{CANARY}-{ref.key}" for ref in refs]
    assert source.calls == [tuple(refs)]


async def test_a_batch_has_a_limit():
    source = Source()
    refs = [SourceRef(f"k{number}") for number in range(25)]
    assert set(await Guard(source, Pace(batch=10)).get_many(refs)) == set(refs)
    assert [len(call) for call in source.calls] == [10, 10, 5]


async def test_no_answer_is_kept_for_later():
    source = Source()
    guard = Guard(source, PACE)
    await guard.get_many([A])
    await guard.get_many([A, A, B])
    assert source.calls == [(A,), (A, B)]


async def test_nothing_is_asked_for_nothing():
    source = Source()
    assert await Guard(source, PACE).get_many([]) == {}
    assert source.calls == []


async def test_calls_have_a_limit_and_who_comes_meanwhile_is_gathered_into_the_next():
    source = Source()
    source.gate.clear()
    guard = Guard(source, PACE)
    asking = []
    for number in range(10):
        asking.append(asyncio.create_task(guard.get_many([SourceRef(f"k{number}")])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    source.gate.set()
    await asyncio.gather(*asking)
    assert source.most_running == 2
    assert [len(call) for call in source.calls] == [1, 1, 8]


async def test_one_who_stops_waiting_takes_nothing_from_the_others():
    source = Source()
    source.gate.clear()
    guard = Guard(source, PACE)
    first, second = (asyncio.create_task(guard.get_many([A])) for _ in range(2))
    await until_asked(source)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.gate.set()
    assert text_of((await second)[A]) == f"{CANARY}-a"


async def test_a_call_that_nobody_waits_for_any_more_ends_in_silence():
    source = Source(failure=RuntimeError(CANARY))
    source.gate.clear()
    guard = Guard(source, PACE)
    only = asyncio.create_task(guard.get_many([A]))
    await until_asked(source)
    only.cancel()
    source.gate.set()
    await asyncio.wait([only])
    await until(lambda: not guard._flights)
    gc.collect()  # "exception was never retrieved" would be raised here


async def test_a_call_without_answer_ends_at_its_deadline():
    source = Source()
    source.gate.clear()
    answer = (await Guard(source, Pace(deadline_s=0.01)).get_many([A]))[A]
    assert isinstance(answer, Unavailable)
    assert "no answer in time" in str(answer)
    with pytest.raises(Unavailable):
        await Guard(source, Pace(deadline_s=0.01)).validate()
    with pytest.raises(Unavailable):
        [meta async for meta in Guard(source, Pace(deadline_s=0.01)).list()]


async def test_answers_are_passed_on_as_they_are_and_what_was_left_out_is_unavailable():
    source = Source(answers={A: NotFound("no a"), B: Invalid("bad b")})
    answers = await Guard(source, PACE).get_many([A, B, C])
    assert (type(answers[A]), type(answers[B]), text_of(answers[C])) == (NotFound, Invalid, f"{CANARY}-c")

    class Forgetful(Source):
        async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
            return {SourceRef("other"): NotFound("who asked?")}

    answers = await Guard(Forgetful(), PACE).get_many([A])
    assert set(answers) == {A}
    assert isinstance(answers[A], Unavailable)


@pytest.mark.parametrize(
    "failure", [RuntimeError(CANARY), KeyError(CANARY), OSError(5, CANARY), UnicodeDecodeError("utf-8", b"x", 0, 1, CANARY)]
)
async def test_a_librarys_exception_becomes_unavailable_by_the_name_of_its_class_alone(failure: Exception):
    try:
        raise ValueError(CANARY) from failure
    except ValueError as error:
        chained = error
    for raised in (failure, chained):
        guard = Guard(Source(failure=raised), PACE)
        answer = (await guard.get_many([A]))[A]
        assert isinstance(answer, Unavailable)
        assert type(raised).__name__ in str(answer)
        with pytest.raises(Unavailable) as caught:
            await guard.validate()
        for error in (answer, caught.value):
            assert CANARY not in all_that_hangs_on(error)


async def test_an_error_of_ours_loses_what_hangs_on_it():
    try:
        raise AuthFailed("no log-in", request_id="r1") from RuntimeError(CANARY)
    except AuthFailed as error:
        failure = error
    answer = (await Guard(Source(failure=failure), PACE).get_many([A]))[A]
    assert isinstance(answer, AuthFailed)
    assert (str(answer), answer.request_id) == ("no log-in (request r1)", "r1")
    assert CANARY not in all_that_hangs_on(answer)


async def test_each_waiter_gets_an_error_of_its_own():
    guard = Guard(Source(failure=Unavailable("away")), PACE)
    answers = await asyncio.gather(*(guard.get_many([A, B]) for _ in range(2)))
    assert len({id(error) for answer in answers for error in answer.values()}) == 4


async def test_close_ends_what_is_under_way_and_all_that_comes_after():
    source = Source()
    source.gate.clear()
    guard = Guard(source, Pace(concurrency=1))
    under_way = asyncio.create_task(guard.get_many([A]))
    await until_asked(source)
    waiting = asyncio.create_task(guard.get_many([B]))
    await asyncio.sleep(0)
    just_begun = asyncio.create_task(guard.get_many([C, A]))
    await asyncio.sleep(0)
    await guard.close()
    for asking in (under_way, waiting, just_begun):
        assert {type(answer) for answer in (await asking).values()} == {Unavailable}
    await guard.close()
    with pytest.raises(Unavailable):
        await guard.get_many([A])
    with pytest.raises(Unavailable):
        await guard.validate()
    assert len(source.calls) == 1


async def test_a_call_that_close_meets_before_its_first_step_is_answered_too():
    guard = Guard(Source(), PACE)
    asking = asyncio.create_task(guard.get_many([A]))
    await asyncio.sleep(0)
    await guard.close()
    async with asyncio.timeout(5):
        assert isinstance((await asking)[A], Unavailable)
