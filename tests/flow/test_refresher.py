"""Reading providers: one read for all who want the same, and those alone are woken whose value changed."""

import asyncio
import itertools
from functools import partial

from builders import entry, managed, msec, order, provider, sprov, staged, target_ref
from keyturn.decide.refresh import AGAIN_S, next_slot
from keyturn.flow.space import CACHE_BYTES
from keyturn.model.errors import Busy, Unavailable
from keyturn.model.material import Value
from keyturn.model.order import FileConfig, ProviderOrder
from keyturn.providers.guard import Guard
from keyturn.testing.world import Stage


def app(n: int) -> str:
    return f"app-{n:03}"


@staged
async def test_a_hundred_objects_that_want_one_value_are_one_read(stage: Stage) -> None:
    for n in range(100):
        stage.cluster.put(managed(app(n)))
    stage.start(workers=4)
    await stage.quiet()
    assert len(stage.tape.only("create")) == 100
    assert len(stage.source().calls) == 1


@staged
async def test_a_hundred_objects_at_once_are_one_read_behind_the_guard(stage: Stage) -> None:
    stage.providers.wrap = Guard
    for n in range(100):
        stage.cluster.put(managed(app(n)))
    await asyncio.gather(*(stage.settle(msec(app(n))) for n in range(100)))
    assert len(stage.tape.only("create")) == 100
    assert sum(len(call) for call in stage.source().calls) == 1


@staged
async def test_a_pass_reads_each_distinct_value_once_and_wakes_whose_value_changed(stage: Stage) -> None:
    for n in range(30):
        stage.cluster.put(managed(app(n), order(entry("password", f"key-{n % 3}"), target=app(n))))
        stage.source().values[f"key-{n % 3}"] = "kt-canary-old"
    stage.start()
    await stage.quiet()
    stage.tape.rewind()
    stage.source().calls.clear()
    stage.source().values["key-1"] = "kt-canary-new"
    await stage.passes(3600)
    assert [sorted(ref.key for ref in call) for call in stage.source().calls] == [["key-0", "key-1", "key-2"]]
    assert len(stage.tape.only("apply")) == 10
    for n in range(30):
        expected = "kt-canary-new" if n % 3 == 1 else "kt-canary-old"
        assert stage.data(target_ref(app(n))) == {"password": expected}


@staged
async def test_ten_unchanged_passes_write_nothing(stage: Stage) -> None:
    for n in range(10):
        stage.cluster.put(managed(app(n)))
    stage.start()
    await stage.quiet()
    stage.tape.rewind()
    stage.source().calls.clear()
    await stage.passes(36_000)
    assert len(stage.source().calls) == 10
    assert stage.tape.only("create", "apply", "strip", "delete", "status", "event") == []


