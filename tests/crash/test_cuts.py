"""The process ends at every boundary of every effect; the next one, which remembers nothing, ends where an uncut one ends."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import pytest

from builders import managed, msec, order, provider, secret, target_ref
from crash.knife import Cut, Knife
from evidence import counted
from keyturn.model.ids import CHANGED_AT_ANNOTATION
from keyturn.model.order import CreationPolicy, DeletionPolicy
from keyturn.model.status import Status
from keyturn.testing.fields import Path
from keyturn.testing.world import Stage, play

APP, SECRET = msec(), target_ref()
WRITES = ("create", "apply", "strip", "delete", "status")
THEIRS: dict[Path, object] = {
    ("type", ""): "Opaque",
    ("data", "theirs"): secret("kt-canary-t"),
    ("data", "password"): secret("kt-canary-p"),
}

Story = Callable[[Stage], Awaitable[None]]


async def new(stage: Stage) -> None:
    stage.cluster.put(managed())


async def stand(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order("password", "user")))
    await stage.settle(APP)


async def changed(stage: Stage) -> None:
    await stand(stage)
    stage.source(password="kt-canary-2")
    await asyncio.sleep(3600)


async def key_dropped(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.edit(APP, order=order("password"))


async def key_dropped_and_stripped(stage: Stage) -> None:
    await key_dropped(stage)
    stage.cluster.secrets[SECRET].strip_managed_fields()
    stage.cluster.bump(SECRET)


async def edited(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.touch(SECRET, "kubectl", {("data", "password"): secret("kt-canary-e"), ("labels", "keyturn.dev/managed"): None})


async def vanished(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.vanish(SECRET)


async def retyped(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.edit(APP, order=order("password", "user", type="kubernetes.io/basic-auth"))


async def renamed(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.edit(APP, order=order("password", "user", target="new"))


async def orphaned(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.edit(APP, order=order("password", "user", creation=CreationPolicy.ORPHAN))


async def sources_gone(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order("password", "user", deletion=DeletionPolicy.DELETE)))
    await stage.settle(APP)
    stage.source().values.clear()
    await asyncio.sleep(3600)


async def adopted(stage: Stage) -> None:
    stage.cluster.place(SECRET, "kubectl", THEIRS)
    stage.cluster.put(managed("app-db", order("password", adopt=True)))
    await stage.settle(APP)
    stage.cluster.put(managed("app-db", order("password", adopt=True)))


async def suspended(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.edit(APP, order=order("password", "user", suspend=True))


async def missing(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order("absent")))


STORIES: list[Story] = [
    new, changed, key_dropped, key_dropped_and_stripped, edited, vanished, retyped, renamed,
    orphaned, sources_gone, adopted, suspended, missing,
]  # fmt: skip


@dataclass
class End:
    """Where a story ended: what stands, what is said of it, and which writes it took."""

    secrets: Mapping[str, object]
    status: object
    writes: Counter[str]
    boundaries: list[str]


async def run(story: Story, cut_at: int | None) -> End:
    stage = Stage()
    knife = Knife(stage.cluster, cut_at)
    stage.refit = knife.fit
    knife.fit(stage.world)
    stage.source("vault", password="kt-canary-1", user="kt-canary-user")
    stage.cluster.put(provider(ready="True"))
    await story(stage)
    knife.done.clear()
    knife.is_armed = True
    try:
        # A create that meets its Secret looks again, so that a story may take more than one turn.
        for _ in range(3):
            await stage.settle(APP)
        assert cut_at is None
    except Cut:
        assert cut_at is not None
    knife.is_armed, knife.is_dead = False, False
    await stage.restart()
    stage.start()
    await stage.passes(2 * 3600 + 60)
    end = End(standing(stage), said(stage.status(APP)), Counter({w: knife.done[w] for w in WRITES if knife.done[w]}), knife.boundaries)
    await assert_at_rest(stage, knife)
    await stage.close()
    return end


def standing(stage: Stage) -> Mapping[str, object]:
    """All Secrets, without what differs from run to run: uids, versions and times."""
    return {
        ref.name: (
            stage.data(ref),
            held.type,
            held.labels,
            {k: v for k, v in held.annotations.items() if k != CHANGED_AT_ANNOTATION},
            held.owners,
            held.live().fields_of("keyturn/app-db"),
        )
        for ref, held in stage.cluster.secrets.items()
    }


def said(status: Status) -> object:
    target = (status.target.name, status.target.keys) if status.target else None
    return (status.generation, status.revision, target, [(c.type, c.status, c.reason, c.message) for c in status.conditions])


async def assert_at_rest(stage: Stage, knife: Knife) -> None:
    """Status and Secret agree, and a third process has nothing to do."""
    target = stage.status(APP).target
    if target is not None:
        held = stage.cluster.secrets[target_ref(target.name)]
        assert (held.uid, held.annotations[CHANGED_AT_ANNOTATION]) == (target.uid, stage.status(APP).last_change)
    before = knife.done.copy()
    await stage.restart()
    await stage.passes(60)
    assert {w: knife.done[w] - before[w] for w in WRITES} == dict.fromkeys(WRITES, 0)


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_a_cut_anywhere_ends_as_no_cut_ends_and_takes_no_write_more(story: Story, request: pytest.FixtureRequest) -> None:
    uncut = play(lambda: run(story, None))
    total = len(uncut.boundaries)
    assert total >= 2, "a story has at least one effect"
    for cut_at in range(total):

        async def cut(at: int = cut_at) -> End:
            return await run(story, at)

        end, where = play(cut), uncut.boundaries[cut_at]
        assert end.secrets == uncut.secrets, where
        assert end.status == uncut.status, where
        assert end.writes == uncut.writes, where
    counted(request, total, total, "boundaries")
