"""Secrets of another namespace and of another cluster, on a real API server, as identities with the least rights."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary import Canary
from cluster.audit import events, mark
from cluster.process import Operator
from cluster.shop import cluster_provider
from cluster.tenants import LIST, OPERATOR, Tenants
from cluster.vaults import LOOPBACK_TOO
from cluster.waiting import eventually
from controlplane.installation import NAMESPACE
from controlplane.plane import ControlPlane
from keyturn.decide.audience import audiences
from keyturn.kube.client import Client
from keyturn.kube.tenant_tokens import TokenRequests
from keyturn.model.errors import AuthFailed, Rejected
from keyturn.model.tenant import ServiceAccount

ISSUER = "https://kubernetes.default.svc"


@pytest.fixture
def operator(own_home: ControlPlane, tmp_path: Path, canary: Canary) -> Iterator[Operator]:
    with Operator(own_home, tmp_path, *LOOPBACK_TOO) as running:
        canary.watch_operator(running.log_file, running.health_url)
        yield running


def test_without_the_component_the_status_names_the_missing_grant_and_with_it_the_value_comes(tenants: Tenants, operator: Operator) -> None:
    tenants.put("db", password=(value := tenants.shop.value()))
    tenants.account("reader", "db")
    tenants.provider("reader")
    tenants.order("app", ("password", "db", "password"))
    message = tenants.provider_ready("reader", "AuthFailed")["message"]
    assert "deploy/tenant-identity" in message
    assert "create serviceaccounts/token" in message
    assert tenants.shop.namespace in message
    assert tenants.shop.find("app") is None
    tenants.grant(tenants.shop.namespace)
    tenants.shop.wait("app", deadline_s=120)
    assert tenants.shop.data("app") == {"password": value}
    assert operator.readiness() == "ok"


@pytest.mark.usefixtures("operator")
def test_values_of_another_namespace_come_by_property_and_whole_and_a_change_arrives(granted: Tenants) -> None:
    shop = granted.shop
    granted.put("db", password=(first := shop.value("first")), config=json.dumps({"port": 5432}))
    granted.account("reader", "db")
    granted.provider("reader")
    granted.order("app", ("password", "db", "password"), ("port", "db", "config.port"), ("all", "db", ""), refreshInterval="1s")
    shop.wait("app")
    assert granted.provider_ready("reader")["status"] == "True"
    found = shop.data("app")
    assert (found["password"], found["port"]) == (first, "5432")
    assert json.loads(found["all"]) == {"password": first, "config": '{"port": 5432}'}
    granted.put("db", password=(second := shop.value("second")))
    eventually(lambda: shop.data("app")["password"] == second)


@pytest.mark.usefixtures("operator")
def test_bytes_that_are_no_text_come_by_property_and_whole_they_are_invalid(granted: Tenants) -> None:
    raw = b"\xff\xfe\0" + granted.shop.value().encode()
    granted.put_raw("keys", {"key.bin": base64.b64encode(raw).decode(), "name": base64.b64encode(b"n").decode()})
    granted.account("reader", "keys")
    granted.provider("reader")
    granted.order("app", ("key", "keys", "key.bin"), ("name", "keys", "name"))
    granted.order("whole", ("all", "keys", ""))
    granted.shop.wait("app")
    assert base64.b64decode(granted.shop.secret("app")["data"]["key"]) == raw
    assert "property" in granted.shop.wait("whole", "SourceInvalid")["message"]


@pytest.mark.usefixtures("operator")
def test_each_tenant_reads_only_what_its_own_service_account_may(granted: Tenants) -> None:
    shop = granted.shop
    for name in ("mine", "theirs"):
        granted.put(name, password=shop.value(name))
        granted.account(f"reads-{name}", name)
        granted.provider(f"reads-{name}")
        granted.order(f"{name}-by-{name}", ("password", name, "password"))
    granted.order("mine-by-theirs", ("password", "mine", "password"))
    for name in ("mine", "theirs"):
        shop.wait(f"{name}-by-{name}")
    told = shop.wait("mine-by-theirs", "AccessDenied")["message"]
    assert "mine" in told
    assert "cannot get resource" not in told
    assert shop.find("mine-by-theirs") is None


@pytest.mark.usefixtures("operator")
def test_an_admins_provider_reads_as_the_service_account_that_it_names_for_those_whom_it_admits(granted: Tenants) -> None:
    shop = granted.shop
    granted.put("db", password=(value := shop.value()))
    granted.account("reader", "db")
    account = {"serviceAccount": {"name": "reader", "namespace": shop.namespace}}
    spec = {"kubernetes": {"remoteNamespace": granted.vault, "auth": account}}
    granted.api.create(cluster_provider(granted.vault, spec, conditions=[{"namespaces": [shop.namespace]}]))
    try:
        shop.provider = {"kind": "ClusterSecretProvider", "name": granted.vault}
        granted.order("app", ("password", "db", "password"))
        shop.wait("app")
        assert shop.data("app") == {"password": value}
    finally:
        granted.api.delete("ClusterSecretProvider", "", granted.vault)


@pytest.mark.usefixtures("operator")
def test_who_may_read_nothing_is_denied_and_who_may_list_has_it_among_the_capabilities(granted: Tenants) -> None:
    granted.put("db", password=granted.shop.value())
    granted.account("nobody")
    granted.provider("nobody")
    assert granted.vault in granted.provider_ready("nobody", "AccessDenied")["message"]
    for name, may_list in (("reader", False), ("lister", True)):
        granted.account(name, "db", may_list=may_list)
        granted.provider(name)
        granted.provider_ready(name)
        status = granted.api.get("SecretProvider", granted.shop.namespace, name)["status"]
        assert ("LIST" in status["capabilities"]) is may_list


@pytest.mark.usefixtures("operator")
def test_a_service_account_that_is_made_anew_is_used_at_once(granted: Tenants) -> None:
    shop = granted.shop
    granted.put("db", password=shop.value("first"))
    granted.account("reader", "db")
    granted.provider("reader")
    granted.order("app", ("password", "db", "password"), refreshInterval="1s")
    shop.wait("app")
    granted.api.delete("ServiceAccount", shop.namespace, "reader")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": shop.namespace}}
    granted.api.create(account)
    granted.put("db", password=(second := shop.value("second")))
    # The API server takes the old token for ten seconds more, and nobody sees which one it was.
    eventually(lambda: shop.data("app") == {"password": second}, 60)
    assert shop.ready("app")["reason"] == "Synced"


def test_a_tenant_asks_for_itself_and_the_operator_only_for_its_token(granted: Tenants, operator: Operator, own_home: ControlPlane) -> None:
    shop = granted.shop
    granted.put("db", password=shop.value())
    granted.account("reader", "db")
    since = mark(own_home)
    granted.provider("reader")
    granted.order("app", ("password", "db", "password"), refreshInterval="1s")
    shop.wait("app")
    tenant = f"system:serviceaccount:{shop.namespace}:reader"
    eventually(lambda: len(_asked(own_home, since, tenant, "get", "secrets")) > 2)
    assert _asked(own_home, since, tenant, "list", "secrets") == []
    assert {each["objectRef"]["namespace"] for each in _asked(own_home, since, tenant, "get", "secrets")} == {granted.vault}
    # One token for all of these reads, and none of the operator's own.
    made = [e for e in _asked(own_home, since, OPERATOR, "create", "serviceaccounts") if e["objectRef"]["namespace"] == shop.namespace]
    assert [each["objectRef"]["subresource"] for each in made] == ["token"]
    assert [
        each for each in _asked(own_home, since, OPERATOR, "get", "secrets") if each["objectRef"].get("namespace") == granted.vault
    ] == []
    assert operator.readiness() == "ok"


@pytest.mark.usefixtures("operator")
def test_another_clusters_secrets_come_by_a_token_in_a_secret(tenants: Tenants, own_home: ControlPlane) -> None:
    tenants.put("db", password=(value := tenants.shop.value()))
    tenants.account("reader", "db")
    authority = base64.b64encode(own_home.ca_file.read_bytes()).decode()
    tenants.other_cluster(own_home.url, authority, own_home.new_token(tenants.shop.namespace, "reader"))
    tenants.order("app", ("password", "db", "password"))
    tenants.shop.wait("app")
    assert tenants.shop.data("app") == {"password": value}
    changed = {"data": {"token": base64.b64encode(b"not-a-token").decode()}}
    tenants.api.merge("Secret", tenants.shop.namespace, "login", changed)
    tenants.provider_ready("other", "AuthFailed", 120)


def test_the_operators_own_api_server_is_no_other_cluster_for_a_tenant(tenants: Tenants, own_home: ControlPlane, tmp_path: Path) -> None:
    tenants.account("reader")
    authority = base64.b64encode(own_home.ca_file.read_bytes()).decode()
    with Operator(own_home, tmp_path):
        tenants.other_cluster(own_home.url, authority, own_home.new_token(tenants.shop.namespace, "reader"))
        assert "the server gave no answer" in tenants.provider_ready("other", "ProviderUnavailable")["message"]


async def test_a_token_is_for_one_audience_and_ten_minutes(granted: Tenants, client: Client) -> None:
    requests = TokenRequests(client, client._config.token)
    who = ServiceAccount(granted.shop.namespace, "default")
    made = await requests.at_home(who)
    claims = json.loads(base64.urlsafe_b64decode(made.secret.reveal().split(b".")[1] + b"=="))
    assert audiences(made.secret) == (ISSUER,)
    assert claims["exp"] - claims["iat"] == made.length_s == 600
    assert made.uid == granted.api.get("ServiceAccount", who.namespace, who.name)["metadata"]["uid"]
    with pytest.raises(AuthFailed, match=r"does not list that audience; add it to audiences in deploy/tenant-identity/list.yaml"):
        await requests.abroad(who, "elsewhere")
    for audience in ("", ISSUER):
        with pytest.raises(Rejected):
            await requests.abroad(who, audience)
    with pytest.raises(AuthFailed, match="there is no ServiceAccount"):
        await requests.at_home(ServiceAccount(who.namespace, "nobody"))


async def test_a_token_that_is_refused_is_told_with_what_is_missing(granted: Tenants, own_home: ControlPlane, client: Client) -> None:
    """The role, the namespace, the audience: each is added elsewhere."""
    requests = TokenRequests(client, client._config.token)
    namespace = granted.vault
    who = ServiceAccount(namespace, "default")
    listed = f"list the namespace {namespace} in deploy/tenant-identity"
    with pytest.raises(AuthFailed, match=f"audience vault: it lacks the right to create serviceaccounts/token there; {listed}"):
        await requests.abroad(who, "vault")
    group = "rbac.authorization.k8s.io"
    role = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": "tokens", "namespace": namespace}}
    granted.api.create({**head, "kind": "Role", "rules": [role]})
    ref = {"apiGroup": group, "kind": "Role", "name": "tokens"}
    granted.api.create({**head, "kind": "RoleBinding", "roleRef": ref, "subjects": [{"kind": "User", "name": OPERATOR, "apiGroup": group}]})
    found = eventually(lambda: told if "cannot create" not in (told := granted.ask("--audience=vault", f"--namespace={namespace}")) else "")
    assert "ValidatingAdmissionPolicy" in str(found)
    with pytest.raises(AuthFailed, match=f"audience vault: its admission policy does not list that namespace, .*; {listed}"):
        await requests.abroad(who, "vault")
    lists = own_home.kubectl("get", "configmap", LIST, f"--namespace={NAMESPACE}", "--output=json").stdout
    granted.api.delete("ConfigMap", NAMESPACE, LIST)
    try:
        gone = "an admission policy refuses it; apply deploy/tenant-identity as a whole, with its ConfigMap"
        shop = ServiceAccount(granted.shop.namespace, "default")
        eventually(lambda: "no params found" in granted.ask("--audience=vault"), what=lambda: granted.ask("--audience=vault"))
        with pytest.raises(AuthFailed, match=gone):
            await requests.abroad(shop, "vault")
    finally:
        kept = json.loads(lists)
        kept["metadata"] = {"name": LIST, "namespace": NAMESPACE}
        granted.api.create(kept)
        eventually(lambda: not granted.ask("--audience=vault", "--duration=600s"))


def test_the_policy_holds_the_operator_to_audience_lifetime_and_namespaces_whatever_roles_grant(
    granted: Tenants, own_home: ControlPlane
) -> None:
    everywhere = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": granted.vault},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": OPERATOR, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    granted.api.create(everywhere)
    try:
        for refused in (
            ("--duration=601s",),
            ("--duration=600s", "--audience=elsewhere"),
            ("--duration=600s", f"--audience={ISSUER}", "--audience=vault"),
            ("--duration=600s", f"--namespace={granted.vault}"),
            ("--duration=600s", "--namespace=kube-system"),
            ("--duration=600s", "--namespace=keyturn-system"),
        ):
            assert "ValidatingAdmissionPolicy 'keyturn-tenant-identity'" in granted.ask(*refused), refused
        assert granted.ask("--duration=600s", f"--audience={ISSUER}") == ""
        # Whoever else makes tokens is no business of this policy.
        assert own_home.kubectl("create", "token", "default", "--namespace=kube-system", "--duration=1h").stdout
    finally:
        granted.api.delete("ClusterRoleBinding", "", granted.vault)


def _asked(plane: ControlPlane, since: int, user: str, verb: str, resource: str) -> list:  # type: ignore[type-arg]  # of events
    return [
        e
        for e in events(plane, since)
        if (e["user"]["username"], e["verb"], (e.get("objectRef") or {}).get("resource")) == (user, verb, resource)
    ]
