"""The ground shakes: whatever happens to the API server and to the operator's rights, it recovers, or ends and says why."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary import Canary
from cluster.api import ApiError
from cluster.audit import mark, requests, writes
from cluster.kubelet import Kubelet, refused, works
from cluster.process import Operator
from cluster.proxy import Asked, Proxy
from cluster.shop import Shop, encoded
from cluster.waiting import always, eventually
from controlplane.installation import NAMESPACE, ROOT, SERVICE_ACCOUNT
from controlplane.plane import ControlPlane
from effort import effort
from evidence import counted


@pytest.fixture
def kubelet(own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary) -> Iterator[Kubelet]:
    """One with an operator that runs and has synced `app`, whose source is `password`."""
    with Operator(own_home, tmp_path) as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        own_shop.source(password=own_shop.value())
        own_shop.synced("app", refreshInterval="1s")
        yield Kubelet(operator)


def test_the_api_server_is_killed_and_comes_back(own_home: ControlPlane, own_shop: Shop, kubelet: Kubelet) -> None:
    away_s = effort(3, 45)
    own_home.kill("kube-apiserver")
    began = time.monotonic()
    own_shop.source(password=(value := own_shop.value()))
    kubelet.until(lambda: time.monotonic() > began + away_s)
    own_home.start("kube-apiserver")
    kubelet.until(lambda: own_shop.data("app") == {"password": value})
    works(own_shop, kubelet)
    kubelet.tell(f"API server away for {away_s} s")


def test_what_happened_behind_a_compaction_is_noticed_and_nothing_stale_is_acted_on(
    own_home: ControlPlane, own_shop: Shop, kubelet: Kubelet
) -> None:
    """The operator is frozen while objects and Secrets go, and its watches' positions are then too old for the API server."""
    for name in ("orphaned", "deleted", "gone", "changed", "foreign"):
        own_shop.synced(name, refreshInterval="1s")
    last = own_shop.data("orphaned")
    own_shop.collector_knows_all()
    kubelet.operator.freeze()
    own_home.kubectl("delete", "managedsecret", "orphaned", f"--namespace={own_shop.namespace}", "--cascade=orphan", "--timeout=60s")
    own_shop.remove("deleted", propagationPolicy="Background")
    eventually(lambda: own_shop.find("deleted") is None)
    own_shop.api.delete("Secret", own_shop.namespace, "gone")
    own_shop.edit("changed", data=encoded(password="edited"))
    own_shop.remove("foreign", propagationPolicy="Background")
    eventually(lambda: own_shop.find("foreign") is None)
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "foreign", "namespace": own_shop.namespace}}
    theirs = own_shop.api.create({**head, "data": encoded(password="theirs")})["metadata"]["resourceVersion"]
    own_shop.source(password=(value := own_shop.value()))
    own_home.compact_etcd()
    own_home.kill("kube-apiserver")
    own_home.start("kube-apiserver")
    since = mark(own_home)
    kubelet.operator.thaw()
    kubelet.until(lambda: all(own_shop.data(name) == {"password": value} for name in ("app", "gone", "changed")))
    works(own_shop, kubelet)
    always(lambda: own_shop.data("orphaned") == last and own_shop.find("deleted") is None, 3, "something stale was acted on")
    assert own_shop.secret("foreign")["metadata"]["resourceVersion"] == theirs
    done = [r for r in writes(requests(own_home, since=since), "secrets") if r.name in ("orphaned", "deleted", "foreign") and r.code < 400]
    assert [str(r) for r in done] == []
    kubelet.tell("compaction")