@staged
async def test_passes_are_in_their_slots_also_after_a_restart(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    slot = next_slot("uid-of-vault", 3600.0, stage.clock.now().timestamp())
    await stage.restart()
    stage.source().calls.clear()
    await stage.passes(slot - stage.clock.now().timestamp() - 1)
    assert stage.source().calls == []
    await stage.passes(2)
    assert len(stage.source().calls) == 1


@staged
async def test_each_interval_has_its_own_slots(stage: Stage) -> None:
    stage.cluster.put(managed("fast", order(entry("password", "a"), target="fast", interval_s=600.0)))
    stage.cluster.put(managed("slow", order(entry("password", "b"), target="slow", interval_s=3600.0)))
    stage.source(a="kt-canary-a", b="kt-canary-b")
    stage.start()
    await stage.quiet()
    stage.source().calls.clear()
    await stage.passes(7200)
    read = [ref.key for ref in itertools.chain(*stage.source().calls)]
    assert (read.count("a"), read.count("b")) == (12, 2)


@staged
async def test_who_leaves_is_read_no_more(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.cluster.remove(msec())
    await stage.quiet()
    stage.source().calls.clear()
    await stage.passes(10_000)
    assert stage.source().calls == []


@staged
async def test_an_object_of_another_interval_leaves_its_old_slots(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.cluster.edit(msec(), order=order(interval_s=0))
    await stage.quiet()
    stage.source().calls.clear()
    await stage.passes(10_000)
    assert stage.source().calls == []


@staged
async def test_a_failed_read_answers_others_for_a_moment(stage: Stage) -> None:
    stage.source().values["password"] = Unavailable("no answer")
    for n in range(50):
        stage.cluster.put(managed(app(n)))
    stage.start()
    await stage.quiet()
    assert len(stage.source().calls) <= 3


@staged
async def test_an_edited_provider_is_opened_anew_and_read_anew(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.source("second", password="kt-canary-second")
    stage.cluster.edit(sprov(), order=ProviderOrder(FileConfig("second")))
    await stage.quiet()
    assert stage.data(target_ref()) == {"password": "kt-canary-second"}
    assert stage.providers.opened[0].is_closed


@staged
async def test_a_provider_made_anew_is_read_anew(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.cluster.remove(sprov())
    await stage.quiet()
    assert stage.reason(msec()) == "ProviderNotFound"
    stage.source(password="kt-canary-2")
    stage.cluster.put(provider(uid="uid-new"))
    await stage.quiet()
    assert stage.data(target_ref()) == {"password": "kt-canary-2"}
    assert stage.reason(msec()) == "Synced"


def fill(stage: Stage, count: int, size: int) -> None:
    for n in range(count):
        stage.source().values[f"big-{n}"] = f"kt-canary-{n:04}".ljust(size, "x")
        stage.cluster.put(managed(app(n), order(entry("password", f"big-{n}"), target=app(n))))


def held_bytes(stage: Stage) -> int:
    shelves = stage.world.refresher._shelves.values()
    return sum(len(h.answer.data) for s in shelves for h in s.held.values() if isinstance(h.answer, Value))


@staged
async def test_the_cache_holds_no_more_than_its_room_and_still_knows_what_changed(stage: Stage) -> None:
    stage.world.refresher._space._left = 10_000
    fill(stage, 30, 1000)
    stage.start()
    await stage.quiet()
    assert len(stage.tape.only("create")) == 30
    assert held_bytes(stage) <= 10_000
    stage.tape.rewind()
    await stage.passes(3600)
    assert stage.tape.only("apply", "status") == [], "what left the cache is not taken for changed"
    stage.source().values["big-3"] = "kt-canary-new"
    await stage.passes(3600)
    assert stage.tape.only("apply") == [f"apply Secret/shop/{app(3)}"]
    assert held_bytes(stage) <= 10_000


@staged
async def test_the_default_room_is_64_mebibytes(stage: Stage) -> None:
    assert CACHE_BYTES == 64 << 20
    fill(stage, 70, 1_000_000)
    stage.start()
    await stage.quiet()
    assert len(stage.tape.only("create")) == 70
    assert held_bytes(stage) <= 64 << 20


@staged
async def test_closing_ends_every_round(stage: Stage) -> None:
    stage.cluster.put(managed())
    await stage.settle(msec())
    await stage.world.refresher.close()
    assert [t.get_name() for t in asyncio.all_tasks() if t.get_name().startswith("refresh")] == []
    assert all(p.is_closed for p in stage.providers.opened)


@staged
async def test_a_value_that_changes_while_its_object_is_at_work_is_written_in_the_next_turn(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start(workers=2)
    await stage.quiet()
    answer = stage.cluster.hold("apply")
    stage.source(password="kt-canary-2")
    await stage.until_time(lambda: stage.tape.only("apply"), 3600)
    stage.source(password="kt-canary-3")
    await asyncio.sleep(3600)
    answer.set()
    await stage.passes(60)
    assert stage.data(target_ref()) == {"password": "kt-canary-3"}


@staged
async def test_a_new_value_whose_write_fails_is_not_forgotten(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.source(password="kt-canary-2")
    stage.cluster.fail("apply", Busy("503"), times=3)
    await stage.passes(3600 + 60)
    assert stage.data(target_ref()) == {"password": "kt-canary-2"}
    assert stage.reason(msec()) == "Synced"


@staged
async def test_a_change_that_another_object_saw_first_is_no_secret_from_the_others(stage: Stage) -> None:
    """Who comes new reads at once, and what it reads is then on the shelf: the next pass finds it unchanged."""
    stage.cluster.put(managed(app(1), order(target=app(1), interval_s=60)))
    stage.start()
    await stage.quiet()
    await stage.passes(30)
    stage.source(password="kt-canary-2")
    stage.cluster.put(managed(app(2), order(target=app(2), interval_s=60)))
    await stage.quiet()
    assert stage.data(target_ref(app(2))) == {"password": "kt-canary-2"}
    await stage.passes(61)
    assert stage.data(target_ref(app(1))) == {"password": "kt-canary-2"}


@staged
async def test_a_change_during_a_restart_arrives_also_where_another_object_saw_it_first(stage: Stage) -> None:
    stage.cluster.put(managed(app(1), order(target=app(1), interval_s=60)))
    stage.start()
    await stage.quiet()
    stage.source(password="kt-canary-2")
    stage.cluster.put(managed(app(2), order(target=app(2), interval_s=60)))
    await stage.restart()
    await stage.passes(61)
    assert stage.data(target_ref(app(2))) == {"password": "kt-canary-2"}
    assert stage.data(target_ref(app(1))) == {"password": "kt-canary-2"}


@staged
async def test_the_return_of_a_provider_that_was_away_is_seen_long_before_the_next_slot(stage: Stage) -> None:
    stage.providers.wrap = partial(Guard, clock=asyncio.get_running_loop().time)
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    source = stage.source(password="kt-canary-2")
    source.down = Unavailable("away")
    await stage.passes(3600)
    source.down = None
    await stage.passes(2 * AGAIN_S)
    assert stage.data(target_ref()) == {"password": "kt-canary-2"}


@staged
async def test_a_provider_that_is_away_is_asked_once_in_some_seconds_for_all(stage: Stage) -> None:
    stage.providers.wrap = partial(Guard, clock=asyncio.get_running_loop().time)
    for n in range(50):
        stage.cluster.put(managed(f"app-{n}"))
    stage.start()
    await stage.quiet()
    stage.source().down = Unavailable("away")
    await stage.passes(3600)
    stage.tape.rewind()
    await stage.passes(600)
    asked = [line for line in stage.tape.only("intend") if line.startswith("intend provider.read")]
    assert 600 / AGAIN_S - 1 <= len(asked) <= 2 * 600 / AGAIN_S
