"""Without the lease nothing is done and nothing is said; with it again, work goes on, and nothing old is written."""

import asyncio
from dataclasses import dataclass
from functools import partial

from builders import managed, msec, order, provider, secret, sprov, staged, target_ref
from keyturn.flow.workers import LEFT_DELAY_S
from keyturn.ports import Provider
from keyturn.testing.leases import FakeFence
from keyturn.testing.world import Stage, play

APP, SECRET = msec(), target_ref()


@staged
async def test_a_replica_that_waits_does_nothing_and_reads_no_provider(stage: Stage) -> None:
    stage.start()
    await stage.quiet()
    stage.lose()
    stage.tape.rewind()
    reads, log_ins = len(stage.source().calls), stage.source().log_ins
    stage.cluster.put(managed())
    await stage.passes(3600)
    assert stage.tape.lines == []
    assert (len(stage.source().calls), stage.source().log_ins) == (reads, log_ins)
    assert len(stage.world.queue) == 0


@staged
async def test_what_came_meanwhile_is_done_when_it_is_our_turn(stage: Stage) -> None:
    stage.start()
    await stage.quiet()
    stage.lose()
    stage.cluster.put(managed())
    await stage.passes(60)
    stage.lead()
    await stage.quiet()
    assert stage.reason(APP) == "Synced"
    assert stage.data(SECRET) == {"password": "kt-canary-1"}


@dataclass(slots=True)
class Slamming(FakeFence):
    """Shuts at one of the checks, as a lease does that ends at that moment."""

    shuts_at: int = 0
    checks: int = 0

    def check(self, for_s: float = 0.0) -> None:
        self.checks += 1
        if self.checks == self.shuts_at:
            self.is_leading = False
        FakeFence.check(self, for_s)


def test_wherever_the_lease_ends_nothing_is_done_or_said_from_there_on() -> None:
    """Shut at each check in turn: no effect follows, and when it is our turn again all ends as if nothing had been."""
    ended, n = 0, 0
    while ended == n:
        n += 1
        ended += play(partial(_is_cut_short, n))
    # The object's turn, intent, create and status, and the same for the provider's check without a Secret.
    assert n > 6


async def _is_cut_short(at: int) -> int:
    fence = Slamming(shuts_at=at)
    stage = Stage(fence=fence)
    stage.source("vault", password="kt-canary-1")
    stage.cluster.put(provider())
    stage.cluster.put(managed())
    stage.start()
    try:
        for _ in range(1000):
            await asyncio.sleep(0)
            if not fence.is_leading:
                break
        was_cut = not fence.is_leading
        stage.tape.rewind()
        await asyncio.sleep(LEFT_DELAY_S * 3)
        effects = ("intend", "create", "apply", "strip", "delete", "status", "status-provider", "event")
        assert not was_cut or stage.tape.only(*effects) == []
        assert "Defect" not in stage.counts.outcomes
        fence.is_leading = True
        await stage.passes(LEFT_DELAY_S * 2)
        assert stage.reason(APP) == "Synced"
        assert len(stage.cluster.secrets) == 1
        return int(was_cut)
    finally:
        await stage.close()


@staged
async def test_a_failure_that_is_met_without_the_lease_is_not_told(stage: Stage) -> None:
    stage.source().values.clear()
    stage.cluster.put(managed())

    def shuts(provider: Provider) -> Provider:
        stage.fence.is_leading = False
        return provider

    stage.providers.wrap = shuts
    stage.start()
    await stage.passes(1)
    assert stage.status(APP).conditions == ()
    assert stage.events.reasons == []


@staged
async def test_nothing_read_before_another_led_is_written_after_it(stage: Stage) -> None:
    stage.cluster.put(managed(what=order(interval_s=3600)))
    stage.start()
    await stage.quiet()
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    stage.lose()
    stage.source(password="kt-canary-2")
    _written_by_another(stage, "kt-canary-2")
    stage.lead()
    await stage.quiet()
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    stage.cluster.touch(SECRET, "somebody", {("data", "password"): secret("edited")})
    await stage.quiet()
    assert stage.data(SECRET) == {"password": "kt-canary-2"}


@staged
async def test_refreshing_goes_on_in_a_new_term(stage: Stage) -> None:
    stage.cluster.put(managed(what=order(interval_s=60)))
    stage.start()
    await stage.quiet()
    stage.lose()
    await stage.passes(600)
    stage.lead()
    await stage.quiet()
    stage.source(password="kt-canary-2")
    await stage.passes(61)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}


@staged
async def test_a_new_term_writes_nothing_where_all_is_in_sync(stage: Stage) -> None:
    for n in range(5):
        stage.cluster.put(managed(f"app-{n}", order(target=f"app-{n}")))
    stage.start()
    await stage.quiet()
    stage.lose()
    await stage.passes(60)
    stage.tape.rewind()
    stage.lead()
    await stage.quiet()
    assert stage.tape.writes == []
    assert stage.tape.reads == []


@staged
async def test_a_status_that_moved_since_we_looked_is_not_written_over(stage: Stage) -> None:
    """What slips through the fence: another replica said something since."""
    stage.start()
    await stage.quiet()
    gate = stage.cluster.hold("create")
    stage.cluster.put(managed())
    await stage.until(lambda: stage.tape.only("create"))
    stage.cluster.edit(APP, reconcile_token="asked")
    stage.tape.rewind()
    gate.set()
    await stage.passes(5)
    assert stage.reason(APP) == "Synced"
    assert stage.status(APP).handled_reconcile == "asked"
    assert len(stage.tape.only("status")) == 2
    assert len(stage.tape.only("create", "apply")) == 0


@staged
async def test_a_provider_that_came_and_went_meanwhile_is_never_logged_in_to(stage: Stage) -> None:
    stage.start()
    await stage.quiet()
    stage.lose()
    stage.cluster.put(provider("second"))
    await stage.passes(600)
    stage.cluster.remove(sprov("second"))
    stage.lead()
    await stage.passes(600)
    assert stage.source("second").log_ins == 0


def _written_by_another(stage: Stage, value: str) -> None:
    stage.cluster.touch(SECRET, "keyturn/app-db", {("data", "password"): secret(value)})