def test_the_kind_is_deleted_and_made_again(own_home: ControlPlane, own_shop: Shop, kubelet: Kubelet) -> None:
    own_shop.synced("kept", target={"creationPolicy": "Orphan"})
    kept = own_shop.data("kept")
    manifest = f"{ROOT}/crds/keyturn.dev_managedsecrets.yaml"
    own_home.kubectl("delete", f"--filename={manifest}", "--timeout=60s")
    kubelet.until(lambda: own_shop.find("app") is None)
    began = time.monotonic()
    kubelet.until(lambda: time.monotonic() > began + 3)
    assert own_shop.find("app") is None
    assert own_shop.data("kept") == kept
    own_home.kubectl("create", f"--filename={manifest}")
    own_home.kubectl("wait", "--for=condition=Established", f"--filename={manifest}", "--timeout=30s")
    own_shop.source(password=(value := own_shop.value()))
    for name in ("app", "kept"):
        _order_when_served(own_shop, kubelet, name)
    kubelet.until(lambda: own_shop.data("app") == {"password": value} == own_shop.data("kept"))
    works(own_shop, kubelet)
    kubelet.tell("CRD deleted and made again")


def test_the_right_to_secrets_is_taken_away_and_given_back(own_home: ControlPlane, own_shop: Shop, kubelet: Kubelet) -> None:
    role = own_home.kubectl("get", "clusterrole", "keyturn", "--output=json").stdout
    less = json.loads(role)
    less["rules"] = [rule for rule in less["rules"] if rule["resources"] != ["secrets"]]
    del less["metadata"]["resourceVersion"]
    own_home.kubectl("replace", "--filename=-", input=json.dumps(less))
    eventually(lambda: _may_not_create_secrets(own_home, own_shop))
    own_shop.order("new")
    kubelet.until(lambda: own_shop.ready("new").get("status") == "False")
    assert "give the operator's ServiceAccount this right back" in own_shop.ready("new")["message"]
    given = json.loads(role)
    del given["metadata"]["resourceVersion"]
    own_home.kubectl("replace", "--filename=-", input=json.dumps(given))
    kubelet.until(lambda: own_shop.data("new"))
    works(own_shop, kubelet)
    kubelet.tell("the right to Secrets away")


def test_all_rights_are_taken_away_and_given_back(own_home: ControlPlane, own_shop: Shop, kubelet: Kubelet) -> None:
    """And the API server restarts meanwhile, so that every watch has to begin anew without them."""
    binding = own_home.kubectl("get", "clusterrolebinding", "keyturn", "--output=json").stdout
    own_home.kubectl("delete", "clusterrolebinding", "keyturn")
    since = mark(own_home)
    own_home.kill("kube-apiserver")
    own_home.start("kube-apiserver")
    own_shop.source(password=(value := own_shop.value()))
    kubelet.until(lambda: refused(own_home, since, 403))
    assert kubelet.operator.readiness() != "ok"
    restored = json.loads(binding)
    del restored["metadata"]["resourceVersion"]
    own_home.kubectl("create", "--filename=-", input=json.dumps(restored))
    kubelet.until(lambda: own_shop.data("app") == {"password": value})
    works(own_shop, kubelet)
    kubelet.tell("all rights away")


def _all(asked: Asked) -> bool:
    return True


def _of_secrets(asked: Asked) -> bool:
    return asked.secret is not None


def _of_lists(asked: Asked) -> bool:
    return asked.verb == "GET"


@pytest.mark.parametrize("applies", [_all, _of_secrets])
@pytest.mark.parametrize(("status", "reason", "retry_after_s"), [(429, "TooManyRequests", 1), (503, "ServiceUnavailable", 0)])
def test_a_busy_api_server_is_given_time(
    own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary, applies: object, status: int, reason: str, retry_after_s: int
) -> None:
    assert callable(applies)
    busy_s, objects = effort(4, 30), 20
    with Proxy.run(own_home) as proxy, Operator(own_home, tmp_path, kubeconfig=proxy.kubeconfig(tmp_path)) as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        kubelet = Kubelet(operator)
        own_shop.source(password=own_shop.value())
        own_shop.synced("app", refreshInterval="1s")
        with proxy.refuse(applies, status, reason, retry_after_s):
            for n in range(objects):
                own_shop.order(f"new-{n:02}")
            began = time.monotonic()
            kubelet.until(lambda: time.monotonic() > began + busy_s)
        # Each object, watch and list once a second at most, on the way to fewer.
        assert len(proxy.refused) <= (objects + 10) * (busy_s + 2), f"hot: {len(proxy.refused)} in {busy_s} s"
        kubelet.until(lambda: len(own_shop.api.items("Secret", own_shop.namespace)) == objects + 1)
        works(own_shop, kubelet)
        kubelet.tell(f"{status} for {busy_s} s, {len(proxy.refused)} refused")


