"""What is read of a tenant's ServiceAccount on a real API server, by the rights of deploy/tenant-identity and no others."""

from dataclasses import replace
from pathlib import Path

import pytest

from canary import Canary
from cluster.api import Json
from cluster.audit import events, mark
from cluster.clouds import Clouds, CloudShop, role_of
from cluster.process import Operator
from cluster.shop import condition, secret_provider
from cluster.tenants import OPERATOR, Tenants
from cluster.waiting import eventually
from contract.aws import REGION
from controlplane.installation import NAMESPACE, SERVICE_ACCOUNT
from controlplane.plane import ControlPlane
from keyturn.kube.client import Client
from keyturn.kube.config import load
from keyturn.kube.tenant_tokens import TokenRequests
from keyturn.model.errors import AuthFailed, ClusterError, Unavailable
from keyturn.model.tenant import ServiceAccount
from keyturn.testing.azure_entra import Trust
from keyturn.testing.azure_secrets import Rights

ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/shop"}


def look(client: Client) -> TokenRequests:
    return TokenRequests(client, client._config.token)


def note(tenants: Tenants, name: str, **annotations: str | None) -> ServiceAccount:
    tenants.api.merge("ServiceAccount", tenants.shop.namespace, name, {"metadata": {"annotations": annotations}})
    return ServiceAccount(tenants.shop.namespace, name)


async def test_annotations_come_as_they_are_now(granted: Tenants, client: Client) -> None:
    for name in ("app", "other"):
        granted.account(name)
    app = note(granted, "app", **ROLE)
    assert await look(client).annotations(app) == ROLE
    assert await look(client).annotations(ServiceAccount(app.namespace, "other")) == {}
    note(granted, "app", more="ü")
    assert await look(client).annotations(app) == ROLE | {"more": "ü"}
    note(granted, "app", more=None, **dict.fromkeys(ROLE))
    assert await look(client).annotations(app) == {}


async def test_without_the_grant_the_missing_right_is_named_and_with_it_who_is_not_there(tenants: Tenants, client: Client) -> None:
    tenants.account("app")
    app = note(tenants, "app", **ROLE)
    with pytest.raises(AuthFailed, match=f"right to get serviceaccounts there; list the namespace {app.namespace} in deploy/tenant-"):
        await look(client).annotations(app)
    tenants.grant(app.namespace)
    assert await look(client).annotations(app) == ROLE
    with pytest.raises(AuthFailed, match=f"there is no ServiceAccount/{app.namespace}/nobody"):
        await look(client).annotations(ServiceAccount(app.namespace, "nobody"))
    # The grant ends at the namespace, and at one ServiceAccount by its name.
    with pytest.raises(AuthFailed, match=f"list the namespace {tenants.vault} in"):
        await look(client).annotations(ServiceAccount(tenants.vault, "default"))
    with pytest.raises(ClusterError, match="403"):
        await client.request("GET", f"/api/v1/namespaces/{app.namespace}/serviceaccounts")
    may = ("auth", "can-i", f"--as={OPERATOR}", f"--namespace={app.namespace}")
    for verb in ("list", "watch", "update", "patch", "delete", "impersonate"):
        assert tenants.plane.kubectl(*may, verb, "serviceaccounts", check=False).stdout.strip() == "no", verb


async def test_an_api_server_that_is_away_is_an_outage(own_home: ControlPlane) -> None:
    client = Client(replace(load(str(own_home.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT))), server="https://127.0.0.1:9"))
    try:
        with pytest.raises(Unavailable, match="look at ServiceAccount/shop/app: no answer from the API server"):
            await look(client).annotations(ServiceAccount("shop", "app"))
    finally:
        await client.close()


def test_the_operator_reads_whom_a_service_account_is_once_it_may_and_lists_none(
    tenants: Tenants, own_home: ControlPlane, tmp_path: Path, canary: Canary
) -> None:
    """No role is ever named, so that nobody outside is asked."""
    namespace = tenants.shop.namespace
    tenants.account("app")
    spec = {"region": "eu-west-1", "auth": {"serviceAccountRef": {"name": "app"}}}
    tenants.api.create(secret_provider(namespace, "aws", {"awsSecretsManager": spec}))
    since = mark(own_home)
    with Operator(own_home, tmp_path) as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        told(tenants, "aws", "right to get serviceaccounts there")
        tenants.grant(namespace)
        told(tenants, "aws", f"no role is named for ServiceAccount/{namespace}/app")
        note(tenants, "app", **dict.fromkeys(ROLE, "shop"))
        told(tenants, "aws", f"the annotation eks.amazonaws.com/role-arn of ServiceAccount/{namespace}/app is no ARN")
    asked = [each["objectRef"] | {"verb": each["verb"]} for each in events(own_home, since) if by_operator(each)]
    accounts = [each for each in asked if each.get("resource") == "serviceaccounts"]
    assert {(each["verb"], each["namespace"], each.get("name"), each.get("subresource")) for each in accounts} == {
        ("get", namespace, "app", None)
    }


def test_values_come_as_whom_a_service_account_is_annotated(
    tenants: Tenants, clouds: Clouds, own_home: ControlPlane, tmp_path: Path, canary: Canary
) -> None:
    """Of the role and the client nothing stands in a spec, and each may read one key alone."""
    shop, made = tenants.shop, CloudShop(clouds, tenants.shop)
    clouds.know(shop.api)
    tenants.grant(shop.namespace)
    tenants.account("app")
    made.trust("aws", "app", "db")
    subject = f"system:serviceaccount:{shop.namespace}:app"
    client = clouds.azure.entra.add(trust=Trust(clouds.issuer, subject))
    clouds.vault.rights[client] = Rights(keys=frozenset({"db"}))
    ids = {"azure.workload.identity/client-id": client, "azure.workload.identity/tenant-id": clouds.azure.entra.tenant}
    note(tenants, "app", **dict.fromkeys(ROLE, role_of("app")), **ids)
    ref = {"serviceAccountRef": {"name": "app"}}
    members: dict[str, Json] = {
        "aws": {"awsSecretsManager": {"region": REGION, "auth": ref}},
        "azure": {"azureKeyVault": {"vaultUrl": f"https://{clouds.vault.host}", "authType": "WorkloadIdentity", **ref}},
    }
    values = {cloud: shop.value(cloud) for cloud in members}
    with Operator(own_home, tmp_path, settings=clouds.settings(tmp_path)) as operator:
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        for cloud, member in members.items():
            clouds.put(cloud, "db", values[cloud])
            clouds.put(cloud, "other", shop.value(f"other-{cloud}"))
            made.provider(cloud, member)
            shop.order(cloud, {"password": "db"})
            shop.order(f"{cloud}-other", {"password": "other"})
        for cloud, value in values.items():
            shop.wait(cloud)
            assert shop.data(cloud) == {"password": value}
            shop.wait(f"{cloud}-other", "AccessDenied")
            assert shop.find(f"{cloud}-other") is None


def told(tenants: Tenants, provider: str, says: str) -> None:
    """Waits until the provider is `AuthFailed` and its condition says so."""

    def ready() -> Json:
        return condition(tenants.api.get("SecretProvider", tenants.shop.namespace, provider).get("status", {}), "Ready")

    eventually(lambda: ready().get("reason") == "AuthFailed" and says in ready()["message"], 120, ready)


def by_operator(event: Json) -> bool:
    return bool(event["user"]["username"] == OPERATOR and event.get("objectRef"))
