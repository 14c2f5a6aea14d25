"""A ClusterSecretProvider that logs in for each namespace that reads: what is one's own."""

import pytest

from builders import managed, msec, staged, target_ref
from flow.readers import BANK, INTERVAL_S, SHOP, VAULT, changed, given, of, open_for, per_reader, reason, shelves, token, wanting, working
from keyturn.model.errors import AuthFailed, MissingExtra, Rejected, Unavailable
from keyturn.model.ids import READER
from keyturn.model.material import SourceRef
from keyturn.model.order import Admission
from keyturn.model.status import ProviderStatus
from keyturn.testing.world import Stage


@staged
async def test_each_namespace_reads_by_its_own_credential(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    assert stage.data(target_ref()) == {"password": "kt-canary-shop"}
    assert stage.data(target_ref(namespace="bank")) == {"password": "kt-canary-bank"}
    assert {SHOP, BANK} < shelves(stage)
    assert of(stage, READER).calls == []
    assert stage.providers.followed == {VAULT: frozenset(), SHOP: {token("shop")}, BANK: {token("bank")}}
    read = [line for line in stage.tape.lines if "provider.read" in line]
    assert any("ClusterSecretProvider/shop/vault" in line for line in read)
    assert any("ClusterSecretProvider/bank/vault" in line for line in read)


@staged
async def test_within_a_namespace_one_read_is_shared(stage: Stage) -> None:
    given(stage)
    of(stage, "shop").values["password"] = "kt-canary-1"
    for n in range(20):
        stage.cluster.put(managed(f"app-{n}", wanting(target=f"app-{n}")))
    stage.start(workers=4)
    await stage.quiet()
    assert of(stage, "shop").calls == [(SourceRef("password"),)]


@staged
async def test_the_providers_own_status_says_that_each_namespace_logs_in_for_itself_and_of_no_check(stage: Stage) -> None:
    await working(stage, "shop")
    await stage.passes(1000)
    status = stage.cluster.objects[VAULT].status
    assert isinstance(status, ProviderStatus)
    [ready] = status.conditions
    assert (ready.type, ready.status, ready.reason) == ("Ready", "True", "CheckedPerNamespace")
    assert "each namespace that reads logs in for itself" in ready.message
    assert (status.last_check, status.capabilities) == ("", ())
    assert of(stage, READER).log_ins == of(stage, "shop").log_ins == 0
    assert len(stage.tape.only("status-provider")) == 1
    assert stage.events.reasons == []


@pytest.mark.parametrize("refusal", [Rejected("spec.provider: http is not allowed"), MissingExtra("vault", "spec.provider.hashicorpVault")])
@staged
async def test_what_keeps_it_shut_for_everybody_is_on_the_provider(stage: Stage, refusal: Rejected | MissingExtra) -> None:
    of(stage, READER).refused = of(stage, "shop").refused = refusal
    await working(stage, "shop")
    ready = stage.cluster.objects[VAULT].status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", refusal.reason)
    assert reason(stage, "shop") == "ProviderNotReady"


@pytest.mark.parametrize("when", ["at first", "later"])
@staged
async def test_a_namespace_without_the_credential_says_where_it_should_be_and_the_other_is_in_sync(stage: Stage, when: str) -> None:
    absent = AuthFailed(f"{token('bank')} is not there, and the provider needs its key 'token'; create it, or name another one")
    if when == "at first":
        of(stage, "bank").down = absent
    await working(stage, "shop", "bank")
    of(stage, "bank").down = absent
    await stage.passes(2 * INTERVAL_S)
    told = stage.status(msec(namespace="bank")).condition("Ready")
    assert told is not None
    assert (told.status, told.reason) == ("False", "AuthFailed")
    assert "Secret/bank/vault-token is not there" in told.message
    assert reason(stage, "shop") == "Synced"
    of(stage, "shop").values["password"] = "kt-canary-2"
    await stage.passes(INTERVAL_S)
    assert stage.data(target_ref()) == {"password": "kt-canary-2"}
    [ready] = stage.cluster.objects[VAULT].status.conditions
    assert ready.status == "True", "what one tenant lacks is no fault of the provider's"


@staged
async def test_a_credential_that_appears_is_used_at_once_by_its_own_namespace(stage: Stage) -> None:
    of(stage, "bank").down = AuthFailed("Secret/bank/vault-token is not there")
    await working(stage, "shop", "bank")
    of(stage, "bank").down = None
    before, opened = stage.clock.now(), len(stage.providers.opened)
    changed(stage, token("bank"))
    await stage.until(lambda: reason(stage, "bank") == "Synced")
    assert stage.clock.now() == before
    assert [each.name for each in stage.providers.opened[opened:]] == [str(token("bank"))]


@staged
async def test_a_changed_credential_renews_the_log_in_of_its_own_readers_alone(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    shop = next(each for each in stage.providers.opened if each.name == str(token("shop")))
    bank = next(each for each in stage.providers.opened if each.name == str(token("bank")))
    checks = len(stage.tape.only("status-provider"))
    changed(stage, token("bank"))
    await stage.passes(INTERVAL_S + 1)
    await stage.until(lambda: bank.is_closed)
    assert not shop.is_closed
    assert open_for(stage).count(str(token("bank"))) == 1
    assert len(stage.tape.only("status-provider")) == checks


@staged
async def test_values_of_one_namespace_are_never_served_to_another(stage: Stage) -> None:
    await working(stage, "shop")
    of(stage, "bank").down = Unavailable("no connection")
    stage.cluster.put(managed(what=wanting(), namespace="bank"))
    await stage.quiet()
    assert target_ref(namespace="bank") not in stage.cluster.secrets
    of(stage, "bank").down = None
    of(stage, "bank").values["password"] = "kt-canary-bank"
    await stage.until_time(lambda: reason(stage, "bank") == "Synced", 60)
    assert stage.data(target_ref(namespace="bank")) == {"password": "kt-canary-bank"}
    assert stage.data(target_ref()) == {"password": "kt-canary-shop"}


@staged
async def test_a_change_at_the_provider_wakes_its_own_reader_alone(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    looked = len(stage.counts.outcomes)
    of(stage, "shop").values["password"] = "kt-canary-2"
    await stage.passes(INTERVAL_S)
    assert stage.data(target_ref()) == {"password": "kt-canary-2"}
    assert len(stage.counts.outcomes) == looked + 1


@staged
async def test_conditions_decide_who_may_use_it_before_anything_is_opened(stage: Stage) -> None:
    await working(stage, "shop", "bank", admissions=(Admission(frozenset({"shop"})),))
    assert (reason(stage, "shop"), reason(stage, "bank")) == ("Synced", "ProviderNotAllowed")
    assert of(stage, "bank").calls == []
    assert BANK not in shelves(stage)
    assert str(token("bank")) not in open_for(stage)


@staged
async def test_who_is_not_admitted_any_more_is_refused_where_it_was_synced(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    stage.cluster.edit(VAULT, order=per_reader(admissions=(Admission(frozenset({"shop"})),)).order)
    await stage.quiet()
    assert (reason(stage, "shop"), reason(stage, "bank")) == ("Synced", "ProviderNotAllowed")
