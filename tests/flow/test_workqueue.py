"""The queue: what is new before what is routine, fair, each object once, and nothing forgotten."""

import asyncio

import pytest

from builders import msec, staged
from keyturn.flow.workqueue import ROUTINE_SHARE, Lane, WorkQueue
from keyturn.model.ids import ObjectRef
from keyturn.testing.world import Stage, play

A, B, C = msec("a"), msec("b"), msec("c")


async def drain(queue: WorkQueue) -> list[ObjectRef]:
    taken = []
    while queue.depth(Lane.URGENT) or queue.depth(Lane.ROUTINE):
        ref = await queue.get()
        taken.append(ref)
        queue.done(ref)
    return taken


def of(*adds: tuple[ObjectRef, Lane]) -> list[str]:
    async def story() -> list[str]:
        queue = WorkQueue()
        for ref, lane in adds:
            queue.add(ref, lane)
        return [ref.name for ref in await drain(queue)]

    return play(story)


def test_urgent_goes_before_routine() -> None:
    assert of((A, Lane.ROUTINE), (B, Lane.URGENT)) == ["b", "a"]


def test_each_object_waits_once() -> None:
    assert of((A, Lane.URGENT), (A, Lane.URGENT), (A, Lane.ROUTINE)) == ["a"]


def test_a_waiting_object_moves_up_and_not_down() -> None:
    assert of((B, Lane.ROUTINE), (A, Lane.ROUTINE), (A, Lane.URGENT)) == ["a", "b"]
    assert of((B, Lane.URGENT), (A, Lane.URGENT), (B, Lane.ROUTINE)) == ["b", "a"]


def test_namespaces_take_turns() -> None:
    loud = [(msec(f"l{n}", "loud"), Lane.URGENT) for n in range(20)]
    quiet = [(msec(f"q{n}", "quiet"), Lane.URGENT) for n in range(3)]
    assert of(*loud, *quiet)[:6] == ["l0", "q0", "l1", "q1", "l2", "q2"]


def test_routine_does_not_starve() -> None:
    order = of(*[(msec(f"u{n}"), Lane.URGENT) for n in range(40)], (msec("r0"), Lane.ROUTINE), (msec("r1"), Lane.ROUTINE))
    assert order.index("r0") < ROUTINE_SHARE
    assert order.index("r1") < 2 * ROUTINE_SHARE


@staged
async def test_what_comes_while_an_object_is_at_work_is_kept_until_it_is_done(stage: Stage) -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await queue.get() == A
    queue.add(A, Lane.ROUTINE)
    queue.add(A, Lane.URGENT)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    assert not waiting.done(), "an object is with one worker at most"
    queue.done(A)
    assert await waiting == A
    queue.done(A)
    assert len(queue) == 0


@staged
async def test_the_timetable_brings_an_object_at_its_time(stage: Stage) -> None:
    queue, began = WorkQueue(), asyncio.get_running_loop().time()
    queue.add_after(B, 20)
    queue.add_after(A, 10)
    assert [await queue.get(), await queue.get()] == [A, B]
    assert asyncio.get_running_loop().time() - began == pytest.approx(20, abs=0.1)


@staged
async def test_the_newest_entry_of_the_timetable_holds(stage: Stage) -> None:
    queue, began = WorkQueue(), asyncio.get_running_loop().time()
    queue.add_after(A, 10)
    queue.add_after(A, 50)
    assert await queue.get() == A
    assert asyncio.get_running_loop().time() - began == pytest.approx(50, abs=0.1)


@staged
async def test_an_earlier_entry_wakes_a_worker_that_sleeps_for_a_later_one(stage: Stage) -> None:
    queue, began = WorkQueue(), asyncio.get_running_loop().time()
    queue.add_after(B, 1000)
    taking = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    queue.add_after(A, 5)
    assert await taking == A
    assert asyncio.get_running_loop().time() - began == pytest.approx(6, abs=0.1)


@staged
async def test_who_comes_sooner_does_not_come_again_later(stage: Stage) -> None:
    queue = WorkQueue()
    queue.add_after(A, 10)
    queue.add(A)
    queue.done(await queue.get())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await queue.get()


@staged
async def test_what_is_forgotten_does_not_come(stage: Stage) -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add_after(B, 5)
    queue.add(C)
    queue.forget(A)
    queue.forget(B)
    assert await queue.get() == C
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await queue.get()


@staged
async def test_a_paused_queue_hands_out_nothing(stage: Stage) -> None:
    queue = WorkQueue()
    queue.pause()
    queue.add(A)
    taking = asyncio.create_task(queue.get())
    await asyncio.sleep(60)
    assert not taking.done()
    queue.resume()
    assert await taking == A


@staged
async def test_many_workers_share_and_none_sleeps_beside_work(stage: Stage) -> None:
    queue, taken = WorkQueue(), []

    async def hand() -> None:
        while True:
            ref = await queue.get()
            await asyncio.sleep(1)
            taken.append(ref)
            queue.done(ref)

    hands = [asyncio.create_task(hand()) for _ in range(4)]
    await asyncio.sleep(1)
    for n in range(100):
        queue.add(msec(f"a{n}", f"ns{n % 7}"), Lane(n % 2))
    await asyncio.sleep(26)
    assert len(taken) == len(set(taken)) == 100
    for task in hands:
        task.cancel()
    await asyncio.wait(hands)


@staged
async def test_a_cancelled_wait_loses_nothing(stage: Stage) -> None:
    queue = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    waiting.cancel()
    await asyncio.wait({waiting})
    if not waiting.cancelled():
        queue.done(waiting.result())
        queue.add(A)
    assert await queue.get() == A


def test_a_closed_queue_takes_nothing_in_and_forgets_what_waited() -> None:
    async def story() -> None:
        queue = WorkQueue()
        queue.add(msec("waiting"))
        queue.add_after(msec("planned"), 1)
        queue.add(msec("taken"), Lane.ROUTINE)
        queue.close()
        queue.add(msec("late"))
        queue.add_after(msec("later"), 1)
        await asyncio.sleep(60)
        assert len(queue) == 0
        queue.open()
        queue.add(msec("new"))
        assert await queue.get() == msec("new")
        assert len(queue) == 1

    play(story)


def test_what_is_at_work_when_the_queue_closes_is_known_until_it_is_done() -> None:
    async def story() -> None:
        queue = WorkQueue()
        queue.add(msec())
        ref = await queue.get()
        queue.add(msec())
        queue.close()
        assert queue.is_at_work
        queue.open()
        queue.done(ref)
        assert not queue.is_at_work
        assert len(queue) == 0

    play(story)
