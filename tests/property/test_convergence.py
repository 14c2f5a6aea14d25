"""diff(apply(x)) is nothing: whatever stood and whoever had a hand in it, one step brings what is ordered, and no second follows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from builders import CHANGED, desired, managed, order, secret, synced
from keyturn.decide.diff import Sight, diff, is_as_written
from keyturn.model.objects import Managed
from keyturn.model.order import CreationPolicy, Order
from keyturn.model.plan import Action, Desired, Owner, Plan
from keyturn.model.status import Status
from keyturn.testing.fields import FakeSecret, Path, fields_of

NAMES = st.sampled_from(["a", "b", "c", "d"])
SETS = st.sets(NAMES, max_size=4)
MARKS = ("keyturn.dev/managed", "app.kubernetes.io/managed-by", "keyturn.dev/owner", "keyturn.dev/revision")


@dataclass(frozen=True)
class Wish:
    """A spec and the values at the provider at one time."""

    keys: frozenset[str]
    labels: frozenset[str]
    annotations: frozenset[str]
    value: str
    policy: CreationPolicy

    def managed(self, generation: int, status: Status) -> Managed:
        labels, annotations = dict.fromkeys(self.labels, self.value), dict.fromkeys(self.annotations, self.value)
        what = order(*sorted(self.keys), creation=self.policy, labels=labels, annotations=annotations)
        return managed("app-db", what, status, generation=generation)

    def desired(self, of: Managed) -> Desired:
        return desired(of, {key: f"kt-canary-{self.value}-{key}" for key in self.keys})


WISHES = st.builds(
    Wish,
    SETS.filter(bool).map(frozenset),
    SETS.map(frozenset),
    SETS.map(frozenset),
    st.sampled_from(["1", "2"]),
    st.sampled_from(list(CreationPolicy)),
)

Hand = Callable[[FakeSecret], object]
PATHS: st.SearchStrategy[Path] = st.one_of(
    st.tuples(st.just("data"), st.sampled_from(["a", "b", "c", "d", "theirs"])),
    st.tuples(st.sampled_from(["labels", "annotations"]), st.sampled_from(["a", "b", "c", "d", "theirs", *MARKS])),
)


def _edit(path: Path, text: str) -> Hand:
    return lambda held: held.update("kubectl", {path: secret(f"kt-canary-{text}") if path[0] == "data" else text})


def _take(path: Path) -> Hand:
    return lambda held: held.update("kubectl", {path: None})


def _share(path: Path) -> Hand:
    return lambda held: held.co_own("argocd", [path])


def _disown(held: FakeSecret) -> object:
    return held.update("kubectl", {("owners", "uid-of-app-db"): None})


HANDS = st.lists(
    st.one_of(
        st.builds(_edit, PATHS, st.sampled_from(["x", "y"])),
        st.builds(_take, PATHS),
        st.builds(_share, PATHS),
        st.just(FakeSecret.strip_managed_fields),
        st.just(_disown),
    ),
    max_size=5,
)
STORIES = st.lists(st.tuples(WISHES, HANDS), min_size=1, max_size=4)


def step(of: Managed, wanted: Desired, held: FakeSecret | None) -> Plan:
    assert isinstance(of.order, Order)
    return diff(of, of.order, wanted, Sight(held.live() if held else None))


def perform(plan: Plan, of: Managed, wanted: Desired, held: FakeSecret | None) -> FakeSecret:
    """What ``flow/effects.py`` sends, against the server's rules."""
    if plan.action is Action.CREATE:
        return FakeSecret.posted(wanted.ref, "uid-secret", wanted.manager, fields_of(wanted, CHANGED))
    assert held is not None
    if plan.action is Action.CHANGE:
        held.apply(wanted.manager, fields_of(wanted, CHANGED))
        left = plan.once_ours.standing_in(held.live())
        gone: dict[Path, object] = {("data", key): None for key in left.data}
        gone |= {("labels", key): None for key in left.labels}
        gone |= {("annotations", key): None for key in left.annotations}
        if wanted.owner is None:
            gone["owners", of.uid] = None
        held.update("keyturn", gone)
    return held


@given(STORIES)
def test_one_step_brings_what_is_ordered_and_no_second_follows(story: list[tuple[Wish, list[Hand]]]) -> None:
    held: FakeSecret | None = None
    status, once, theirs = Status(), set[str](), set[str]()
    for generation, (wish, hands) in enumerate(story, 1):
        of = wish.managed(generation, status)
        wanted = wish.desired(of)
        if held is not None and held.type != wanted.type:
            continue
        held = perform(step(of, wanted, held), of, wanted, held)
        assert {key: value for key, value in held.data.items() if key in wish.keys} == wanted.data
        assert not (held.data.keys() - wish.keys - theirs) & once, "a key that we wrote and no longer want is gone"
        assert wanted.labels.items() <= held.labels.items()
        assert wanted.annotations.items() <= held.annotations.items()
        assert (Owner("ManagedSecret", "app-db", of.uid, api_version="keyturn.dev/v1alpha1") in held.owners) is (wanted.owner is not None)
        done = replace(of, status=replace(synced(of, held).status, revision=wanted.revision))
        assert step(done, wanted, held).action is Action.NOTHING
        assert is_as_written(done, of.order, held.live())  # type: ignore[arg-type]  # an Order, as built
        status, once = done.status, once | wish.keys
        for hand in hands:
            hand(held)
        theirs = {"theirs"} | {name for name in held.data if name not in wish.keys}


@given(WISHES, HANDS)
def test_what_is_as_written_needs_nothing_and_what_is_not_gets_a_step(wish: Wish, hands: list[Hand]) -> None:
    of = wish.managed(1, Status())
    wanted = wish.desired(of)
    held = perform(step(of, wanted, None), of, wanted, None)
    done = replace(of, status=replace(synced(of, held).status, revision=wanted.revision))
    for hand in hands:
        hand(held)
    stands = is_as_written(done, of.order, held.live())  # type: ignore[arg-type]  # an Order, as built
    assert stands is (step(done, wanted, held).action is Action.NOTHING), "told with data and without, it is the same"


@given(WISHES, HANDS)
def test_keys_of_others_are_never_touched(wish: Wish, hands: list[Hand]) -> None:
    of = wish.managed(1, Status())
    wanted = wish.desired(of)
    held = perform(step(of, wanted, None), of, wanted, None)
    done = replace(of, status=replace(synced(of, held).status, revision=wanted.revision))
    for hand in hands:
        hand(held)
    before = {key: value for key, value in held.data.items() if key not in wish.keys}
    perform(step(done, wanted, held), done, wanted, held)
    assert {key: value for key, value in held.data.items() if key not in wish.keys} == before


@given(WISHES)
def test_a_second_apply_moves_nothing(wish: Wish) -> None:
    of = wish.managed(1, Status())
    wanted = wish.desired(of)
    held = perform(step(of, wanted, None), of, wanted, None)
    held.apply(wanted.manager, fields_of(wanted, CHANGED))
    assert not held.apply(wanted.manager, fields_of(wanted, CHANGED))
