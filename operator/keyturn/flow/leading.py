"""Which replica works: keeps the lease or waits for it, tells of changes, and is the fence before every effect.

Watches run on all replicas; only work is gated. Losing the lease ends no process: it stops working, and goes on trying.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from keyturn.decide.leading import Sighting, Step, claimed, dies_in_s, is_ours, later_head, next_step, released, sight
from keyturn.flow.workqueue import Lane
from keyturn.flow.world import World
from keyturn.model.errors import ClusterConflict, ClusterError, NotLeading, ObjectGone, Rejected
from keyturn.model.ids import DEFAULT_PROVIDER, ObjectRef
from keyturn.model.lease import MARGIN_S, Lease, Terms
from keyturn.model.status import timestamp
from keyturn.ports import Clock, Leases

log = logging.getLogger("keyturn.lease")

SOON_S = 0.05
RELEASE_TRIES, RELEASE_S = 2, 2.0


@dataclass(slots=True)
class Leading:
    """The port `Fence` over the lease. ``monotonic`` must go on while the process, and the machine, is stopped.

    ``is_free`` holds when nothing of our last term is in hand any more; only then does a new one begin, so that
    nothing read before another replica led is written after it. ``on_change`` is told where a term begins and ends.
    ``audit_head`` is what the record carries of the audit trail, '' to leave there what it has.
    """

    leases: Leases
    me: str
    terms: Terms
    clock: Clock
    monotonic: Callable[[], float]
    is_free: Callable[[], bool] = lambda: True
    on_change: Callable[[bool], None] = lambda _: None
    audit_head: Callable[[], str] = lambda: ""
    problem: str = ""
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    anchor: str = ""
    """What the record carried of the audit trail when our term began."""
    _epoch: int | None = None
    _seen: Sighting | None = None
    _ends: float = -1.0
    _is_at_work: bool = False
    _stands_by: str = ""

    @property
    def is_leading(self) -> bool:
        """Whether an effect may begin now."""
        return self._is_at_work and self._ends - self.monotonic() >= MARGIN_S

    @property
    def epoch(self) -> int:
        """The number of our term, 0 while it is not ours to act."""
        return self._epoch or 0 if self.is_leading else 0

    def check(self, for_s: float = 0.0) -> None:
        # No term is longer than that, and what needs more of one is not to wait for ever.
        needed_s = MARGIN_S + min(for_s, (self.terms.duration_s - MARGIN_S) / 2)
        if not self._is_at_work or self._ends - self.monotonic() < needed_s:
            raise NotLeading("another replica leads, or may do so in a moment")

    async def run(self) -> None:
        """Until cancelled; faults of the API server are waited out, and ``problem`` names the present one."""
        while True:
            pause_s = await self._turn()
            await asyncio.sleep(pause_s)

    async def release(self) -> None:
        """Ends our term, so that another replica begins its own at once. Call it when nothing works any more and `run` ended."""
        epoch, self._epoch = self._epoch, None
        self._is_at_work, self._ends = False, -1.0
        for _ in range(RELEASE_TRIES if epoch is not None else 0):
            try:
                async with asyncio.timeout(RELEASE_S):
                    if self._seen is None:
                        await self._look()
                    if self._seen is not None and is_ours(self._seen.lease, self.me, epoch):
                        await self.leases.write(released(self._seen.lease))
                    return
            except (ClusterError, TimeoutError) as error:
                # Our last renewal may have been cut off after it was sent; whoever waits takes it for dead in any case.
                self._seen = None
                log.info("lease not released: %s", _told(error))

    def resign(self) -> None:
        """Somebody else says that it is theirs: our term ends, and the record is looked at, which may well give us a new one."""
        self._seen = None
        if self._is_at_work:
            self._end()

    async def _turn(self) -> float:
        """One look or renewal; gives the pause until the next, in seconds."""
        try:
            async with asyncio.timeout(self._patience_s()):
                pause_s = await self._act()
        except (ClusterConflict, ObjectGone) as error:
            # Somebody was faster, or edited or deleted the record: what it says now counts.
            log.debug("lease: %s", error)
            self._seen, pause_s = None, SOON_S
        except (ClusterError, TimeoutError) as error:
            told = _told(error)
            if told != self.problem:
                log.warning("lease: %s", told)
            self.problem, pause_s = told, min(self.terms.retry_s, self._patience_s())
        else:
            self.problem = ""
            self.looked.set()
        is_held = self._held_s() > 0
        if self._is_at_work and not is_held:
            self._end()
        elif is_held and not self._is_at_work and not self._begin():
            return SOON_S
        return pause_s

    def _held_s(self) -> float:
        """How long we may go on without a renewal."""
        return self._ends - self.monotonic() - (self.terms.duration_s - self.terms.renew_deadline_s)

    def _patience_s(self) -> float:
        """How long one request may take, or a pause after a failed one: a term ends in time also where nobody answers."""
        half_s = self.terms.renew_deadline_s / 2
        return min(half_s, max(SOON_S, self._held_s())) if self._is_at_work else half_s

    async def _act(self) -> float:
        if self._seen is None or not is_ours(self._seen.lease, self.me, self._epoch):
            await self._look()
        seen = self._seen or Sighting(Lease(), self.monotonic())
        step = next_step(seen, self.me, self._epoch, self.monotonic(), self.terms)
        if step is not Step.RENEW and self._is_at_work:
            # Another one led since, even if it is gone again.
            self._end()
        if step is Step.WAIT:
            self._stand_by(seen.lease.holder)
            return max(SOON_S, min(self.terms.retry_s, dies_in_s(seen, self.monotonic(), self.terms)))
        wanted = claimed(seen, step, self.me, self._epoch, timestamp(self.clock.now()), self.terms)
        known, own = wanted.audit_head, self.audit_head()
        if step is Step.ACQUIRE:
            self.anchor = known or own
        elif not self._is_at_work:
            # It begins again: what was written since it began first must be there too, whoever of us remembers it.
            self.anchor = later_head(known, own) or self.anchor
        wanted = replace(wanted, audit_head=(own or known) if self._is_at_work else self.anchor)
        # Noted before the answer: a claim whose answer is lost is ours all the same.
        self._epoch, sent = wanted.transitions, self.monotonic()
        written = await self.leases.write(wanted)
        self._seen, self._ends = Sighting(written, self.monotonic()), sent + self.terms.duration_s
        return self.terms.retry_s

    async def _look(self) -> None:
        found = await self.leases.read()
        if found is None and self._seen is not None and self._seen.lease.holder:
            return  # deleted by somebody: its holder may act until it hears of it, so its life is waited out
        self._seen = sight(self._seen, found or Lease(), self.monotonic())

    def _begin(self) -> bool:
        """Begins our term, unless something of the last one is still in hand."""
        if not self.is_free():
            return False
        self._is_at_work, self._stands_by = True, ""
        log.info("leading", extra={"identity": self.me, "epoch": self._epoch})
        self.on_change(True)
        return True

    def _stand_by(self, leader: str) -> None:
        """Says it once, and again where the leader is another one."""
        if leader != self._stands_by:
            self._stands_by = leader
            log.info("standing by; %s leads", leader, extra={"identity": self.me})

    def _end(self) -> None:
        self._is_at_work, self._ends = False, -1.0
        log.warning("not leading any more", extra={"identity": self.me, "epoch": self._epoch})
        self.on_change(False)


def begin_term(world: World, refs: Iterable[ObjectRef]) -> None:
    """All objects are looked at as after a restart: another replica may have worked on them, and nobody else refreshes them."""
    world.refresher.reopen()
    world.memories.clear()
    world.started = world.clock.now()
    world.queue.open()
    if is_default_open(world):
        world.queue.add(DEFAULT_PROVIDER, Lane.URGENT)
    for ref in refs:
        managed = world.objects.managed(ref)
        world.queue.add(ref, Lane.ROUTINE if managed is not None and managed.status.is_ready else Lane.URGENT)


def is_default_open(world: World) -> bool:
    """Whether anybody may use the default provider, so that it is worth a log-in."""
    found = world.objects.provider(DEFAULT_PROVIDER)
    return found is not None and not isinstance(found.order, Rejected) and found.order.is_open


def end_term(world: World) -> None:
    """Nothing is begun any more, no provider is read, and what was read is forgotten: it will be old when it is our turn again."""
    world.queue.close()
    world.refresher.shut()


def _told(error: ClusterError | TimeoutError) -> str:
    return str(error) or "no answer from the API server in time"
