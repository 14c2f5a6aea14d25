"""What one tenant's slow provider costs the others: nothing that they would notice."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from builders import entry, managed, msec, order, provider, staged
from keyturn.decide.watchdog import Pulse
from keyturn.flow.workqueue import Lane, WorkQueue
from keyturn.model.errors import ProviderError
from keyturn.model.ids import Kind, ObjectRef
from keyturn.model.material import SourceRef, Value
from keyturn.model.objects import Managed
from keyturn.model.order import Admission, ProviderRef
from keyturn.ports import Provider
from keyturn.testing.world import Stage

WORKERS = 16
SLOW_S = 9.0
SOON_S = 2.0


@dataclass(slots=True)
class Slow:
    """A provider that takes its time for each read; also for two at once, as a server of a tenant's own may."""

    behind: Provider

    def __getattr__(self, name: str) -> object:
        return getattr(self.behind, name)

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        await asyncio.sleep(SLOW_S)
        return await self.behind.get_many(refs)


class Anything(dict[str, str | ProviderError]):
    """Values for all keys."""

    def get(self, key: str, _: object = None) -> str:  # type: ignore[override]  # it has each
        return f"kt-canary-{key}"


def slow_down(stage: Stage, *names: str) -> None:
    """Makes these providers slow."""

    def wrap(made: Provider) -> Provider:
        return Slow(made) if getattr(made, "name", "") in names else made  # type: ignore[return-value]  # the rest is passed on

    stage.providers.wrap = wrap


def drawing(name: str, at: str, namespace: str = "shop", kind: Kind = Kind.SECRET_PROVIDER) -> Managed:
    """An object that draws on a provider of that name, there on a key that is its own."""
    plain = order(entry("password", f"{namespace}-{name}"), target=name)
    entries = tuple(replace(each, provider=ProviderRef(kind, at)) for each in plain.entries)
    return managed(name, replace(plain, entries=entries), namespace=namespace, uid=f"uid-{namespace}-{name}")


def put_provider(stage: Stage, name: str, namespace: str = "shop", kind: Kind = Kind.SECRET_PROVIDER) -> None:
    stage.source(name).values = Anything()
    admissions = (Admission(regexes=(".*",)),) if kind is Kind.CLUSTER_SECRET_PROVIDER else ()
    made = provider(name, kind=kind, admissions=admissions, uid=f"uid-{namespace}-{name}")
    stage.cluster.namespaces = {each: {} for each in ("shop", "evil", *(f"team-{n}" for n in range(40)))}
    where = namespace if kind is Kind.SECRET_PROVIDER else ""
    stage.cluster.put(replace(made, ref=ObjectRef(kind, where, name)))


async def begun(stage: Stage, held: int) -> None:
    """The workers have what they may have, and are held up there."""
    stage.start(WORKERS)
    await asyncio.sleep(1)
    assert len(stage.world.queue) - sum(map(stage.world.queue.depth, Lane)) == held


@staged
async def test_a_tenants_slow_provider_does_not_make_another_tenant_wait(stage: Stage) -> None:
    slow_down(stage, "slow")
    put_provider(stage, "slow", "evil")
    for n in range(32):
        stage.cluster.put(drawing(f"crowd-{n}", "slow", "evil"))
    await begun(stage, 8)
    stage.cluster.put(managed())
    await stage.until_time(lambda: stage.reason(msec()) == "Synced", SOON_S)
    assert stage.world.queue.depth(Lane.URGENT), "the crowd is through already, and proves nothing"


@staged
async def test_several_tenants_with_slow_providers_leave_a_worker_to_another(stage: Stage) -> None:
    tenants = [f"evil-{n}" for n in range(8)]
    slow_down(stage, "slow")
    for tenant in tenants:
        put_provider(stage, "slow", tenant)
        for n in range(32):
            stage.cluster.put(drawing(f"crowd-{n}", "slow", tenant))
    await begun(stage, 14)
    stage.cluster.put(managed())
    await stage.until_time(lambda: stage.reason(msec()) == "Synced", SOON_S)


