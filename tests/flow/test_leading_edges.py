"""Leases that others edit or delete, and work that is under way as a term ends."""

import asyncio
from dataclasses import replace

from builders import managed, msec, provider, staged
from flow.test_leading import Replicas, replicated
from keyturn.decide.leading import LAST_EPOCH, LONGEST_S
from keyturn.flow.leading import Leading
from keyturn.model.errors import NotLeading
from keyturn.model.ids import SecretRef
from keyturn.model.lease import MARGIN_S, Lease
from keyturn.model.plan import Live
from keyturn.testing.cluster import FakeCluster
from keyturn.testing.world import Stage


@replicated
async def test_two_never_lead_at_once_also_where_the_record_is_deleted(replicas: Replicas) -> None:
    one = replicas.start("a")
    await asyncio.sleep(1)
    two = replicas.start("b")
    await asyncio.sleep(20.3)
    for _ in range(20):
        replicas.leases.record = None
        for _ in range(100):
            await asyncio.sleep(0.05)
            assert not (one.is_leading and two.is_leading)
    assert one.is_leading or two.is_leading


@replicated
async def test_a_pair_of_effects_is_begun_only_with_time_for_both(replicas: Replicas) -> None:
    one = replicas.start("a")
    await asyncio.sleep(1)
    one.check(for_s=MARGIN_S)
    one.check(for_s=1e9)  # more than any term has: as much as there is is asked for
    replicas.leases.is_away = True
    while one.is_leading:
        was_open = _is_open(one, MARGIN_S)
        left_s = one._ends - asyncio.get_running_loop().time()
        assert was_open == (left_s >= 2 * MARGIN_S)
        await asyncio.sleep(0.25)
    assert not was_open


def _is_open(leading: Leading, for_s: float) -> bool:
    try:
        leading.check(for_s)
    except NotLeading:
        return False
    return True


@replicated
async def test_a_strange_holder_with_a_life_of_years_is_not_waited_for_so_long(replicas: Replicas) -> None:
    replicas.leases.record = Lease(holder="nobody", duration_s=2e9, transitions=3, resource_version="x")
    one = replicas.start("a")
    await asyncio.sleep(LONGEST_S + 10)
    assert one.is_leading


@replicated
async def test_after_the_last_epoch_they_begin_anew(replicas: Replicas) -> None:
    replicas.leases.record = Lease(transitions=LAST_EPOCH, resource_version="x")
    one = replicas.start("a")
    await asyncio.sleep(5)
    assert (one.is_leading, one.epoch) == (True, 1)


def _head(seq: int) -> str:
    return f"{seq}:{seq:064x}"


async def _outage(replicas: Replicas) -> None:
    """So long that the term ends; what another replica would do is done by nobody."""
    replicas.leases.is_away = True
    await asyncio.sleep(60)
    replicas.leases.is_away = False
    await asyncio.sleep(60)


@replicated
async def test_a_term_that_begins_again_is_held_to_the_end_of_the_trail_that_was_written_in_it(replicas: Replicas) -> None:
    replicas.leases.record = Lease(audit_head=_head(10), resource_version="x")
    one, anchors = replicas.start("a"), []
    one.on_change = lambda begins: anchors.append(one.anchor) if begins else None
    await asyncio.sleep(1)
    one.audit_head = lambda: _head(5000)
    await asyncio.sleep(60)
    one.audit_head = lambda: ""
    await _outage(replicas)
    assert replicas.leases.record.audit_head == _head(5000)
    one.audit_head = lambda: _head(6000)  # the last rows before the outage, of which the record was never told
    replicas.leases.is_away = True
    await _outage(replicas)
    assert anchors == [_head(10), _head(5000), _head(6000)]


@replicated
async def test_an_end_that_somebody_takes_from_the_record_is_remembered(replicas: Replicas) -> None:
    replicas.leases.record = Lease(audit_head=_head(10), resource_version="x")
    one, anchors = replicas.start("a"), []
    one.audit_head = lambda: _head(5000)
    one.on_change = lambda begins: anchors.append(one.anchor) if begins else None
    await asyncio.sleep(1)
    replicas.leases.is_away = True
    await asyncio.sleep(60)
    replicas.leases.record = replace(replicas.leases.record, audit_head=_head(7))
    await _outage(replicas)
    replicas.leases.record = None
    one.resign()
    await asyncio.sleep(600)
    assert anchors == [_head(10), _head(5000), _head(5000)]


class _SlowLook:
    """A `SecretReader` whose looks take until they are let through."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.gate = asyncio.Event()
        self.seen, self.read, self.type_of = cluster.seen, cluster.read, cluster.type_of
        self._look = cluster.look

    async def look(self, ref: SecretRef) -> Live | None:
        await self.gate.wait()
        return await self._look(ref)


@staged
async def test_a_worker_that_is_through_after_its_term_opens_no_provider(stage: Stage) -> None:
    source = stage.source("vault", password="kt-canary-1")
    stage.cluster.put(provider())
    stage.start()
    await stage.quiet()
    slow = stage.world.reader = _SlowLook(stage.cluster)
    stage.cluster.put(app := managed())
    stage.world.memory(msec(), app.uid).must_look = True
    await asyncio.sleep(1)
    stage.lose()
    source.calls.clear()
    slow.gate.set()
    await stage.passes(24 * 3600)
    assert source.calls == []
