"""The queue under any sequence of events: nothing is lost, nothing is with two workers, no namespace waits for another's crowd."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from builders import msec
from keyturn.flow.workqueue import ROUTINE_SHARE, Lane, WorkQueue
from keyturn.model.ids import ObjectRef

REFS = st.builds(msec, st.sampled_from("abcdef"), st.sampled_from(["one", "two", "three"]))
EVENTS = st.one_of(
    st.tuples(st.just("add"), REFS, st.sampled_from(Lane)),
    st.tuples(st.just("later"), REFS, st.sampled_from(Lane)),
    st.tuples(st.just("forget"), REFS, st.just(Lane.URGENT)),
    st.tuples(st.just("take"), REFS, st.just(Lane.URGENT)),
    st.tuples(st.just("done"), REFS, st.just(Lane.URGENT)),
    st.tuples(st.just("tick"), REFS, st.just(Lane.URGENT)),
)


class Desk:
    """A queue with a hand-made clock, and what should be true of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue = WorkQueue(lambda: self.now)
        self.at_work: set[ObjectRef] = set()
        self.owed: set[ObjectRef] = set()
        self.planned: dict[ObjectRef, float] = {}

    def take(self) -> ObjectRef | None:
        self.arrive()
        ref = self.queue._next()
        if ref is not None:
            assert ref not in self.at_work, "with two workers"
            assert ref in self.owed, "handed out without a cause"
            self.at_work.add(ref)
            self.owed.discard(ref)
        return ref

    def arrive(self) -> None:
        for ref, at in list(self.planned.items()):
            if at <= self.now:
                del self.planned[ref]
                self.owed.add(ref)

    def do(self, verb: str, ref: ObjectRef, lane: Lane) -> None:
        match verb:
            case "add":
                self.queue.add(ref, lane)
                self.owed.add(ref)
                self.planned.pop(ref, None)
            case "later":
                self.queue.add_after(ref, 5, lane)
                self.planned[ref] = self.now + 5
            case "forget":
                self.queue.forget(ref)
                self.owed.discard(ref)
                self.planned.pop(ref, None)
            case "take":
                self.take()
            case "done" if ref in self.at_work:
                self.at_work.discard(ref)
                self.queue.done(ref)
            case "tick":
                self.now += 2


@given(st.lists(EVENTS, max_size=80))
def test_nothing_is_lost_and_nothing_is_with_two_workers(events: list[tuple[str, ObjectRef, Lane]]) -> None:
    desk = Desk()
    for verb, ref, lane in events:
        desk.do(verb, ref, lane)
    desk.now += 10
    desk.arrive()
    for _ in range(1000):
        for ref in list(desk.at_work):
            desk.do("done", ref, Lane.URGENT)
        if desk.take() is None:
            break
    assert desk.owed == set(), "owed and never handed out"
    assert len(desk.queue) == 0


@given(st.lists(st.tuples(REFS, st.sampled_from(Lane)), max_size=40))
def test_a_waiting_object_is_handed_out_once(adds: list[tuple[ObjectRef, Lane]]) -> None:
    queue = WorkQueue(lambda: 0.0)
    for ref, lane in adds:
        queue.add(ref, lane)
    taken = []
    while (ref_or_none := queue._next()) is not None:
        taken.append(ref_or_none)
    assert Counter(taken) == Counter({ref for ref, _ in adds})


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6))
def test_a_crowd_in_one_namespace_delays_another_by_one_turn_a_namespace(crowds: list[int]) -> None:
    queue = WorkQueue(lambda: 0.0)
    for namespace, count in enumerate(crowds):
        for n in range(count):
            queue.add(msec(f"a{n}", f"ns-{namespace}"))
    first: dict[str, int] = {}
    for turn in range(sum(crowds)):
        ref = queue._next()
        assert ref is not None
        first.setdefault(ref.namespace, turn)
    assert max(first.values()) < len(crowds)


@given(st.integers(1, 100), st.integers(1, 20))
def test_routine_gets_its_share_beside_any_rush(rush: int, routine: int) -> None:
    queue = WorkQueue(lambda: 0.0)
    for n in range(rush):
        queue.add(msec(f"u{n}"), Lane.URGENT)
    for n in range(routine):
        queue.add(msec(f"r{n}"), Lane.ROUTINE)
    taken = [ref.name for _ in range(rush + routine) if (ref := queue._next()) is not None]
    while_both = taken[: taken.index(f"u{rush - 1}")]
    assert sum(name.startswith("r") for name in while_both) >= min(routine, len(while_both) // ROUTINE_SHARE)
    assert sum(name.startswith("r") for name in while_both) <= len(while_both) // ROUTINE_SHARE + 1
