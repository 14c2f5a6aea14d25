"""The variant for chosen namespaces: Roles only, no cluster kinds, and nothing beyond."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from canary import Canary
from cluster.api import Api
from cluster.audit import requests
from cluster.process import Operator
from cluster.shop import Shop, encoded, fake, managed_secret, secret_provider
from cluster.waiting import always, eventually
from controlplane.installation import NAMESPACE, ROOT
from controlplane.plane import ControlPlane
from kstatus.plugin import Statuses

OURS = {"kind": "SecretProvider", "name": "ours"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """With deploy/namespaced, which serves the namespace shop."""
    with ControlPlane.run() as plane:
        plane.kubectl("create", f"--kustomize={ROOT}/crds")
        plane.kubectl("create", "namespace", "shop")
        plane.kubectl("create", "namespace", "other")
        plane.kubectl("apply", f"--kustomize={ROOT}/deploy/namespaced")
        plane.kubectl("wait", "--for=condition=Established", "customresourcedefinitions", "--all", "--timeout=30s")
        yield plane


@pytest.fixture(scope="module")
def tenant(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with Operator(cluster, tmp_path_factory.mktemp("sources"), "--namespace=shop") as operator:
        yield operator


@pytest.fixture
def api(cluster: ControlPlane, tenant: Operator, canary: Canary, statuses: Statuses) -> Iterator[Api]:
    canary.watch_operator(tenant.log_file, tenant.health_url)
    canary.watch_cluster(cluster, "shop", "other")
    canary.allow("SecretProvider")
    statuses.watch(cluster, "shop")
    with closing(Api(cluster)) as made:
        yield made


@pytest.fixture
def here(api: Api, tenant: Operator, canary: Canary) -> Shop:
    """The namespace that is served."""
    shop = Shop(api, tenant.sources, canary)
    shop.namespace, shop.provider = "shop", OURS
    return shop


def test_it_serves_its_namespace(here: Shop, canary: Canary) -> None:
    here.order("app")
    here.wait("app", "ProviderNotFound")
    here.api.create(secret_provider("shop", "ours", fake(password=(value := canary("one")))))
    here.wait("app")
    assert here.data("app") == {"password": value}
    here.edit("app", data=encoded(password="edited"))
    eventually(lambda: here.data("app") == {"password": value})
    here.api.delete("Secret", "shop", "app")
    eventually(lambda: here.data("app") == {"password": value})
    here.api.merge("SecretProvider", "shop", "ours", {"spec": {"provider": fake(password=(value := canary("two")))}})
    eventually(lambda: here.data("app") == {"password": value})


def test_it_touches_no_other_namespace(here: Shop, canary: Canary) -> None:
    here.api.create(secret_provider("other", "ours", fake(password=canary("other"))))
    made = here.api.create(managed_secret("other", "app", OURS, {"password": "password"}))
    always(lambda: here.api.get("ManagedSecret", "other", "app")["status"] == made["status"], 2)
    assert here.api.find("Secret", "other", "app") is None


def test_a_cluster_provider_is_not_there(here: Shop) -> None:
    here.order("wide", providerRef={"kind": "ClusterSecretProvider", "name": "any"})
    assert "ClusterSecretProvider any" in here.wait("wide", "ProviderNotFound")["message"]


def test_it_deletes_with_its_owner_and_restarts_without_a_write(cluster: ControlPlane, here: Shop, tenant: Operator) -> None:
    before = here.secret("app")["metadata"]["resourceVersion"]
    tenant.restart()
    here.resync("app")
    assert here.secret("app")["metadata"]["resourceVersion"] == before


def test_all_that_it_asked_for_was_granted_and_within_its_namespaces(cluster: ControlPlane, here: Shop, tenant: Operator) -> None:
    """Over the whole life of the operator of this file."""
    asked = requests(cluster)
    assert {r.namespace for r in asked if r.resource} <= {"shop", NAMESPACE, ""}
    beyond = [r for r in asked if r.resource and not r.namespace and r.resource != "customresourcedefinitions"]
    assert [str(r) for r in beyond] == []
    own = {("secrets", "keyturn-fingerprint-key"), ("secrets", "keyturn-audit-key"), ("configmaps", "keyturn-audit-head")}
    here = {(r.resource, r.name) for r in asked if r.namespace == NAMESPACE and r.resource != "events"}
    assert here == {*own, ("leases", "keyturn")}
    assert {r.resource for r in asked if r.code == 403} <= {"customresourcedefinitions"}, (
        "it may not compare schemas, and nothing else is denied"
    )


def test_in_a_namespace_without_its_role_it_is_never_ready_and_says_why(cluster: ControlPlane, tmp_path: Path) -> None:
    stranger = Operator(cluster, tmp_path, "--namespace=other", name="stranger")
    stranger.start(wait=False)
    try:
        eventually(lambda: "403" in stranger.readiness() or not stranger.is_running, what=stranger.readiness)
        assert "namespaces/other" in stranger.readiness() or "403" in stranger.log(20) or "Forbidden" in stranger.log(20)
        assert stranger.returncode != 0
    finally:
        stranger.kill()
