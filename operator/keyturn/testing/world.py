"""A whole operator on fakes: a cluster and providers in memory, virtual time, and a tape of everything that it does.

    def test_a_new_object_becomes_a_secret() -> None:
        async def story() -> None:
            stage = Stage()
            ...
            await stage.close()

        play(story)

A `Stage` is one process. `Stage.restart` ends it and starts another one on the same cluster; ``refit`` may put
something of its own before the ports of each.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from keyturn.decide.admit import Limits
from keyturn.decide.fingerprint import KEY_BYTES, FingerprintKey
from keyturn.decide.judge import Patience
from keyturn.flow.check import look_again, wake_users
from keyturn.flow.leading import begin_term, end_term, is_default_open
from keyturn.flow.notes import note_end
from keyturn.flow.refresher import Refresher
from keyturn.flow.settle import settle
from keyturn.flow.space import CACHE_BYTES
from keyturn.flow.workers import work
from keyturn.flow.workqueue import Lane, WorkQueue
from keyturn.flow.world import KeyHolder, World
from keyturn.model.default import DefaultProvider
from keyturn.model.ids import DEFAULT_PROVIDER, ObjectRef, SecretRef
from keyturn.model.objects import Cached, Managed
from keyturn.model.order import FileConfig
from keyturn.model.sensitive import Sensitive
from keyturn.model.status import Status
from keyturn.testing.clock import FakeClock, play
from keyturn.testing.cluster import FakeCluster
from keyturn.testing.leases import FakeFence
from keyturn.testing.records import Counts, RecordingAudit, RecordingEvents, Tape
from keyturn.testing.sources import FakeProviderSource, FakeSource

__all__ = [
    "KEY",
    "OTHER_KEY",
    "Counts",
    "FakeClock",
    "FakeCluster",
    "FakeFence",
    "FakeProviderSource",
    "FakeSource",
    "RecordingAudit",
    "RecordingEvents",
    "Stage",
    "Tape",
    "play",
]

KEY = FingerprintKey.of(Sensitive(bytes(range(KEY_BYTES))))
OTHER_KEY = FingerprintKey.of(Sensitive(bytes(reversed(range(KEY_BYTES)))))
DEADLINE_TURNS = 100_000


@dataclass(slots=True)
class Stage:
    """One operator process on fakes; make it inside a running loop (`play` gives one with virtual time)."""

    tape: Tape = field(default_factory=Tape)
    clock: FakeClock = field(default_factory=FakeClock)
    fence: FakeFence = field(default_factory=FakeFence)
    key: FingerprintKey = KEY
    controller_class: str = ""
    cache_bytes: int = CACHE_BYTES
    cluster: FakeCluster = field(init=False)
    providers: FakeProviderSource = field(init=False)
    audit: RecordingAudit = field(init=False)
    events: RecordingEvents = field(init=False)
    counts: Counts = field(default_factory=Counts)
    refit: Callable[[World], None] = lambda _: None
    world: World = field(init=False)
    _known: dict[ObjectRef, Cached] = field(default_factory=dict)
    _workers: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.cluster = FakeCluster(self.tape, self.clock, self.fence)
        self.providers = FakeProviderSource(self.tape)
        self.audit = RecordingAudit(self.tape)
        self.events = RecordingEvents(self.tape)
        self._begin()

    def _begin(self) -> None:
        queue = WorkQueue(waited=self.counts.waited)
        self.world = World(
            objects=self.cluster,
            statuses=self.cluster,
            reader=self.cluster,
            writer=self.cluster,
            refresher=Refresher(self.providers, self.audit, self.clock, self._wake, cache_bytes=self.cache_bytes),
            audit=self.audit,
            events=self.events,
            telemetry=self.counts,
            clock=self.clock,
            fence=self.fence,
            queue=queue,
            limits=Limits("keyturn-system"),
            patience=Patience(),
            entropy=lambda: 0.5,
            started=self.clock.now(),
            controller_class=self.controller_class,
            fingerprint=KeyHolder(self.key, ""),
            cluster_id=lambda: "uid-of-kube-system",
        )
        self.world.refresher.on_turn = partial(look_again, world=self.world)
        self.refit(self.world)
        self.cluster.on_object, self.cluster.on_secret = self._hear, self._hear_secret
        self.cluster.forget_caches()
        self._known = dict(self.cluster.objects)
        for ref in self._known:
            queue.add(ref)
        if is_default_open(self.world):
            queue.add(DEFAULT_PROVIDER)

    def source(self, name: str = "vault", **values: str) -> FakeSource:
        """What the provider of that name holds; keyword arguments add to it."""
        found = self.providers.sources.setdefault(name, FakeSource())
        found.values.update(values)
        return found

    def open_default(self, *namespaces: str) -> FakeSource:
        """Opens the default provider to these namespaces; what it holds."""
        self.cluster.default = DefaultProvider("file", FileConfig("default"), namespaces=frozenset(namespaces)).as_object()
        self.world.queue.add(DEFAULT_PROVIDER)
        return self.source("default")

    async def settle(self, ref: ObjectRef) -> None:
        """One look at one object, as a worker does it, without the queue."""
        await settle(ref, self.world)

    def start(self, workers: int = 1) -> None:
        """Workers at the queue, until `close`."""
        self._workers = asyncio.create_task(work(self.world, workers), name="workers")

    async def quiet(self) -> None:
        """Until the queue is empty, whatever is planned for later."""
        for _ in range(DEADLINE_TURNS):
            await asyncio.sleep(0)
            if not len(self.world.queue):
                return
        raise TimeoutError("the queue does not come to rest")

    async def until(self, claim: Callable[[], object]) -> None:
        """Until ``claim()`` holds, one turn of the loop after the other."""
        for _ in range(DEADLINE_TURNS):
            if claim():
                return
            await asyncio.sleep(0)
        raise TimeoutError("what was waited for does not come")

    async def until_time(self, claim: Callable[[], object], seconds: float) -> None:
        """Until ``claim()`` holds, at most so many virtual seconds."""
        for _ in range(math.ceil(seconds)):
            if claim():
                return
            await asyncio.sleep(1)
        raise TimeoutError("what was waited for does not come in time")

    async def passes(self, seconds: float) -> None:
        """Virtual time goes by, and what became due in it is done."""
        await asyncio.sleep(seconds)
        await self.quiet()

    async def restart(self) -> None:
        """The process ends, with all it remembers, and another one begins on the same cluster."""
        was_working = self._workers is not None
        await self.close()
        self._begin()
        if was_working:
            self.start()

    async def close(self) -> None:
        """Ends what runs."""
        if self._workers is not None:
            self._workers.cancel()
            await asyncio.wait({self._workers})
            self._workers = None
        await self.world.refresher.close()

    def lose(self) -> None:
        """Another replica leads from now on."""
        self.fence.is_leading = False
        end_term(self.world)

    def lead(self) -> None:
        """It is our turn again."""
        self.fence.is_leading = True
        begin_term(self.world, self.cluster.objects)

    def managed(self, ref: ObjectRef) -> Managed:
        """A ManagedSecret as the cluster holds it."""
        found = self.cluster.objects[ref]
        assert isinstance(found, Managed), f"{ref} is no ManagedSecret"
        return found

    def status(self, ref: ObjectRef) -> Status:
        return self.managed(ref).status

    def reason(self, ref: ObjectRef) -> str:
        """The reason of Ready, '' before the first status."""
        ready = self.status(ref).condition("Ready")
        return ready.reason if ready else ""

    def data(self, ref: SecretRef) -> Mapping[str, str]:
        """A Secret's data in clear."""
        return {key: value.reveal().decode() for key, value in self.cluster.secrets[ref].data.items()}

    def relabelled(self, namespace: str) -> None:
        """What the handlers do when a namespace's labels change."""
        for ref, found in self._known.items():
            if isinstance(found, Managed) and ref.namespace == namespace:
                self._wake(ref)

    def _wake(self, ref: ObjectRef) -> None:
        self.world.mark_dirty(ref)
        self.world.queue.add(ref, Lane.ROUTINE)

    def _hear(self, ref: ObjectRef) -> None:
        """What the handlers make of an object's event."""
        found, before = self.cluster.objects.get(ref), self._known.get(ref)
        if found is None:
            if before is not None:
                note_end(self.cluster.gone.get(ref, before), self.world)
            self._known.pop(ref, None)
            self.world.forget(ref)
            if isinstance(before, Managed) and before.target is not None:
                for other in self.cluster.aiming_at(before.target):
                    self.world.queue.add_after(other, 1.0, Lane.URGENT)
            elif before is not None:
                self.world.refresher.close_shelf(ref)
                wake_users(ref, self.world)
            return
        self._known[ref] = found
        self.world.queue.add(ref, Lane.URGENT)
        if not isinstance(found, Managed) and (before is None or (before.uid, before.generation) != (found.uid, found.generation)):
            wake_users(ref, self.world)

    def _hear_secret(self, target: SecretRef) -> None:
        for ref in self.cluster.aiming_at(target):
            self.world.queue.add(ref, Lane.URGENT)
