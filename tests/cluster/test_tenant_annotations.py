"""What is read of a tenant's ServiceAccount on a real API server, by the rights of deploy/tenant-identity and no others."""

from dataclasses import replace

import pytest

from cluster.tenants import OPERATOR, Tenants
from controlplane.installation import NAMESPACE, SERVICE_ACCOUNT
from controlplane.plane import ControlPlane
from keyturn.kube.client import Client
from keyturn.kube.config import load
from keyturn.kube.tenant_tokens import TokenRequests
from keyturn.model.errors import AuthFailed, ClusterError, Unavailable
from keyturn.model.tenant import ServiceAccount

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
