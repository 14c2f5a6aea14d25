"""How often the operator asks the API server, counted where it counts: in the server's own audit log."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.audit import REFERRED, Request, mark, requests, tally, writes
from cluster.process import Operator
from cluster.proxy import Asked, Proxy
from cluster.shop import Shop, encoded
from cluster.waiting import always, eventually
from controlplane.plane import ControlPlane
from effort import effort
from evidence import counted

QUIET_S = 1.0
OWN_KEYS = {("keyturn-system", name) for name in ("keyturn-fingerprint-key", "keyturn-audit-key")}
OWN_CONFIG_MAP = ("configmaps", "keyturn-system", "keyturn-audit-head")


def syncs(operator: Operator, outcome: str) -> float:
    return operator.metric("keyturn_sync_duration_seconds_count", outcome=outcome)


def in_shop(plane: ControlPlane, shop: Shop, since: int) -> list[Request]:
    """What our client asked in the shop's namespace; Kopf asks for no single object."""
    found = requests(plane, since=since)
    assert not [r for r in found if not r.is_ours and r.name]
    return [r for r in found if r.namespace == shop.namespace]


def test_a_new_object_is_two_writes_and_no_read(shop: Shop, home: ControlPlane) -> None:
    shop.source(password=shop.value())
    shop.synced("warm")
    since = mark(home)
    names = [f"app-{n}" for n in range(20)]
    for name in names:
        shop.order(name)
    for name in names:
        shop.wait(name)
    always(lambda: len(in_shop(home, shop, since)) <= 2 * len(names), QUIET_S, lambda: str(tally(in_shop(home, shop, since))))
    assert tally(in_shop(home, shop, since)) == {"create secrets": len(names), "patch managedsecrets/status": len(names)}


def test_a_spec_that_orders_the_same_secret_costs_a_look_at_its_type_and_the_status(shop: Shop, home: ControlPlane) -> None:
    shop.source(password=shop.value())
    shop.synced("app")
    since = mark(home)
    shop.change("app", refreshInterval="2h")
    shop.wait("app")
    expected = {"get secrets": 1, "patch managedsecrets/status": 1}
    always(lambda: tally(in_shop(home, shop, since)) == expected, QUIET_S, lambda: str(tally(in_shop(home, shop, since))))


def test_ten_refreshes_without_a_change_are_no_request_at_all(shop: Shop, home: ControlPlane, operator: Operator) -> None:
    shop.source(password=shop.value())
    for n in range(5):
        shop.synced(f"app-{n}", refreshInterval="1s")
    since = mark(home)

    def reads() -> float:
        return operator.metric("keyturn_provider_call_duration_seconds_count", provider="file", call="get_many")

    before = reads()
    eventually(lambda: reads() >= before + 10, 60, "ten reads of the provider")
    assert in_shop(home, shop, since) == []


def test_a_changed_value_is_one_write_of_the_secret_one_of_the_status_and_one_event(shop: Shop, home: ControlPlane) -> None:
    shop.source(password=shop.value(), other=shop.value())
    shop.synced("app", refreshInterval="1s")
    shop.synced("other", {"password": "other"}, refreshInterval="1s")
    since = mark(home)
    shop.source(password=(value := shop.value()))
    eventually(lambda: shop.data("app") == {"password": value})
    once = {"patch secrets": 1, "patch managedsecrets/status": 1, "create events": 1}
    eventually(lambda: tally(in_shop(home, shop, since)) == once, what=lambda: str(tally(in_shop(home, shop, since))))
    always(lambda: tally(in_shop(home, shop, since)) == once, QUIET_S)


def test_a_repair_is_one_write_and_one_event(shop: Shop, home: ControlPlane) -> None:
    shop.source(password=(value := shop.value()))
    shop.synced("app")
    since = mark(home)
    shop.edit("app", data=encoded(password="edited"))
    eventually(lambda: shop.data("app") == {"password": value})
    once = {"patch secrets": 1, "create events": 1}
    eventually(lambda: tally(in_shop(home, shop, since)) == once, what=lambda: str(tally(in_shop(home, shop, since))))
    always(lambda: tally(in_shop(home, shop, since)) == once, QUIET_S)


def test_what_others_write_beside_ours_is_no_request(shop: Shop, home: ControlPlane) -> None:
    shop.source(password=shop.value())
    shop.synced("app")
    since = mark(home)
    shop.edit("app", metadata={"labels": {"their": "label"}, "annotations": {"their": "annotation"}}, data=encoded(theirs="theirs"))
    shop.api.merge("ManagedSecret", shop.namespace, "app", {"metadata": {"labels": {"their": "label"}}})
    always(lambda: in_shop(home, shop, since) == [], QUIET_S, lambda: str(tally(in_shop(home, shop, since))))


