"""A ManagedSecret that names no provider, on a real API server: from the default one in a namespace that is listed, refused elsewhere."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bao import Bao
from canary import Canary
from cluster.api import Api, ApiError, Json
from cluster.process import Operator
from cluster.shop import API_VERSION, Shop, condition
from cluster.waiting import eventually
from controlplane.installation import ROOT
from controlplane.plane import ControlPlane

KEY = "STRIPE"
Environment = dict[str, str]


def from_env(_: Path, value: str, __: Bao) -> Environment:
    return {"SECRETS_ENV_PREFIX": "KEYTURN_SECRET_OWN_", f"KEYTURN_SECRET_OWN_{KEY}": value}


def from_file(folder: Path, value: str, _: Bao) -> Environment:
    (folder / KEY).write_text(value)
    return {"SECRETS_PROVIDER": "file", "SECRETS_FILE_PATH": str(folder)}


def from_database(folder: Path, value: str, _: Bao) -> Environment:
    environment = {"SECRETS_PROVIDER": "database", "DATABASE_URL": f"sqlite:///{folder}/own.db", "SECRET_KEY": secrets.token_urlsafe(48)}
    # By the command, which shuts its process for good.
    command = [sys.executable, "-m", "keyturn", "set", KEY]
    stored = subprocess.run(
        command, env=os.environ | environment | {"PYTHONPATH": str(ROOT / "operator")}, input=value.encode(), check=False
    )
    assert stored.returncode == 0
    return environment


def from_vault(folder: Path, value: str, bao: Bao) -> Environment:
    mount = bao.enable_kv(f"own-{secrets.token_hex(4)}")
    bao.put(mount, KEY, {"value": value})
    (folder / "ca.pem").write_bytes(bao.ca_pem)
    policy = bao.policy(mount, {f"{mount}/data/*": ["read"]})
    vault = {"VAULT_URL": bao.url, "VAULT_TOKEN": bao.token([policy]), "VAULT_MOUNT_PATH": mount, "VAULT_CACERT": f"{folder}/ca.pem"}
    return {"SECRETS_PROVIDER": "hashicorp_vault"} | vault


def plain(namespace: str, member: str = "") -> Json:
    """A ManagedSecret without a providerRef."""
    remote = {"key": KEY} | ({"property": member} if member else {})
    metadata = {"name": "app", "namespace": namespace}
    return {
        "apiVersion": API_VERSION,
        "kind": "ManagedSecret",
        "metadata": metadata,
        "spec": {"data": [{"secretKey": "k", "remoteRef": remote}]},
    }


@contextmanager
def elsewhere(api: Api) -> Iterator[str]:
    """A namespace that nobody lists."""
    name = f"elsewhere-{secrets.token_hex(4)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        yield name
    finally:
        with suppress(ApiError):
            api.delete("Namespace", "", name)


@pytest.mark.parametrize("configure", [from_env, from_file, from_database, from_vault])
def test_it_is_synced_in_a_listed_namespace_and_refused_elsewhere(
    configure: Callable[[Path, str, Bao], Environment], own_home: ControlPlane, own_shop: Shop, bao: Bao, tmp_path: Path, canary: Canary
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    settings = configure(folder, value := own_shop.value(), bao) | {"SECRETS_PROVIDER_NAMESPACES": f"{own_shop.namespace},nobody"}
    with elsewhere(own_shop.api) as other, Operator(own_home, tmp_path, settings=settings) as operator:
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        own_shop.api.create(plain(own_shop.namespace, "value" if configure is from_vault else ""))
        own_shop.wait("app")
        assert own_shop.data("app") == {"k": value}
        assert own_shop.status("app")["sources"] == [{"provider": "default", "key": KEY}]
        assert own_shop.secret("app")["metadata"]["annotations"]["keyturn.dev/source"] == f"default:{KEY}"
        own_shop.api.create(plain(other))

        def ready() -> Json:
            return condition(own_shop.api.get("ManagedSecret", other, "app").get("status", {}), "Ready")

        eventually(lambda: ready().get("reason") == "ProviderNotAllowed", what=lambda: f"refused in {other}: {ready()}")
        assert "SECRETS_PROVIDER_NAMESPACES" in ready()["message"]
        assert own_shop.api.find("Secret", other, "app") is None
        own_shop.api.delete("ManagedSecret", other, "app")
        assert operator.readiness() == "ok"
        assert operator.metric("keyturn_providers", reason="Valid") >= 2  # the shop's own one, and it


def test_a_default_provider_that_is_away_leaves_the_operator_ready_and_is_told(
    own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary
) -> None:
    settings = {
        "SECRETS_PROVIDER": "hashicorp_vault",
        "VAULT_URL": "https://127.0.0.1:1",
        "VAULT_TOKEN": own_shop.value("token"),
        "SECRETS_PROVIDER_NAMESPACES": "*",
    }
    with Operator(own_home, tmp_path, settings=settings) as operator:
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        eventually(lambda: "the default provider: " in operator.log(), what=operator.story)
        assert operator.readiness() == "ok"
        assert operator.metric("keyturn_providers", provider="hashicorpVault") == 1
        own_shop.api.create(plain(own_shop.namespace))
        own_shop.wait("app", "ProviderNotReady")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"SECRETS_PROVIDER": "aws_secrets_manager"}, "AWS_REGION: is needed with SECRETS_PROVIDER=aws_secrets_manager"),
        ({"SECRETS_ENV_PREFIX": "AWS_"}, "SECRETS_ENV_PREFIX: 'AWS_' is not allowed"),
        ({"DATABASE_URL": "sqlite:////nowhere/kt.db"}, "SECRET_KEY"),
    ],
    ids=lambda found: str(found)[:40],
)
def test_what_cannot_be_ends_the_start_with_the_name_of_its_variable(
    settings: Environment, told: str, own_home: ControlPlane, tmp_path: Path
) -> None:
    operator = Operator(own_home, tmp_path, name=f"refused-{os.urandom(3).hex()}", settings=settings)
    operator.start(wait=False)
    eventually(lambda: operator.returncode is not None, what=lambda: operator.log(20))
    assert operator.returncode == 1
    assert told in operator.log(20).strip().splitlines()[-1]
