"""A tenant's own ServiceAccount at Vault: who may read is decided there, by tokens that the API server has made for Vault alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bao import Bao
from canary import Canary
from cluster.process import Operator
from cluster.tenants import Tenants
from cluster.vaults import LOOPBACK_TOO, VaultShop
from controlplane.plane import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def operator(own_home: ControlPlane, tmp_path: Path, canary: Canary) -> Iterator[Operator]:
    with Operator(own_home, tmp_path, *LOOPBACK_TOO) as running:
        canary.watch_operator(running.log_file, running.health_url)
        yield running


@pytest.fixture
def vault(tenants: Tenants, bao: Bao, own_home: ControlPlane) -> VaultShop:
    """Whose log-in method `kubernetes` asks the real API server about each token, and knows one ServiceAccount of the shop."""
    made = VaultShop(bao, tenants.shop)
    namespace = tenants.shop.namespace
    for name in ("app", "other", "reviewer"):
        tenants.account(name)
    group = "rbac.authorization.k8s.io"
    tenants.api.create(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": namespace},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": namespace}],
        }
    )
    bao.kubernetes_role(
        bao.enable_auth("kubernetes", mount(made)),
        "shop",
        own_home.url,
        own_home.ca_file.read_bytes(),
        [made.policy],
        reviewer=own_home.new_token(namespace, "reviewer"),
        audience="vault",
        bound_service_account_names="app",
        bound_service_account_namespaces=namespace,
    )
    return made


def mount(vault: VaultShop) -> str:
    return f"kubernetes-{vault.shop.namespace}"


def provide(vault: VaultShop, account: str) -> None:
    """A SecretProvider of this ServiceAccount's, by its name."""
    vault.provider({"kubernetes": {"mountPath": mount(vault), "role": "shop", "serviceAccountRef": {"name": account}}}, account)


def test_vault_lets_in_the_service_account_that_it_knows_and_no_other(vault: VaultShop, granted: Tenants) -> None:
    vault.put("app/db", password=(value := vault.shop.value()))
    provide(vault, "other")
    assert mount(vault) in vault.provider_ready("other", "AuthFailed")["message"]
    provide(vault, "app")
    vault.order("orders")
    vault.shop.wait("orders")
    assert granted.shop.data("orders") == {"password": value}


def test_without_the_grant_no_token_is_made_and_the_status_says_what_is_missing(vault: VaultShop) -> None:
    provide(vault, "app")
    told = vault.provider_ready("app", "AuthFailed")["message"]
    assert "deploy/tenant-identity" in told
    assert "audience vault" in told
