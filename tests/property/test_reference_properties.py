"""No change of what a provider refers to is lost, in whatever order reads, watch events and answers come."""

from collections.abc import Callable
from typing import cast

from hypothesis import example, given
from hypothesis import strategies as st

from keyturn.kube.client import Client
from keyturn.kube.metadata import Metadata
from keyturn.kube.references import ABSENT, Followed, Holder, ReferenceWatches, State
from keyturn.model.ids import Carrier, Kind, ObjectRef

HOLDER = Holder(Carrier.SECRET, "shop", "login")
FOLLOWERS = [ObjectRef(Kind.SECRET_PROVIDER, "shop", name) for name in ("one", "two")]


class World:
    """One object at a server, a watch of it that lags behind, and two providers that read it and may be outdated."""

    def __init__(self) -> None:
        self.version, self.state = 1, State("uid-1", "1")
        self.events: list[tuple[State, str]] = []
        self.answers: list[tuple[ObjectRef, State]] = []
        self.read: dict[ObjectRef, State | None] = dict.fromkeys(FOLLOWERS)
        self.is_listed = False
        self.told: set[ObjectRef] = set()
        # Nothing is asked over it: events and answers come from here.
        self.references = ReferenceWatches(cast("Client", None), self.told.add)
        self.followed = Followed(HOLDER, set(FOLLOWERS))
        self.references._followed[HOLDER] = self.followed
        self.watch = self.references._watch(self.followed)

    def change(self) -> None:
        """It is made, or changed."""
        self.version += 1
        uid = self.state.uid or f"uid-{self.version}"
        self.state = State(uid, str(self.version))
        self.events.append((self.state, uid))

    def remove(self) -> None:
        if self.state != ABSENT:
            self.version += 1
            self.events.append((ABSENT, self.state.uid))
            self.state = ABSENT

    def ask(self, who: ObjectRef) -> None:
        """A provider that is opened, for the first time or anew, asks for it."""
        self.told.discard(who)
        self.answers.append((who, self.state))

    def answer(self) -> None:
        if self.answers:
            who, state = self.answers.pop(0)
            self.references._note(HOLDER, state)
            self.read[who] = state

    def listen(self) -> None:
        """The watch's list, or its next event."""
        if not self.is_listed:
            self.is_listed = True
            self.events.clear()
            if self.state != ABSENT:
                self.watch._take(Metadata("login", "shop", *self.state))
            self.watch.on_list()
        elif self.events:
            state, uid = self.events.pop(0)
            if state == ABSENT:
                self.watch._lose(("shop", "login"), uid)
            else:
                self.watch._take(Metadata("login", "shop", *state))


ACTS: dict[str, Callable[[World], None]] = {
    "change": World.change,
    "remove": World.remove,
    "one asks": lambda world: world.ask(FOLLOWERS[0]),
    "two asks": lambda world: world.ask(FOLLOWERS[1]),
    "answer": World.answer,
    "listen": World.listen,
}


def stories(*acts: str) -> st.SearchStrategy[list[str]]:
    """Short ones, in which the watch is not there yet, and long ones."""
    one = st.sampled_from(acts)
    return st.lists(one, max_size=6) | st.lists(one, min_size=10, max_size=60)


@given(stories(*sorted(ACTS)))
@example(["one asks", "answer", "listen", "remove"])
@example(["one asks", "change", "listen"])
@example(["remove", "one asks", "change", "one asks", "remove"])
@example(["remove", "one asks", "change", "one asks", "remove", "listen"])
def test_whoever_has_read_an_old_state_is_told(acts: list[str]) -> None:
    world = World()
    for act in acts:
        ACTS[act](world)
    while world.answers:
        world.answer()
    while world.events or not world.is_listed:
        world.listen()
    for who, read in world.read.items():
        assert read in (None, world.state) or who in world.told


@given(stories("one asks", "two asks", "answer", "listen"))
def test_without_a_change_nobody_is_told(acts: list[str]) -> None:
    world = World()
    for act in acts:
        ACTS[act](world)
    assert not world.told