@pytest.mark.parametrize("applies", [_all, _of_lists, _of_secrets])
@pytest.mark.parametrize(("status", "reason", "retry_after_s"), [(429, "TooManyRequests", 1), (503, "ServiceUnavailable", 0)])
def test_an_operator_that_starts_while_the_api_server_is_busy_waits_for_it(
    own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary, applies: object, status: int, reason: str, retry_after_s: int
) -> None:
    assert callable(applies)
    busy_s = 4
    own_shop.source(password=own_shop.value())
    own_shop.order("app", refreshInterval="1s")
    with Proxy.run(own_home) as proxy:
        operator = Operator(own_home, tmp_path, kubeconfig=proxy.kubeconfig(tmp_path))
        kubelet = Kubelet(operator)
        canary.watch_file(operator.log_file)
        try:
            with proxy.refuse(applies, status, reason, retry_after_s):
                operator.start(wait=False)
                kubelet.until(lambda: bool(proxy.refused))
                began = time.monotonic()
                kubelet.until(lambda: time.monotonic() > began + busy_s)
                assert operator.readiness() != "ok"
            kubelet.until(lambda: operator.readiness() == "ok")
            works(own_shop, kubelet)
            kubelet.tell(f"started into {status} for {busy_s} s, {len(proxy.refused)} refused")
        finally:
            if operator.is_running:
                operator.stop()


def test_a_killed_operator_is_carried_on_from_where_it_was(
    own_home: ControlPlane, own_shop: Shop, kubelet: Kubelet, request: pytest.FixtureRequest
) -> None:
    """Each Secret is made once, and each object is ready in the end, wherever the kills fell."""
    kills, objects = counted(request, effort(3, 20), 20, "kills"), 60
    since = mark(own_home)
    for n in range(kills):
        for m in range(objects // kills):
            own_shop.order(f"new-{n:02}-{m:02}")
        eventually(lambda n=n: own_shop.find(f"new-{n:02}-00"))  # type: ignore[misc]  # a default binds the loop variable
        kubelet.operator.kill()
        kubelet.operator.start()
    for n in range(kills):
        for m in range(objects // kills):
            own_shop.wait(f"new-{n:02}-{m:02}")
    made = [r.name for r in writes(requests(own_home, since=since), "secrets") if r.verb == "create" and r.code == 201]
    assert len(made) == len(set(made)), "one was made twice"
    assert len(own_shop.api.items("Secret", own_shop.namespace)) == objects // kills * kills + 1


def test_a_frozen_operator_acts_on_nothing_stale_when_it_thaws(own_home: ControlPlane, own_shop: Shop, kubelet: Kubelet) -> None:
    """Without any restart of the API server: its connections just kept what it did not read."""
    for n in range(10):
        own_shop.synced(f"doomed-{n}", refreshInterval="1s")
    kubelet.operator.freeze()
    own_home.kubectl("delete", "managedsecrets", "--all", f"--namespace={own_shop.namespace}", "--timeout=60s")
    eventually(lambda: own_shop.api.items("Secret", own_shop.namespace) == [])
    own_shop.source(password=own_shop.value())
    since = mark(own_home)
    kubelet.operator.thaw()
    always(lambda: own_shop.api.items("Secret", own_shop.namespace) == [], 4, "a ghost")
    assert [str(r) for r in writes(requests(own_home, since=since), "secrets") if r.code < 400] == []


def _order_when_served(shop: Shop, kubelet: Kubelet, name: str) -> None:
    def ordered() -> bool:
        try:
            shop.order(name, refreshInterval="1s", target={"adopt": True})
        except ApiError as error:
            if error.status not in (404, 503):
                raise
            return False
        return True

    kubelet.until(ordered)


def _may_not_create_secrets(plane: ControlPlane, shop: Shop) -> bool:
    who = f"--as=system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
    return plane.kubectl("auth", "can-i", "create", "secrets", who, f"--namespace={shop.namespace}", check=False).stdout.strip() == "no"
