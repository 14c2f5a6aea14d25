"""A ManagedSecret becomes a Secret: the effects of it, in their order."""

from builders import entry, managed, msec, order, provider, staged, target_ref
from keyturn.decide.judge import BUSY_MAX_S
from keyturn.model.errors import Busy, ClusterConflict, Rejected
from keyturn.model.ids import Kind
from keyturn.model.order import ProviderRef
from keyturn.testing.world import Stage

APP = msec()
SECRET = target_ref()


@staged
async def test_a_new_object_is_one_create_and_one_status_and_no_read(stage: Stage) -> None:
    stage.cluster.put(managed())
    await stage.settle(APP)
    assert stage.tape.lines == [
        "intend provider.read SecretProvider/shop/vault",
        "fetch vault password",
        "settle provider.read success",
        "intend secret.create Secret/shop/app-db",
        "create Secret/shop/app-db",
        "settle secret.create success",
        "status ManagedSecret/shop/app-db",
    ]
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert stage.reason(APP) == "Synced"
    assert stage.events.posted == []


@staged
async def test_an_unchanged_object_does_nothing(stage: Stage) -> None:
    stage.cluster.put(managed())
    await stage.settle(APP)
    stage.tape.rewind()
    for _ in range(10):
        await stage.settle(APP)
    assert stage.tape.lines == []


@staged
async def test_a_restart_with_everything_as_it_was_does_nothing(stage: Stage) -> None:
    for n in range(20):
        stage.cluster.put(managed(f"app-{n}"))
    stage.start()
    await stage.quiet()
    stage.tape.rewind()
    await stage.restart()
    await stage.quiet()
    assert stage.tape.writes == []
    assert stage.tape.reads == []
    assert stage.tape.only("fetch") == []


@staged
async def test_a_new_value_is_one_apply_and_one_status_and_is_told(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    before = stage.status(APP)
    stage.source(password="kt-canary-2")
    stage.tape.rewind()
    await stage.passes(3600)
    assert stage.tape.writes == ["apply Secret/shop/app-db", "status ManagedSecret/shop/app-db"]
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    assert stage.events.reasons == ["Updated"]
    after = stage.status(APP)
    assert after.revision != before.revision
    assert after.last_change > before.last_change


@staged
async def test_a_key_that_leaves_the_spec_leaves_the_secret(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order("password", "user")))
    await stage.settle(APP)
    stage.cluster.edit(APP, order=order("password"))
    stage.tape.rewind()
    await stage.settle(APP)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert stage.tape.writes == ["apply Secret/shop/app-db", "strip Secret/shop/app-db", "status ManagedSecret/shop/app-db"]


@staged
async def test_a_changed_interval_changes_nothing_in_the_secret(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    before = stage.status(APP)
    await stage.passes(60)
    stage.cluster.edit(APP, order=order(interval_s=60.0))
    await stage.quiet()
    after = stage.status(APP)
    assert (after.generation, after.revision, after.last_change) == (2, before.revision, before.last_change)
    assert stage.events.posted == []
    stage.tape.rewind()
    await stage.passes(600)
    assert stage.tape.writes == []


@staged
async def test_several_providers_feed_one_secret(stage: Stage) -> None:
    stage.source("other", token="kt-canary-t")
    stage.cluster.put(provider("other"))
    two = order("password", entry("token", provider=ProviderRef(Kind.SECRET_PROVIDER, "other")))
    stage.cluster.put(managed("app-db", two))
    await stage.settle(APP)
    assert stage.data(SECRET) == {"password": "kt-canary-1", "token": "kt-canary-t"}


@staged
async def test_two_keys_of_one_value_are_one_read_of_one_reference(stage: Stage) -> None:
    stage.source(db='{"user": "kt-canary-u", "password": "kt-canary-p"}')
    both = order(entry("user", "db", property="user"), entry("password", "db", property="password"))
    stage.cluster.put(managed("app-db", both))
    await stage.settle(APP)
    assert [len(call) for call in stage.source().calls] == [1]
    assert stage.data(SECRET) == {"user": "kt-canary-u", "password": "kt-canary-p"}


@staged
async def test_nothing_is_written_while_a_source_is_missing(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order("password", "absent")))
    await stage.settle(APP)
    assert stage.tape.writes == ["status ManagedSecret/shop/app-db"]
    assert stage.reason(APP) == "SourceNotFound"
    assert stage.events.reasons == ["SourceNotFound"]


