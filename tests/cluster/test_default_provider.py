"""A ManagedSecret that names no provider, on a real API server: from the default one in a namespace that is listed, refused elsewhere."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from bao import Bao
from canary import Canary
from cluster.api import Api, ApiError, Json
from cluster.clouds import PROJECT, Clouds
from cluster.process import Operator
from cluster.shop import API_VERSION, Shop, condition
from cluster.waiting import eventually
from contract.aws import KEY_ID, REGION, SECRET
from contract.googles import READER
from controlplane.installation import ROOT
from controlplane.plane import ControlPlane
from keyturn.testing.azure_secrets import Rights
from keyturn.testing.google_tokens import Signer

KEY = "STRIPE"
Environment = dict[str, str]


class Servers(NamedTuple):
    """Whom a default provider may ask."""

    bao: Bao
    clouds: Clouds


def from_env(_: Path, value: str, __: Servers) -> Environment:
    return {"SECRETS_ENV_PREFIX": "KEYTURN_SECRET_OWN_", f"KEYTURN_SECRET_OWN_{KEY}": value}


def from_file(folder: Path, value: str, _: Servers) -> Environment:
    (folder / KEY).write_text(value)
    return {"SECRETS_PROVIDER": "file", "SECRETS_FILE_PATH": str(folder)}


def from_database(folder: Path, value: str, _: Servers) -> Environment:
    environment = {"SECRETS_PROVIDER": "database", "DATABASE_URL": f"sqlite:///{folder}/own.db", "SECRET_KEY": secrets.token_urlsafe(48)}
    # By the command, which shuts its process for good.
    command = [sys.executable, "-m", "keyturn", "set", KEY]
    stored = subprocess.run(
        command, env=os.environ | environment | {"PYTHONPATH": str(ROOT / "operator")}, input=value.encode(), check=False
    )
    assert stored.returncode == 0
    return environment


def from_vault(folder: Path, value: str, servers: Servers) -> Environment:
    bao = servers.bao
    mount = bao.enable_kv(f"own-{secrets.token_hex(4)}")
    bao.put(mount, KEY, {"value": value})
    (folder / "ca.pem").write_bytes(bao.ca_pem)
    policy = bao.policy(mount, {f"{mount}/data/*": ["read"]})
    vault = {"VAULT_URL": bao.url, "VAULT_TOKEN": bao.token([policy]), "VAULT_MOUNT_PATH": mount, "VAULT_CACERT": f"{folder}/ca.pem"}
    return {"SECRETS_PROVIDER": "hashicorp_vault"} | vault


def from_aws(folder: Path, value: str, servers: Servers) -> Environment:
    servers.clouds.put("aws", KEY, value)
    keys = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION}
    return servers.clouds.settings(folder) | keys | {"SECRETS_PROVIDER": "aws_secrets_manager"}


def from_azure(folder: Path, value: str, servers: Servers) -> Environment:
    clouds = servers.clouds
    clouds.put("azure", KEY, value)
    client = clouds.azure.entra.add(secret=(secret := f"kt-canary-{secrets.token_hex(16)}"))
    clouds.vault.rights[client] = Rights()
    who = {"AZURE_TENANT_ID": clouds.azure.entra.tenant, "AZURE_CLIENT_ID": client, "AZURE_CLIENT_SECRET": secret}
    return clouds.settings(folder) | who | {"SECRETS_PROVIDER": "azure_key_vault", "AZURE_KEY_VAULT_URL": f"https://{clouds.vault.host}/"}


def from_google(folder: Path, value: str, servers: Servers) -> Environment:
    clouds = servers.clouds
    clouds.put("google", KEY, value)
    clouds.google.grant(READER, "accessor")
    (folder / "key.json").write_text(clouds.services.key_of(READER, Signer(), "https://oauth2.googleapis.com/token"))
    google = {"GCP_PROJECT_ID": PROJECT, "GOOGLE_APPLICATION_CREDENTIALS": f"{folder}/key.json"}
    return clouds.settings(folder) | google | {"SECRETS_PROVIDER": "google_secret_manager"}


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


@pytest.fixture
def servers(bao: Bao, clouds: Clouds) -> Servers:
    return Servers(bao, clouds)


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


@pytest.mark.parametrize("configure", [from_env, from_file, from_database, from_vault, from_aws, from_azure, from_google])
def test_it_is_synced_in_a_listed_namespace_and_refused_elsewhere(
    configure: Callable[[Path, str, Servers], Environment],
    own_home: ControlPlane,
    own_shop: Shop,
    servers: Servers,
    tmp_path: Path,
    canary: Canary,
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    settings = configure(folder, value := own_shop.value(), servers) | {"SECRETS_PROVIDER_NAMESPACES": f"{own_shop.namespace},nobody"}
    with elsewhere(own_shop.api) as other, Operator(own_home, tmp_path, settings=settings) as operator:
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        own_shop.api.create(plain(own_shop.namespace, "value" if configure is from_vault else ""))
        own_shop.wait("app")
        assert own_shop.data("app") == {"k": value}
        [told] = own_shop.status("app")["sources"]
        assert (told["provider"], told["key"]) == ("default", KEY)
        assert bool(told.get("version")) is (configure not in {from_env, from_file}), told
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
        ({"DATABASE_URL": "sqlite:////nowhere/kt.db"}, "the folder /nowhere of the database is not there"),
        ({"DATABASE_URL": ""}, "set DATABASE_URL to sqlite:////var/lib/keyturn/keyturn.db or another file on a disk that stays, or to"),
        ({"DATABASE_URL": ""}, "or set KEYTURN_AUDIT=log, and it is lines of the log alone"),
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
