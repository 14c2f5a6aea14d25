"""Missing sources, outages and providers that come and go."""

from dataclasses import replace

import pytest

from builders import entry, managed, msec, order, provider, sprov, staged, target_ref
from keyturn.model.errors import AccessDenied, AuthFailed, Disabled, ProviderError, Rejected, Throttled, Unavailable
from keyturn.model.ids import Kind, ObjectRef
from keyturn.model.order import Admission, DeletionPolicy, FileConfig, ProviderOrder, ProviderRef, Selector
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()
FILES = ProviderRef(Kind.CLUSTER_SECRET_PROVIDER, "files")


async def stand(stage: Stage, what: object = None) -> None:
    stage.cluster.put(managed("app-db", what or order()))  # type: ignore[arg-type]  # an Order
    stage.start()
    await stage.quiet()
    assert stage.reason(APP) == "Synced"
    stage.tape.rewind()


@staged
async def test_a_part_that_is_gone_keeps_the_last_good_secret(stage: Stage) -> None:
    await stand(stage, order("password", "user", deletion=DeletionPolicy.DELETE))
    del stage.source().values["user"]
    await stage.passes(3600)
    assert stage.reason(APP) == "SourcePartlyMissing"
    assert stage.data(SECRET).keys() == {"password", "user"}
    assert stage.tape.only("apply", "delete", "strip") == []
    stage.source(user="kt-canary-back")
    await stage.passes(600)
    assert (stage.reason(APP), stage.data(SECRET)["user"]) == ("Synced", "kt-canary-back")


@staged
async def test_all_gone_keeps_the_last_good_secret_with_retain(stage: Stage) -> None:
    await stand(stage)
    stage.source().values.clear()
    await stage.passes(3600)
    assert stage.reason(APP) == "SourceDeleted"
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    stage.source(password="kt-canary-2")
    await stage.passes(600)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}


@staged
async def test_all_gone_takes_the_secret_with_delete_and_brings_it_back_when_they_return(stage: Stage) -> None:
    await stand(stage, order(deletion=DeletionPolicy.DELETE))
    stage.source().values.clear()
    await stage.passes(3600)
    assert SECRET not in stage.cluster.secrets
    assert stage.reason(APP) == "SourceDeleted"
    assert stage.events.reasons == ["SourceDeleted"]
    stage.tape.rewind()
    await stage.passes(7200)
    await stage.restart()
    await stage.passes(60)
    assert stage.tape.writes == [], "nothing more is said, also by the next process"
    assert stage.reason(APP) == "SourceDeleted"
    stage.source(password="kt-canary-2")
    await stage.passes(3600)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    assert stage.reason(APP) == "Synced"


@pytest.mark.parametrize(
    "trouble", [Unavailable("x"), Throttled("x"), AccessDenied("x"), AuthFailed("x"), Disabled("x")], ids=lambda e: type(e).__name__
)
@staged
async def test_no_trouble_ever_counts_as_gone(stage: Stage, trouble: ProviderError) -> None:
    await stand(stage, order("password", "user", deletion=DeletionPolicy.DELETE))
    stage.source().values.update(password=trouble, user=trouble)
    await stage.passes(7200)
    assert stage.data(SECRET).keys() == {"password", "user"}
    assert stage.tape.only("apply", "delete", "strip") == []


@staged
async def test_an_optional_that_comes_and_goes_is_a_key_that_comes_and_goes(stage: Stage) -> None:
    await stand(stage, order("password", entry("extra", optional=True), entry("region", default="kt-canary-eu")))
    assert stage.data(SECRET) == {"password": "kt-canary-1", "region": "kt-canary-eu"}
    stage.source(extra="kt-canary-x", region="kt-canary-us")
    await stage.passes(3600)
    assert stage.data(SECRET) == {"password": "kt-canary-1", "extra": "kt-canary-x", "region": "kt-canary-us"}
    del stage.source().values["extra"]
    del stage.source().values["region"]
    await stage.passes(3600)
    assert stage.data(SECRET) == {"password": "kt-canary-1", "region": "kt-canary-eu"}
    assert stage.reason(APP) == "Synced"


@staged
async def test_an_outage_is_silent_then_stale_then_over(stage: Stage) -> None:
    await stand(stage)
    stage.source().down = Unavailable("no answer")
    await stage.passes(2 * 3600)
    assert stage.tape.only("status", "apply") == []
    assert stage.events.of(APP) == []
    await stage.passes(2 * 3600)
    assert stage.events.of(APP) == ["Stale"]
    assert stage.reason(APP) == "Stale"
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert len(stage.tape.only("status")) == 1
    stage.source().down = None
    await stage.passes(600)
    assert stage.reason(APP) == "Synced"


@staged
async def test_a_long_quiet_life_does_not_make_the_first_failure_stale(stage: Stage) -> None:
    await stand(stage)
    await stage.passes(20 * 3600)
    read = len(stage.source().calls)
    await stage.until_time(lambda: len(stage.source().calls) > read, 3600)
    stage.source().down = Unavailable("no answer")
    await stage.passes(3 * 3600 - 10)
    assert stage.tape.only("status") == []
    assert stage.reason(APP) == "Synced"
    await stage.passes(20)
    assert stage.reason(APP) == "Stale", "three intervals after it was last read well"


@staged
async def test_a_restart_in_an_outage_says_nothing_before_its_time(stage: Stage) -> None:
    await stand(stage)
    stage.source().down = Unavailable("no answer")
    await stage.restart()
    await stage.passes(3600)
    assert stage.tape.only("status") == []
    await stage.passes(3 * 3600)
    assert stage.reason(APP) == "Stale"