@staged
async def test_a_slow_provider_of_the_whole_cluster_leaves_the_others_alone(stage: Stage) -> None:
    slow_down(stage, "slow")
    put_provider(stage, "slow", kind=Kind.CLUSTER_SECRET_PROVIDER)
    for n in range(40):
        stage.cluster.put(drawing("app", "slow", f"team-{n}", Kind.CLUSTER_SECRET_PROVIDER))
    await begun(stage, 12)
    stage.cluster.put(managed())
    await stage.until_time(lambda: stage.reason(msec()) == "Synced", SOON_S)


@staged
async def test_within_a_namespace_a_slow_provider_leaves_the_other_alone(stage: Stage) -> None:
    slow_down(stage, "slow")
    put_provider(stage, "slow", kind=Kind.CLUSTER_SECRET_PROVIDER)
    for team in range(4):
        for n in range(16):
            stage.cluster.put(drawing(f"crowd-{n}", "slow", f"team-{team}", Kind.CLUSTER_SECRET_PROVIDER))
    put_provider(stage, "quick", "team-0")
    await begun(stage, 8)
    stage.cluster.put(drawing("app", "quick", "team-0"))
    await stage.until_time(lambda: stage.reason(msec("app", "team-0")) == "Synced", SOON_S)


@staged
async def test_a_crowd_at_a_shared_provider_leaves_room_there_for_others(stage: Stage) -> None:
    """It draws on what all share, and on something slow of its own as well."""
    slow_down(stage, "slow")
    put_provider(stage, "shared", kind=Kind.CLUSTER_SECRET_PROVIDER)
    put_provider(stage, "slow", "evil")
    for n in range(32):
        slow, shared = drawing(f"crowd-{n}", "slow", "evil"), drawing("x", "shared", "evil", Kind.CLUSTER_SECRET_PROVIDER)
        both = (*slow.order.entries, replace(shared.order.entries[0], secret_key="more"))  # type: ignore[union-attr]  # both are orders
        stage.cluster.put(replace(slow, order=replace(slow.order, entries=both)))  # type: ignore[type-var]
    await begun(stage, 8)
    stage.cluster.put(drawing("app", "shared", "shop", Kind.CLUSTER_SECRET_PROVIDER))
    await stage.until_time(lambda: stage.reason(msec("app")) == "Synced", SOON_S)


@staged
async def test_what_waits_for_its_share_is_no_stall(stage: Stage) -> None:
    slow_down(stage, "slow")
    put_provider(stage, "slow")
    for n in range(400):
        stage.cluster.put(drawing(f"crowd-{n}", "slow"))
    await begun(stage, 8)
    for _ in range(400):
        await asyncio.sleep(0.5)
        since = stage.world.queue.untaken_since
        assert since is None or not Pulse("", since, SLOW_S / 2).is_stalled(asyncio.get_running_loop().time())
    assert stage.world.queue.depth(Lane.URGENT)


@pytest.mark.parametrize("count", [1, 2, 3, 16])
@staged
async def test_workers_that_are_free_take_what_became_open(stage: Stage, *, count: int) -> None:
    """Nobody sleeps beside work that may be done: each end of a piece of work lets the next begin."""
    queue, running, most, done = WorkQueue(), 0, 0, 0
    queue.share_out(count, lambda _: ())

    async def hand() -> None:
        nonlocal running, most, done
        while True:
            ref = await queue.get()
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1
            done += 1
            queue.done(ref)

    hands = [asyncio.create_task(hand()) for _ in range(count)]
    for n in range(48):
        queue.add(msec(f"a{n}"))
    half = max(1, count // 2)
    await asyncio.sleep(48 / half + 1)
    assert (done, most) == (48, half)
    for task in hands:
        task.cancel()
    await asyncio.wait(hands)
