"""Workers and the checks of providers."""

import asyncio
from dataclasses import replace

import pytest

from builders import managed, msec, order, provider, sprov, staged, target_ref
from keyturn.flow.check import LOGGED_IN
from keyturn.flow.workers import DEFECT_DELAY_S
from keyturn.model.errors import AuthFailed, Busy, Throttled
from keyturn.model.ids import Carrier, KeyRef
from keyturn.model.order import FileConfig, ProviderConfig, ProviderOrder
from keyturn.model.vault import TokenLogin, VaultConfig
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()
LOGGED_IN_TO = VaultConfig("https://vault.test", TokenLogin(KeyRef(Carrier.SECRET, "shop", "vault", "token")))


@staged
async def test_a_defect_costs_its_object_a_delay_and_the_others_nothing(stage: Stage) -> None:
    def broken(_: object) -> str:
        raise ZeroDivisionError

    stage.cluster.put(managed("bad", replace(order(), target=replace(order().target, name="bad"))))
    stage.cluster.fail("create", ZeroDivisionError())
    stage.cluster.put(managed("good"))
    stage.start()
    await stage.quiet()
    assert stage.reason(msec("good")) == "Synced"
    assert stage.counts.outcomes.count("Defect") == 1
    await stage.passes(DEFECT_DELAY_S + 1)
    assert stage.reason(msec("bad")) == "Synced"
    assert stage.audit.open_intents == []


@staged
async def test_workers_that_are_stopped_take_no_new_work(stage: Stage) -> None:
    stage.start(workers=4)
    await stage.quiet()
    await stage.close()
    stage.cluster.put(managed())
    await asyncio.sleep(60)
    assert stage.tape.writes == []
    assert [t for t in asyncio.all_tasks() if t.get_name().startswith("worker")] == []


@staged
async def test_a_provider_is_checked_every_five_minutes_and_says_so_no_more_often(stage: Stage) -> None:
    stage.start()
    await stage.passes(3600)
    assert 11 <= stage.source().log_ins <= 13
    assert 11 <= len(stage.tape.only("status-provider")) <= 13
    provided = stage.cluster.provider(sprov())
    assert provided is not None
    ready = provided.status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("True", "Valid")


@pytest.mark.parametrize(("config", "says"), [(LOGGED_IN_TO, LOGGED_IN), (FileConfig("vault"), "it can be read")], ids=["log-in", "none"])
@staged
async def test_a_check_claims_no_more_than_it_proved(stage: Stage, config: ProviderConfig, says: str) -> None:
    stage.cluster.put(provider(order=ProviderOrder(config)))
    stage.start()
    await stage.quiet()
    provided = stage.cluster.provider(sprov())
    assert provided is not None
    assert [(c.reason, c.message) for c in provided.status.conditions] == [("Valid", says)]


@staged
async def test_a_provider_that_fails_says_why_is_checked_sooner_and_heals(stage: Stage) -> None:
    stage.source().down = AuthFailed("no", request_id="r-1")
    stage.start()
    await stage.passes(60)
    provided = stage.cluster.provider(sprov())
    assert provided is not None
    assert [(c.type, c.status, c.reason) for c in provided.status.conditions] == [
        ("Ready", "False", "AuthFailed"),
        ("Reconciling", "True", "AuthFailed"),
    ]
    assert "r-1" not in provided.status.conditions[0].message
    assert stage.source().log_ins > 2
    assert len(stage.tape.only("status-provider")) == 1
    assert stage.events.reasons == ["AuthFailed"]
    stage.source().down = None
    await stage.passes(130)
    healed = stage.cluster.provider(sprov())
    assert healed is not None
    assert [c.reason for c in healed.status.conditions] == ["Valid"]


@staged
async def test_a_providers_wish_for_a_pause_is_kept(stage: Stage) -> None:
    stage.source().down = Throttled("slow", retry_after=600.0)
    stage.start()
    await stage.passes(599)
    assert stage.source().log_ins == 1
    await stage.passes(10)
    assert stage.source().log_ins == 2


@staged
async def test_a_provider_status_that_was_lost_is_written_again(stage: Stage) -> None:
    stage.cluster.fail("status-provider", Busy("503"))
    stage.start()
    await stage.passes(10)
    provided = stage.cluster.provider(sprov())
    assert provided is not None
    assert provided.status.condition("Ready") is not None


@staged
async def test_a_restart_does_not_wake_the_users_of_a_healthy_provider(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.source().calls.clear()
    await stage.restart()
    await stage.passes(10)
    assert stage.source().calls == []


@staged
async def test_one_sick_provider_delays_no_other(stage: Stage) -> None:
    stage.source("sick").down = Throttled("slow")
    stage.cluster.put(provider("sick"))
    for n in range(20):
        sick = order(target=f"sick-{n}")
        entries = tuple(replace(e, provider=replace(e.provider, name="sick")) for e in sick.entries if e.provider)
        stage.cluster.put(managed(f"sick-{n}", replace(sick, entries=entries)))
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    assert stage.reason(APP) == "Synced"
    assert stage.reason(msec("sick-3")) in ("Throttled", "ProviderNotReady")


@staged
async def test_a_provider_that_goes_is_closed(stage: Stage) -> None:
    stage.start()
    await stage.quiet()
    stage.cluster.edit(sprov(), deleting=True)
    await stage.quiet()
    assert all(opened.is_closed for opened in stage.providers.opened)
    stage.cluster.put(replace(provider(uid="new"), order=ProviderOrder(FileConfig("vault"))))
    await stage.quiet()
    assert not stage.providers.opened[-1].is_closed
