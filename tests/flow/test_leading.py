"""Replicas over one lease, in virtual time: who leads, since when, and that never two do."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from keyturn.flow.leading import Leading
from keyturn.model.errors import NotLeading
from keyturn.model.lease import MARGIN_S, Terms
from keyturn.testing.leases import FakeLeases
from keyturn.testing.world import FakeClock, play

TERMS = Terms()


@dataclass
class Replicas:
    """Some replicas of one operator. ``changes`` says who began or ended a term, and when."""

    leases: FakeLeases = field(default_factory=FakeLeases)
    clock: FakeClock = field(default_factory=FakeClock)
    changes: list[tuple[str, bool, float]] = field(default_factory=list)
    _running: dict[str, tuple[Leading, asyncio.Task[None]]] = field(default_factory=dict)

    def start(self, name: str, leases: FakeLeases | None = None, is_free: Callable[[], bool] = lambda: True) -> Leading:
        now = asyncio.get_running_loop().time
        leading = Leading(leases or self.leases, name, TERMS, self.clock, now, is_free)
        leading.on_change = lambda begins: self.changes.append((name, begins, now()))
        self._running[name] = leading, asyncio.create_task(leading.run(), name=name)
        return leading

    def kill(self, name: str) -> Leading:
        """It does nothing any more, and says nothing of it."""
        leading, task = self._running.pop(name)
        task.cancel()
        return leading

    def wake(self, leading: Leading) -> None:
        """One that was killed was only asleep, and remembers all."""
        self._running[leading.me] = leading, asyncio.create_task(leading.run(), name=leading.me)

    async def stop(self, name: str) -> None:
        leading = self.kill(name)
        await leading.release()

    async def end(self) -> None:
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def replicated(test: Callable[[Replicas], object]) -> Callable[[], None]:
    def run() -> None:
        async def story() -> None:
            replicas = Replicas()
            try:
                await test(replicas)  # type: ignore[misc]  # each test is a coroutine function
            finally:
                await replicas.end()

        play(story)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@replicated
async def test_the_first_leads_and_the_second_waits(replicas: Replicas) -> None:
    one, two = replicas.start("a"), replicas.start("b")
    await asyncio.sleep(300)
    assert (one.is_leading, two.is_leading) == (True, False)
    assert (one.epoch, two.epoch) == (1, 0)
    one.check()
    with pytest.raises(NotLeading):
        two.check()
    assert replicas.changes == [("a", True, 0)]


@replicated
async def test_a_killed_leader_is_followed_after_the_lease_and_no_sooner(replicas: Replicas) -> None:
    replicas.start("a")
    await asyncio.sleep(1)
    two = replicas.start("b")
    await asyncio.sleep(60)
    replicas.kill("a")
    killed = asyncio.get_running_loop().time()
    await asyncio.sleep(30)
    [_, (name, begins, at)] = replicas.changes
    assert (name, begins) == ("b", True)
    assert TERMS.duration_s - TERMS.retry_s <= at - killed <= TERMS.duration_s + TERMS.retry_s
    assert two.epoch == 2


@replicated
async def test_a_leader_that_stops_cleanly_is_followed_at_the_next_look(replicas: Replicas) -> None:
    replicas.start("a")
    await asyncio.sleep(1)
    replicas.start("b")
    await asyncio.sleep(60)
    stopped = asyncio.get_running_loop().time()
    await replicas.stop("a")
    await asyncio.sleep(10)
    assert replicas.changes[-1][:2] == ("b", True)
    assert replicas.changes[-1][2] - stopped <= TERMS.retry_s


@replicated
async def test_a_restarted_container_has_its_own_lease_back_at_once_in_a_new_term(replicas: Replicas) -> None:
    replicas.start("a")
    await asyncio.sleep(60)
    replicas.kill("a")
    again = replicas.start("a")
    await asyncio.sleep(0.1)
    assert again.epoch == 2


@replicated
async def test_of_two_processes_of_one_name_one_leads(replicas: Replicas) -> None:
    first = replicas.start("a")
    await asyncio.sleep(60)
    second = Leading(replicas.leases, "a", TERMS, replicas.clock, asyncio.get_running_loop().time)
    other = asyncio.create_task(second.run())
    overlap = 0.0
    for _ in range(1000):
        await asyncio.sleep(0.1)
        overlap += 0.1 * (first.is_leading and second.is_leading)
    assert (first.is_leading, second.is_leading) == (False, True)
    assert overlap <= TERMS.retry_s + 0.1
    other.cancel()


@replicated
async def test_a_lapsed_leader_may_not_act_even_before_it_notices(replicas: Replicas) -> None:
    """As after a SIGSTOP: its own loop did not run, but the clock did."""
    late = 0.0
    one = replicas.start("a")
    one.monotonic = lambda: asyncio.get_running_loop().time() + late
    await asyncio.sleep(60)
    one.check()
    late = TERMS.duration_s - MARGIN_S + 0.1
    with pytest.raises(NotLeading):
        one.check()
    await asyncio.sleep(5)
    # Nobody else led meanwhile, so that the term goes on.
    assert one.epoch == 1
    assert [begins for _, begins, _ in replicas.changes] == [True]


@replicated
async def test_a_leader_that_slept_while_another_led_and_went_begins_a_new_term(replicas: Replicas) -> None:
    """What it read before is forgotten, though its lease seems to go on."""
    replicas.start("a")
    await asyncio.sleep(60)
    asleep = replicas.kill("a")
    replicas.start("b")
    await asyncio.sleep(30)
    await replicas.stop("b")
    replicas.wake(asleep)
    await asyncio.sleep(1)
    assert asleep.epoch == 3
    assert [(name, begins) for name, begins, _ in replicas.changes] == [("a", True), ("b", True), ("a", False), ("a", True)]


@replicated
async def test_a_leader_that_slept_waits_where_another_leads(replicas: Replicas) -> None:
    replicas.start("a")
    await asyncio.sleep(60)
    asleep = replicas.kill("a")
    two = replicas.start("b")
    await asyncio.sleep(30)
    assert not asleep.is_leading
    replicas.wake(asleep)
    await asyncio.sleep(60)
    assert (asleep.is_leading, two.is_leading) == (False, True)
    assert replicas.changes[-1][:2] == ("a", False)


@replicated
async def test_while_the_api_server_is_away_nobody_leads_and_afterwards_somebody_does(replicas: Replicas) -> None:
    one, two = replicas.start("a"), replicas.start("b")
    await asyncio.sleep(60)
    replicas.leases.is_away = True
    gone = asyncio.get_running_loop().time()
    await asyncio.sleep(TERMS.duration_s - MARGIN_S)
    assert not one.is_leading
    assert not two.is_leading
    assert one.problem
    [_, (_, begins, at)] = replicas.changes
    assert not begins
    assert at - gone <= TERMS.renew_deadline_s + 0.2
    await asyncio.sleep(300)
    replicas.leases.is_away = False
    await asyncio.sleep(TERMS.retry_s * 2)
    assert [one.is_leading, two.is_leading].count(True) == 1
    assert one.problem == two.problem == ""


@replicated
async def test_a_leader_that_alone_is_cut_off_gives_up_before_another_begins(replicas: Replicas) -> None:
    @dataclass
    class Cut(FakeLeases):
        """The way of one replica to the shared record."""

    way = Cut()
    way.read = lambda: _through(way, replicas.leases.read)  # type: ignore[method-assign]  # a way, not a record of its own
    way.write = lambda lease: _through(way, lambda: replicas.leases.write(lease))  # type: ignore[method-assign]
    one = replicas.start("a", way)
    await asyncio.sleep(1)
    two = replicas.start("b")
    await asyncio.sleep(60)
    way.is_away = True
    for _ in range(600):
        assert not (one.is_leading and two.is_leading)
        await asyncio.sleep(0.1)
    ended = next(at for name, begins, at in replicas.changes if (name, begins) == ("a", False))
    began = next(at for name, begins, at in replicas.changes if (name, begins) == ("b", True))
    assert ended < began
    way.is_away = False
    await asyncio.sleep(60)
    assert (one.is_leading, two.is_leading) == (False, True)


async def _through(way: FakeLeases, call: Callable[[], object]) -> object:
    await FakeLeases._answer(way)
    return await call()  # type: ignore[misc]  # a call of the shared record


@replicated
async def test_a_lost_answer_costs_no_term(replicas: Replicas) -> None:
    replicas.leases.loses_answers = True
    one = replicas.start("a")
    await asyncio.sleep(1)
    assert not one.is_leading
    replicas.leases.loses_answers = False
    await asyncio.sleep(TERMS.retry_s)
    assert one.epoch == 1


@replicated
async def test_a_stop_right_after_a_lost_answer_releases_all_the_same(replicas: Replicas) -> None:
    replicas.start("a")
    await asyncio.sleep(60)
    replicas.leases.loses_answers = True
    await asyncio.sleep(TERMS.retry_s + 0.1)
    replicas.leases.loses_answers = False
    await replicas.stop("a")
    assert replicas.leases.record is not None
    assert replicas.leases.record.holder == ""


@replicated
async def test_a_stop_while_the_api_server_is_away_ends_at_once(replicas: Replicas) -> None:
    one = replicas.start("a")
    await asyncio.sleep(60)
    replicas.leases.is_away = True
    began = asyncio.get_running_loop().time()
    await replicas.stop("a")
    assert asyncio.get_running_loop().time() - began < TERMS.renew_deadline_s
    assert not one.is_leading


@replicated
async def test_an_edit_of_the_record_ends_no_term_and_its_deletion_begins_a_new_one(replicas: Replicas) -> None:
    one = replicas.start("a")
    await asyncio.sleep(60)
    replicas.leases.touch()
    await asyncio.sleep(60)
    assert one.epoch == 1
    assert [begins for _, begins, _ in replicas.changes] == [True]
    replicas.leases.record = None
    await asyncio.sleep(60)
    assert one.epoch == 2


@replicated
async def test_a_new_term_begins_only_when_nothing_of_the_last_is_in_hand(replicas: Replicas) -> None:
    is_free = True
    one = replicas.start("a", is_free=lambda: is_free)
    await asyncio.sleep(60)
    is_free, replicas.leases.is_away = False, True
    await asyncio.sleep(60)
    replicas.leases.is_away = False
    await asyncio.sleep(60)
    assert not one.is_leading
    assert replicas.leases.record is not None
    assert replicas.leases.record.holder == "a"
    is_free = True
    await asyncio.sleep(1)
    assert one.is_leading


@replicated
async def test_a_steady_leader_costs_one_request_for_each_period(replicas: Replicas) -> None:
    replicas.start("a")
    await asyncio.sleep(600)
    assert len(replicas.leases.written) == pytest.approx(600 / TERMS.retry_s, abs=2)