def test_a_restart_writes_nothing_where_all_is_in_sync(
    shop: Shop, home: ControlPlane, operator: Operator, request: pytest.FixtureRequest
) -> None:
    count = counted(request, effort(200, 1000), 1000, "objects")
    shop.source(password=shop.value())
    for n in range(count):
        shop.order(f"app-{n:04}", {"password": "password"}, refreshInterval="1h")
    eventually(lambda: _synced(shop) == count, 120, lambda: f"all synced, {_synced(shop)} are")
    since = mark(home)
    operator.restart()
    eventually(lambda: syncs(operator, "Synced") >= count, 60, lambda: f"all looked at: {syncs(operator, 'Synced')}")
    always(lambda: not writes(requests(home, since=since), "secrets", "managedsecrets"), QUIET_S)
    asked = requests(home, since=since)
    assert not [r for r in asked if r.verb == "get" and r.namespace == shop.namespace], "single objects were read"
    print(f"restart with {count} synced objects: {tally(asked)}")


@pytest.fixture
def proxy(home: ControlPlane) -> Iterator[Proxy]:
    with Proxy.run(home) as running:
        yield running


@pytest.mark.usefixtures("collector")
def test_data_of_secrets_are_asked_for_by_name_alone(
    shop: Shop, home: ControlPlane, operator: Operator, proxy: Proxy, tmp_path: Path
) -> None:
    """Over a life with all that reads or writes Secrets: every list, every watch and every write wants metadata back."""
    assert operator.stop() == 0
    with Operator(home, operator.sources, "--relist-period=1s", name="watched", kubeconfig=proxy.kubeconfig(tmp_path)) as watched:
        _live(shop, watched)
    about = [asked for asked in proxy.asked if asked.secret is not None]
    collections = [asked for asked in about if asked.verb == "GET" and asked.secret and not asked.secret[1]]
    singles = [asked for asked in about if asked.verb == "GET" and asked.secret and asked.secret[1]]
    written = [asked for asked in about if asked.verb != "GET"]
    assert collections
    assert written
    assert [str(a) for a in collections if not a.wants_metadata or not a.is_narrow] == []
    assert [str(a) for a in written if not a.wants_metadata] == []
    referred = {(namespace, name) for resource, namespace, name in REFERRED if resource == "secrets"}
    assert {a.secret for a in singles if not a.wants_metadata} - referred == OWN_KEYS
    assert not [str(a) for a in proxy.asked if a.agent.endswith(" kopf") and "keyturn.dev" not in a.path and _reads_objects(a)]


def test_no_list_or_watch_of_secrets_goes_without_our_selector_or_a_name_that_a_spec_has(home: ControlPlane, shop: Shop) -> None:
    """In all that this control plane's operators have asked so far."""
    found = [r for r in requests(home) if r.resource in ("secrets", "configmaps") and r.verb in ("list", "watch")]
    assert found
    assert [f"{r} {r.uri}" for r in found if not r.is_narrow] == []
    known = {*REFERRED, OWN_CONFIG_MAP}
    strange = [r for r in requests(home) if r.resource == "configmaps" and ("configmaps", r.namespace, r.name) not in known]
    assert [str(r) for r in strange] == []


def _live(shop: Shop, operator: Operator) -> None:
    shop.source(password=shop.value(), other=shop.value())
    shop.synced("app", refreshInterval="1s")
    shop.edit("app", data=encoded(password="edited"))
    shop.source(password=(value := shop.value()))
    eventually(lambda: shop.data("app") == {"password": value})
    shop.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": shop.namespace}, "data": {}})
    shop.order("theirs")
    shop.wait("theirs", "TargetNotOwned")
    shop.change("theirs", target={"adopt": True})
    shop.wait("theirs")
    shop.api.delete("Secret", shop.namespace, "app")
    eventually(lambda: shop.data("app") == {"password": value})
    shop.change("app", target={"template": {"type": "kubernetes.io/basic-auth"}})
    eventually(lambda: (shop.find("app") or {}).get("type") == "kubernetes.io/basic-auth", what=lambda: shop.status("app"))
    shop.change("theirs", data=[{"secretKey": "renamed", "remoteRef": {"key": "other"}}])
    shop.wait("theirs")
    shop.remove("theirs", propagationPolicy="Background")
    eventually(lambda: shop.find("theirs") is None)
    operator.restart()
    shop.resync("app")


def _reads_objects(asked: Asked) -> bool:
    return asked.path.startswith("/api/v1/") or (asked.path.startswith("/apis/") and asked.path.count("/") > 3)


def _synced(shop: Shop) -> int:
    return sum(
        1
        for m in shop.api.items("ManagedSecret", shop.namespace)
        if any(c["reason"] == "Synced" for c in m["status"].get("conditions", ()))
    )
