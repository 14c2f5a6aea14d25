"""One manifest on a real API server, drawn from one source after the other: nothing in it changes but its providerRef."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bao import Bao
from canary import Canary
from cluster.api import ApiError, Json
from cluster.clouds import NAMES, Clouds, CloudShop
from cluster.process import Operator
from cluster.shop import Shop, cluster_provider, fake, managed_secret, secret_provider
from cluster.tenants import Tenants
from cluster.vaults import LOOPBACK_TOO, VaultShop
from controlplane.installation import ROOT
from controlplane.plane import ControlPlane

RESIDENT_MIB = 170
REFRESHING_S = 10.0
KEY, MEMBER = "db", "password"
DATA = [{"secretKey": MEMBER, "remoteRef": {"key": KEY, "property": MEMBER}}]
SOURCES = ("env", "file", "database", *NAMES, "vault", "kubernetes")


class Sources:
    """Each with a value of its own under the one key. ``settings`` are what the operator needs of them in its environment."""

    def __init__(self, shop: Shop, vault: VaultShop, tenants: Tenants, clouds: Clouds, folder: Path) -> None:
        self.values = {source: shop.value(source) for source in SOURCES}
        self.settings = clouds.settings(folder) | {"DATABASE_URL": f"sqlite:///{folder}/own.db", "SECRET_KEY": secrets.token_urlsafe(48)}
        self.settings[f"KEYTURN_SECRET_{KEY}"] = self._document("env")
        self.refs: dict[str, Mapping[str, str]] = {}
        self._shop = shop
        self._own("env")
        self._own("database")
        self._store()
        shop.source(**{KEY: self._document("file")})
        self.refs["file"] = shop.provider
        vault.put(KEY, **{MEMBER: self.values["vault"]})
        vault.bao.policy(vault.policy, {f"{vault.mount}/data/{KEY}": ["read"]})
        vault.provider(vault.log_in_by_approle())
        self.refs["vault"] = shop.provider
        tenants.put(KEY, **{MEMBER: self.values["kubernetes"]})
        tenants.account("reader", KEY)
        tenants.provider("reader")
        self.refs["kubernetes"] = shop.provider
        cloud_shop = CloudShop(clouds, shop)
        for cloud in NAMES:
            clouds.put(cloud, KEY, self._document(cloud))
            cloud_shop.renew(cloud)
            cloud_shop.provider(cloud, cloud_shop.by_credential(cloud))
            self.refs[cloud] = shop.provider

    def add_fake(self) -> None:
        """The ninth, whose value everybody may see."""
        self._shop.api.create(secret_provider(self._shop.namespace, "fake", fake(**{KEY: '{"password": "nobody"}'})))
        self.values["fake"], self.refs["fake"] = "nobody", {"kind": "SecretProvider", "name": "fake"}

    def close(self) -> None:
        for source in ("env", "database"):
            with suppress(ApiError):
                self._shop.api.delete("ClusterSecretProvider", "", self.refs[source]["name"])

    def _document(self, source: str) -> str:
        return json.dumps({MEMBER: self.values[source]})

    def _own(self, source: str) -> None:
        """A provider of what the operator itself has, for the shop alone."""
        name = f"{self._shop.namespace}-{source}"
        self._shop.api.create(cluster_provider(name, {source: {}}, conditions=[{"namespaces": [self._shop.namespace]}]))
        self.refs[source] = {"kind": "ClusterSecretProvider", "name": name}

    def _store(self) -> None:
        """Into the database, before the operator has it open."""
        environment = os.environ | self.settings | {"SECRETS_PROVIDER": "database", "PYTHONPATH": str(ROOT / "operator")}
        command = [sys.executable, "-m", "keyturn", "set", KEY]
        assert subprocess.run(command, env=environment, input=self._document("database").encode(), check=False).returncode == 0


@contextmanager
def running(plane: ControlPlane, folder: Path, sources: Sources, canary: Canary) -> Iterator[Operator]:
    with Operator(plane, folder, *LOOPBACK_TOO, settings=sources.settings) as operator:
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        yield operator


@pytest.fixture
def sources(
    own_home: ControlPlane, own_shop: Shop, bao: Bao, clouds: Clouds, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sources]:
    tenants = Tenants(own_shop.api, own_home, own_shop).open()
    tenants.grant(own_shop.namespace)
    made = Sources(own_shop, VaultShop(bao, own_shop), tenants, clouds, tmp_path_factory.mktemp("database"))
    yield made
    made.close()
    with suppress(ApiError):
        tenants.close()


def test_one_manifest_syncs_from_every_source_with_nothing_changed_but_its_provider_ref(
    own_home: ControlPlane, own_shop: Shop, sources: Sources, tmp_path: Path, canary: Canary
) -> None:
    with running(own_home, tmp_path, sources, canary) as operator:
        own_shop.api.create(managed_secret(own_shop.namespace, "app", sources.refs["env"], {}, data=DATA))
        seen: list[Json] = []
        for source in (*SOURCES, SOURCES[0]):
            own_shop.change("app", providerRef=sources.refs[source])
            own_shop.wait("app", deadline_s=60)
            assert own_shop.data("app") == {MEMBER: sources.values[source]}, source
            [told] = own_shop.status("app")["sources"]
            assert (told["provider"], told["key"]) == ("{kind}/{name}".format(**sources.refs[source]), KEY)
            seen.append(own_shop.secret("app"))
        assert len({secret["metadata"]["uid"] for secret in seen}) == 1
        spec = own_shop.api.get("ManagedSecret", own_shop.namespace, "app")["spec"]
        assert spec["data"] == DATA
        assert operator.readiness() == "ok"
    assert not any(record["level"] in {"error", "raw"} for record in operator.records()), operator.story(30)


def test_all_nine_providers_in_use_fit_into_the_memory_that_is_promised(
    own_home: ControlPlane, own_shop: Shop, sources: Sources, tmp_path: Path, canary: Canary
) -> None:
    sources.add_fake()
    with running(own_home, tmp_path, sources, canary) as operator:
        alone = operator.resident_kib()
        for source, ref in sources.refs.items():
            own_shop.api.create(managed_secret(own_shop.namespace, source, ref, {}, data=DATA, refreshInterval="1s"))
        for source, value in sources.values.items():
            own_shop.wait(source, deadline_s=60)
            assert own_shop.data(source) == {MEMBER: value}
        time.sleep(REFRESHING_S)
        resident = operator.resident_kib()
    print(f"{alone / 1024:.0f} MiB before the first provider, {resident / 1024:.0f} MiB with {len(sources.refs)} in use")
    assert len(sources.refs) == 9
    assert resident <= RESIDENT_MIB * 1024