@pytest.mark.parametrize("error", [AccessDenied("no"), AuthFailed("no")], ids=["AccessDenied", "AuthFailed"])
@staged
async def test_a_denial_is_said_at_once_and_stalls_after_ten_minutes(stage: Stage, error: ProviderError) -> None:
    await stand(stage)
    stage.source().values["password"] = error
    await stage.passes(3600)
    assert stage.reason(APP) == error.reason
    await stage.passes(1200)
    assert stage.status(APP).condition("Stalled") is not None
    assert len(stage.tape.only("status")) == 2, "one for the denial, one for Stalled"
    stage.tape.rewind()
    await stage.restart()
    await stage.passes(300)
    assert stage.tape.only("status") == []
    stage.source(password="kt-canary-1")
    await stage.passes(600)
    assert stage.reason(APP) == "Synced"


@staged
async def test_a_provider_that_is_not_there_wakes_its_users_when_it_comes(stage: Stage) -> None:
    stage.cluster.remove(sprov())
    stage.cluster.put(managed())
    stage.start()
    await stage.passes(3600)
    assert stage.reason(APP) == "ProviderNotFound"
    stage.cluster.put(provider())
    await stage.quiet()
    assert stage.reason(APP) == "Synced"


@staged
async def test_a_provider_that_comes_a_moment_later_is_not_missed_aloud(stage: Stage) -> None:
    stage.cluster.remove(sprov())
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    assert stage.tape.only("status", "event") == []
    stage.cluster.put(provider())
    await stage.quiet()
    assert stage.reason(APP) == "Synced"
    assert stage.events.posted == []


@staged
async def test_a_provider_that_is_not_ready_wakes_its_users_when_it_turns(stage: Stage) -> None:
    stage.source().down = AuthFailed("no")
    stage.cluster.put(provider(ready="False"))
    stage.cluster.put(managed())
    stage.start()
    await stage.passes(60)
    assert stage.reason(APP) == "ProviderNotReady"
    assert stage.source().calls == [], "no read is tried where the log-in fails"
    stage.source().down = None
    await stage.passes(300)
    assert stage.reason(APP) == "Synced"


@staged
async def test_a_provider_of_an_invalid_spec_is_not_ready(stage: Stage) -> None:
    stage.cluster.put(replace(provider(), order=Rejected("spec.provider: one of")))
    stage.cluster.put(managed())
    stage.start()
    await stage.passes(60)
    assert stage.reason(APP) == "ProviderNotReady"
    stage.cluster.edit(sprov(), order=ProviderOrder(FileConfig("vault")))
    await stage.quiet()
    assert stage.reason(APP) == "Synced"


@pytest.mark.parametrize("synced_before", [False, True], ids=["new", "synced"])
@staged
async def test_a_provider_that_the_operator_refuses_is_the_providers_trouble(stage: Stage, *, synced_before: bool) -> None:
    if synced_before:
        await stand(stage)
    stage.source().refused = Rejected("spec.provider.env.prefix: not allowed")
    if not synced_before:
        stage.cluster.put(managed())
        stage.start()
    await stage.restart()
    await stage.passes(60)
    assert stage.reason(APP) == ("Synced" if synced_before else "ProviderNotReady")


@staged
async def test_a_namespace_is_admitted_when_its_labels_turn(stage: Stage) -> None:
    stage.source("files", password="kt-canary-f")
    admissions = (Admission(selector=Selector({"team": "shop"})),)
    stage.cluster.put(provider("files", kind=Kind.CLUSTER_SECRET_PROVIDER, admissions=admissions))
    stage.cluster.put(managed("app-db", order(entry("password", provider=FILES))))
    stage.start()
    await stage.passes(60)
    assert stage.reason(APP) == "ProviderNotAllowed"
    assert stage.tape.only("fetch") == []
    stage.cluster.namespaces["shop"] = {"team": "shop"}
    stage.relabelled("shop")
    await stage.quiet()
    assert stage.reason(APP) == "Synced"
    stage.cluster.namespaces["shop"] = {"team": "other"}
    stage.relabelled("shop")
    await stage.quiet()
    assert stage.reason(APP) == "ProviderNotAllowed"
    assert stage.data(SECRET) == {"password": "kt-canary-f"}, "the last good Secret stays"


@staged
async def test_the_default_provider_is_not_open(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order(entry("password", provider=None))))
    await stage.settle(APP)
    assert stage.reason(APP) == "ProviderNotAllowed"


@staged
async def test_a_neighbours_provider_is_out_of_reach(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order(), namespace="other"))
    stage.start()
    await stage.passes(60)
    assert stage.reason(ObjectRef(Kind.MANAGED_SECRET, "other", "app-db")) == "ProviderNotFound"
    assert stage.tape.only("fetch") == []


@pytest.mark.parametrize(
    ("own", "of_provider", "served"),
    [("", "", True), ("", "default", True), ("", "blue", False), ("blue", "blue", True), ("blue", "", False)],
)
@staged
async def test_an_operator_serves_its_class_alone(stage: Stage, own: str, of_provider: str, *, served: bool) -> None:
    stage.world.controller_class = own
    stage.cluster.put(provider(controller_class=of_provider, generation=2))
    stage.cluster.put(managed())
    stage.start()
    await stage.passes(10)
    assert (SECRET in stage.cluster.secrets) is served
    assert bool(stage.tape.writes) is served
    assert bool(stage.tape.only("status-provider")) is served


@staged
async def test_providers_of_two_classes_are_an_invalid_spec(stage: Stage) -> None:
    stage.cluster.put(provider("blue", controller_class="blue"))
    both = order("password", entry("token", provider=ProviderRef(Kind.SECRET_PROVIDER, "blue")))
    stage.cluster.put(managed("app-db", both))
    await stage.settle(APP)
    assert stage.reason(APP) == "InvalidSpec"
    assert stage.tape.only("fetch") == []
