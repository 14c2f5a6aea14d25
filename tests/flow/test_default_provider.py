"""A ManagedSecret that names no provider: from the default one where that is open, and refused elsewhere."""

from builders import entry, managed, msec, order, sprov, staged, target_ref
from keyturn.model.errors import AuthFailed
from keyturn.model.ids import DEFAULT_PROVIDER, Kind, ObjectRef, SecretRef
from keyturn.model.objects import Managed
from keyturn.model.order import Order, ProviderOrder
from keyturn.model.status import SourceStatus
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()


def plain(*keys: str) -> Order:
    return order(*(entry(key, provider=None) for key in keys or ("password",)))


def without_ref(name: str = "app-db", namespace: str = "shop") -> Managed:
    return managed(name, plain(), namespace=namespace)


@staged
async def test_it_is_refused_where_nothing_is_listed(stage: Stage) -> None:
    stage.cluster.put(without_ref())
    await stage.settle(APP)
    ready = stage.status(APP).condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "ProviderNotAllowed")
    assert "not open to namespace shop" in ready.message
    assert "SECRETS_PROVIDER_NAMESPACES" in ready.message
    assert stage.tape.only("fetch") == []
    assert SECRET not in stage.cluster.secrets


@staged
async def test_it_is_synced_in_a_listed_namespace_and_refused_in_the_next(stage: Stage) -> None:
    stage.open_default("shop").values["password"] = "kt-canary-default"
    stage.cluster.put(without_ref())
    stage.cluster.put(without_ref(namespace="bank"))
    stage.start()
    await stage.quiet()
    assert stage.data(SECRET) == {"password": "kt-canary-default"}
    assert stage.status(APP).sources == (SourceStatus("default", "password"),)
    assert stage.cluster.secrets[SECRET].annotations["keyturn.dev/source"] == "default:password"
    assert stage.reason(msec(namespace="bank")) == "ProviderNotAllowed"
    assert SecretRef("bank", "app-db") not in stage.cluster.secrets


@staged
async def test_it_is_refused_where_it_was_synced_once_its_namespace_is_taken_off_the_list(stage: Stage) -> None:
    stage.open_default("shop").values["password"] = "kt-canary-default"
    stage.cluster.put(without_ref())
    await stage.settle(APP)
    stage.open_default("bank")
    await stage.restart()
    stage.cluster.edit(APP, order=plain("password", "user"))
    await stage.settle(APP)
    assert stage.reason(APP) == "ProviderNotAllowed"
    assert stage.data(SECRET) == {"password": "kt-canary-default"}


@staged
async def test_a_star_opens_it_to_all_and_labels_open_it_to_nobody(stage: Stage) -> None:
    stage.cluster.namespaces["shop"] = {"shop": "shop"}
    source = stage.open_default("bank")
    source.values["password"] = "kt-canary-default"
    stage.cluster.put(without_ref())
    await stage.settle(APP)
    assert stage.reason(APP) == "ProviderNotAllowed"
    stage.open_default("*")
    await stage.settle(APP)
    assert stage.reason(APP) == "Synced"


@staged
async def test_a_new_value_of_it_arrives_in_its_slot_and_is_audited(stage: Stage) -> None:
    source = stage.open_default("shop")
    source.values["password"] = "kt-canary-1"
    stage.cluster.put(without_ref())
    stage.start()
    await stage.quiet()
    source.values["password"] = "kt-canary-2"
    stage.tape.rewind()
    await stage.passes(3600)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    assert "intend provider.read default" in stage.tape.lines


@staged
async def test_one_secret_can_come_from_it_and_from_another(stage: Stage) -> None:
    stage.open_default("shop").values["token"] = "kt-canary-token"
    stage.cluster.put(managed(what=order("password", entry("token", provider=None))))
    await stage.settle(APP)
    assert stage.data(SECRET) == {"password": "kt-canary-1", "token": "kt-canary-token"}
    assert stage.cluster.using(DEFAULT_PROVIDER) == stage.cluster.using(sprov()) == [APP]


@staged
async def test_it_is_checked_like_others_but_nothing_of_it_is_written_to_the_cluster(stage: Stage) -> None:
    source = stage.open_default("shop")
    source.down = AuthFailed("the token was refused")
    stage.start()
    stage.cluster.put(without_ref())
    await stage.quiet()
    ready = stage.cluster.default.status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "AuthFailed")
    assert stage.reason(APP) == "ProviderNotReady"
    assert [line for line in stage.tape.writes if "default" in line] == []
    assert stage.events.reasons == ["ProviderNotReady"]  # told on the ManagedSecret, and nothing on the provider
    source.down = None
    source.values["password"] = "kt-canary-late"
    await stage.until_time(lambda: stage.reason(APP) == "Synced", 600)
    assert stage.cluster.default.status.conditions[0].reason == "Valid"


@staged
async def test_nobody_logs_in_to_it_where_nobody_may_use_it(stage: Stage) -> None:
    stage.start()
    await stage.restart()
    await stage.quiet()
    assert stage.source("default").log_ins == 0
    stage.open_default("shop")
    await stage.quiet()
    assert stage.source("default").log_ins == 1
    await stage.restart()
    await stage.quiet()
    assert stage.source("default").log_ins == 2


@staged
async def test_it_belongs_to_the_operator_without_a_class(stage: Stage) -> None:
    stage.controller_class = "blue"
    await stage.restart()
    stage.cluster.put(without_ref())
    stage.tape.rewind()
    await stage.settle(APP)
    assert stage.tape.lines == []
    assert stage.reason(APP) == ""


@staged
async def test_it_goes_with_no_provider_of_another_class(stage: Stage) -> None:
    stage.open_default("shop")
    held = stage.cluster.objects[sprov()].order
    assert isinstance(held, ProviderOrder)
    stage.cluster.edit(sprov(), order=ProviderOrder(held.config, controller_class="blue"))
    stage.cluster.put(managed(what=order("password", entry("token", provider=None))))
    await stage.settle(APP)
    assert stage.reason(APP) == "InvalidSpec"


def test_no_object_can_be_called_as_it_is() -> None:
    assert str(DEFAULT_PROVIDER) == "default"
    assert ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "", "default") != DEFAULT_PROVIDER
    assert str(ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "", "default")) == "ClusterSecretProvider/default"