@staged
async def test_the_same_failure_is_said_once(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order("absent")))
    stage.start()
    await stage.passes(600)
    assert len(stage.tape.only("status")) == 1
    assert stage.events.reasons == ["SourceNotFound"]
    assert len(stage.source().calls) > 3, "it is tried again all the same"


@staged
async def test_what_appears_at_the_provider_is_written_soon(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order("late")))
    stage.start()
    await stage.passes(30)
    stage.source(late="kt-canary-late")
    await stage.passes(60)
    assert stage.data(SECRET) == {"late": "kt-canary-late"}
    assert stage.reason(APP) == "Synced"


@staged
async def test_an_object_of_an_invalid_spec_writes_its_status_once_and_waits(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", Rejected("spec.data: name at least one key")))
    stage.start()
    await stage.passes(3600)
    assert stage.tape.only("status") == ["status ManagedSecret/shop/app-db"]
    assert stage.reason(APP) == "InvalidSpec"
    stage.cluster.edit(APP, order=order())
    await stage.quiet()
    assert stage.reason(APP) == "Synced"


@staged
async def test_a_lost_answer_to_a_create_ends_in_one_secret(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.cluster.fail("create", Busy("no answer"), after=True)
    stage.start()
    await stage.passes(10)
    assert stage.reason(APP) == "Synced"
    assert len(stage.tape.only("create")) <= 2
    assert stage.status(APP).target is not None


@staged
async def test_a_create_that_meets_our_own_secret_takes_it(stage: Stage) -> None:
    stage.cluster.put(managed())
    await stage.settle(APP)
    # The status was lost, and the watch has not brought the Secret yet.
    stage.cluster.put(managed())
    stage.cluster._seen.clear()
    stage.start()
    await stage.passes(1)
    assert stage.reason(APP) == "Synced"
    assert stage.tape.only("create", "look")[-2:] == ["create Secret/shop/app-db", "look Secret/shop/app-db"]


@staged
async def test_an_api_server_that_is_away_is_asked_ever_more_rarely_and_nothing_is_said(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.cluster.fail("create", Busy("503"), times=1000)
    stage.start()
    await stage.passes(600)
    assert stage.tape.only("status", "event") == []
    assert 600 / BUSY_MAX_S <= len(stage.tape.only("create")) < 50


@staged
async def test_a_lost_status_is_written_again_without_touching_the_secret(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.cluster.fail("status", ClusterConflict("moved"))
    stage.start()
    await stage.passes(10)
    assert stage.tape.writes == ["create Secret/shop/app-db", "status ManagedSecret/shop/app-db", "status ManagedSecret/shop/app-db"]
    assert stage.reason(APP) == "Synced"


@staged
async def test_a_namespace_that_ends_is_left_in_silence(stage: Stage) -> None:
    stage.cluster.terminating.add("shop")
    stage.cluster.put(managed())
    stage.start()
    await stage.passes(3600)
    assert stage.tape.writes == ["create Secret/shop/app-db"]
    assert stage.events.posted == []


@staged
async def test_a_secret_of_a_type_that_lacks_its_keys_is_an_invalid_spec(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order("password", type="kubernetes.io/tls")))
    await stage.settle(APP)
    assert stage.reason(APP) == "InvalidSpec"
    assert SECRET not in stage.cluster.secrets


@staged
async def test_no_status_event_or_audit_entry_shows_a_value(stage: Stage) -> None:
    stage.source(bad="kt-canary-no-json")
    stage.cluster.put(managed("app-db", order("password", entry("x", "bad", property="p"))))
    stage.cluster.put(managed("good"))
    await stage.settle(APP)
    await stage.settle(msec("good"))
    said = repr([stage.status(APP), stage.status(msec("good")), stage.events.posted, stage.audit.entries, stage.tape.lines])
    assert stage.reason(APP) == "SourceInvalid"
    assert "kt-canary" not in said
