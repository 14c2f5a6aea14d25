"""Signs of life of queue and workers, and the times that a sync tells."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
import time_machine

from builders import condition, managed, msec, order, staged, synced
from keyturn.flow.workqueue import Lane, WorkQueue
from keyturn.handlers.watchdog import Watchdog
from keyturn.kube.unsynced import Unsynced
from keyturn.model.errors import Busy, ProviderError, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.objects import Managed
from keyturn.model.order import Target
from keyturn.model.status import Status, timestamp
from keyturn.ports import Provider
from keyturn.providers.guard import Guard, Pace
from keyturn.testing.world import Stage, play

PHASES = ["admit", "observe", "fetch", "gather", "compose", "diff", "perform", "status"]
LIMIT_S = 120.0


def now() -> float:
    return asyncio.get_running_loop().time()


def silence_s(queue: WorkQueue) -> float:
    since = queue.untaken_since
    return 0.0 if since is None else max(0.0, now() - since)


@staged
async def test_a_queue_in_which_something_waits_and_nobody_takes_it_is_silent(stage: Stage) -> None:
    queue = WorkQueue()
    await asyncio.sleep(10)
    assert silence_s(queue) == 0
    queue.add(msec("a"))
    await asyncio.sleep(10)
    queue.add(msec("b"))
    assert silence_s(queue) == 10
    assert await queue.get() == msec("a")
    assert silence_s(queue) == 0, "somebody takes: it moves"
    await asyncio.sleep(5)
    assert silence_s(queue) == 5
    queue.forget(msec("b"))
    assert silence_s(queue) == 0


@staged
async def test_what_is_due_and_not_taken_counts_and_what_comes_later_does_not(stage: Stage) -> None:
    queue = WorkQueue()
    queue.add_after(msec("a"), 30)
    await asyncio.sleep(29)
    assert silence_s(queue) == 0
    await asyncio.sleep(11)
    assert silence_s(queue) == 10


@staged
async def test_a_pause_is_no_silence_and_no_wait(stage: Stage) -> None:
    told: list[tuple[str, float]] = []
    queue = WorkQueue(waited=lambda lane, seconds: told.append((lane, seconds)))
    queue.pause()
    queue.add(msec("a"))
    queue.add_after(msec("b"), 1)
    await asyncio.sleep(300)
    assert silence_s(queue) == 0
    queue.resume()
    await asyncio.sleep(7)
    assert silence_s(queue) == 7
    await queue.get()
    await queue.get()
    assert told == [("urgent", 7.0), ("routine", 0.0)]


@staged
async def test_a_queue_that_is_closed_is_not_silent(stage: Stage) -> None:
    queue = WorkQueue()
    queue.add(msec("a"))
    queue.add_after(msec("b"), 1)
    queue.close()
    await asyncio.sleep(300)
    assert silence_s(queue) == 0


@staged
async def test_the_object_that_a_worker_holds_for_longest_is_known(stage: Stage) -> None:
    queue = WorkQueue()
    for name in "abc":
        queue.add(msec(name))
        await queue.get()
        await asyncio.sleep(10)
    assert queue.longest_at_work == (msec("a"), 0.0)
    queue.done(msec("a"))
    assert queue.longest_at_work == (msec("b"), 10.0)
    queue.done(msec("b"))
    queue.done(msec("c"))
    assert queue.longest_at_work is None


@staged
async def test_lanes_are_counted_apart_also_where_one_moves_up(stage: Stage) -> None:
    queue = WorkQueue()
    for name in "abc":
        queue.add(msec(name), Lane.ROUTINE)
    queue.add(msec("b"), Lane.URGENT)
    assert [queue.depth(lane) for lane in Lane] == [1, 2]


@dataclass(slots=True)
class Hanging:
    """A provider that never answers a read."""

    behind: Provider

    def __getattr__(self, name: str) -> object:
        return getattr(self.behind, name)

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        await asyncio.Event().wait()
        raise Unavailable(f"never said of {refs}")


@staged
async def test_a_provider_that_hangs_stalls_neither_queue_nor_workers(stage: Stage) -> None:
    stage.providers.wrap = lambda made: Guard(Hanging(made), Pace(), clock=now)  # type: ignore[arg-type]  # the rest is passed on
    for n in range(100):
        stage.cluster.put(managed(f"app-{n}"))
    worst = {"queue": 0.0, "worker": 0.0}
    stage.start(workers=4)
    for _ in range(600):
        await asyncio.sleep(1)
        held = stage.world.queue.longest_at_work
        worst["queue"] = max(worst["queue"], silence_s(stage.world.queue))
        worst["worker"] = max(worst["worker"], now() - held[1] if held else 0.0)
    assert stage.reason(msec("app-3")) == "ProviderUnavailable"
    assert max(worst.values()) < LIMIT_S / 2, worst


@pytest.mark.parametrize("is_paused", [True, False])
def test_a_stall_is_named_in_plain_words_and_a_pause_is_none(caplog: pytest.LogCaptureFixture, *, is_paused: bool) -> None:
    queue = WorkQueue(lambda: 0.0)
    if is_paused:
        queue.pause()
    queue.add(msec("a"))
    watchdog = Watchdog(queue, [], stall_limit_s=LIMIT_S, dead_limit_s=60.0)
    told = [text.rpartition(" for ")[0] for text in watchdog.problems()]
    assert told == ([] if is_paused else ["objects wait in the queue, and no worker takes one"])
    assert watchdog.problems() == watchdog.problems()
    assert len(caplog.records) == len(told), "said once"


def test_a_worker_that_is_stuck_is_named_and_its_object_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> WorkQueue:
        queue = WorkQueue(lambda: 0.0)
        queue.add(msec("stuck"))
        await queue.get()
        return queue

    queue = play(story)
    watchdog = Watchdog(queue, [], stall_limit_s=LIMIT_S, dead_limit_s=60.0)
    [told] = watchdog.problems()
    assert told.startswith("a worker is busy with one object for ")
    assert "stuck" not in told
    assert [getattr(record, "object", "") for record in caplog.records] == [str(msec("stuck"))]
    queue.done(msec("stuck"))
    assert watchdog.problems() == []


@staged
async def test_a_sync_tells_each_of_its_phases_in_order(stage: Stage) -> None:
    stage.cluster.put(managed())
    await stage.settle(msec())
    assert stage.counts.phases == PHASES


@staged
async def test_a_phase_that_fails_is_told_as_well_as_the_write_of_the_status(stage: Stage) -> None:
    stage.source().down = Unavailable("down")
    stage.cluster.put(managed())
    await stage.settle(msec())
    assert stage.counts.phases == ["admit", "observe", "fetch", "status"]


@staged
async def test_a_status_that_is_not_taken_is_told(stage: Stage) -> None:
    stage.cluster.fail("status", Busy("503"))
    stage.cluster.put(managed())
    await stage.settle(msec())
    assert stage.counts.phases == PHASES


@staged
async def test_each_object_is_told_with_its_lane(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    assert set(stage.counts.lanes) == {"urgent"}
    await stage.passes(3600)
    assert set(stage.counts.lanes) == {"urgent", "routine"}


HOUR = "2026-03-01T00:00:00Z"
FAILED = Status(1, (condition("Ready", "False", "Stale", since=HOUR),))
GOOD = synced(managed()).status


@pytest.mark.parametrize(
    ("found", "is_unsynced"),
    [
        (managed(), True),
        (managed(status=FAILED), True),
        (managed(status=GOOD), False),
        (managed(status=GOOD, generation=2), True),
        (managed(status=FAILED, deleting=True), False),
        (managed(what=replace(order(), suspend=True), status=FAILED), False),
        (managed(what=replace(order(), target=Target("other"))), True),
    ],
)
def test_unsynced_is_what_is_not_as_ordered(found: Managed, *, is_unsynced: bool) -> None:
    unsynced = Unsynced()
    unsynced.put(found)
    assert bool(unsynced.by_age()) is is_unsynced
    unsynced.drop(msec())
    assert unsynced.by_age() == []


def test_the_oldest_comes_first_and_age_counts_from_when_ready_turned() -> None:
    unsynced, turned = Unsynced(), datetime.fromisoformat(HOUR)
    with time_machine.travel(turned + timedelta(seconds=100), tick=False):
        unsynced.put(managed("new"))
        unsynced.put(managed("failed", status=FAILED))
        assert unsynced.by_age() == [(msec("failed"), 100.0), (msec("new"), 0.0)]
    with time_machine.travel(turned + timedelta(seconds=160), tick=False):
        lately = condition("Ready", "False", "Stale", since=timestamp(turned + timedelta(seconds=150)))
        unsynced.put(managed("new", status=Status(1, (lately,))))
        assert dict(unsynced.by_age())[msec("new")] == 60.0, "it is new for longer than it has failed"
        unsynced.put(managed("new", uid="successor"))
        assert dict(unsynced.by_age())[msec("new")] == 0.0
        unsynced.put(managed("failed", status=GOOD))
        assert [ref for ref, _ in unsynced.by_age()] == [msec("new")]
