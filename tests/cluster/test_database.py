"""A new database, and a new master key, under Secrets that are there: none of them is written."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from canary import Canary
from cluster.audit import mark, requests, tally, writes
from cluster.process import Operator
from cluster.shop import Shop, cluster_provider
from cluster.waiting import eventually
from controlplane.installation import ROOT
from controlplane.plane import ControlPlane
from effort import effort
from evidence import counted
from keyturn.model.keys import MasterKeys
from keyturn.model.sensitive import Sensitive
from keyturn.store.databases import SqlDatabases

ALL = 1000
SHORT = 100
SYNCED_S = 300.0


def fill(url: str, key: str, values: Mapping[str, str], *, times: int = 1) -> None:
    """Puts each value, ``times`` over, so that its version is that number."""

    async def put_all() -> None:
        databases = SqlDatabases.of(Sensitive.of(url), MasterKeys.of({"SECRET_KEY": key}))
        try:
            own = await databases.own()
            for name, value in values.items():
                for _ in range(times):
                    await own.put(name, Sensitive.of(value), token=secrets.token_hex(20))
        finally:
            await databases.close()

    asyncio.run(put_all())


def rotate(settings: Mapping[str, str]) -> str:
    """By the command, which shuts its process for good."""
    command = [sys.executable, "-m", "keyturn", "keys", "rotate"]
    ended = subprocess.run(
        command, env=os.environ | settings | {"PYTHONPATH": str(ROOT / "operator")}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def read_anew(shop: Shop, names: list[str], operator: Operator) -> None:
    """Has every ManagedSecret read its source now, and waits until all did and are synced."""
    tokens = {name: shop.request_sync(name) for name in names}

    def done() -> bool:
        found = {item["metadata"]["name"]: item.get("status", {}) for item in shop.api.items("ManagedSecret", shop.namespace)}
        waiting = {name for name, token in tokens.items() if found[name].get("lastHandledReconcileAt") != token}
        return not waiting and all(
            each["status"] == "True" for name in names for each in found[name]["conditions"] if each["type"] == "Ready"
        )

    eventually(done, SYNCED_S, operator.story)


def test_neither_a_new_master_key_nor_a_new_database_with_the_same_values_writes_a_secret(
    request: pytest.FixtureRequest, own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary
) -> None:
    names = [f"app-{n:04}" for n in range(counted(request, effort(SHORT, ALL), ALL, "Secrets"))]
    values = {name: own_shop.value() for name in names}
    first, second, third = (secrets.token_urlsafe(48) for _ in range(3))
    url, other_url = (f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other"))
    fill(url, first, values, times=2)
    own_shop.provider = {"kind": "ClusterSecretProvider", "name": f"database-{own_shop.namespace}"}
    own_shop.api.create(cluster_provider(own_shop.provider["name"], {"database": {}}, conditions=[{"namespaces": [own_shop.namespace]}]))
    operator = Operator(own_home, tmp_path, settings={"DATABASE_URL": url, "SECRET_KEY": first})
    with operator:
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        for name in names:
            own_shop.order(name, {"k": name})
        read_anew(own_shop, names, operator)
        before = {item["metadata"]["name"]: item for item in own_shop.api.items("Secret", own_shop.namespace)}
        since = mark(own_home)

        operator.settings = {"DATABASE_URL": url, "SECRET_KEY": second, "SECRET_KEY_PREVIOUS": first}
        operator.restart()
        assert "done: all rows lie under" in rotate(operator.settings)
        read_anew(own_shop, names, operator)
        operator.settings = {"DATABASE_URL": url, "SECRET_KEY": second}
        operator.restart()
        read_anew(own_shop, names, operator)

        # Another database, key and version numbers; the values are the same.
        fill(other_url, third, values)
        operator.settings = {"DATABASE_URL": other_url, "SECRET_KEY": third}
        operator.stop()
        own_shop.api.forget_audit_head()  # as somebody who accepts that the trail begins anew
        operator.start()
        read_anew(own_shop, names, operator)

        written = writes(requests(own_home, since=since), "secrets")
        assert not written, tally(written)
        assert {item["metadata"]["name"]: item for item in own_shop.api.items("Secret", own_shop.namespace)} == before
        fill(other_url, third, {names[0]: (newer := own_shop.value())})
        eventually(lambda: own_shop.resync(names[0]) and own_shop.data(names[0]) == {"k": newer}, what="a new value still arrives")
        assert len(writes(requests(own_home, since=since), "secrets")) == 1
    own_shop.api.delete("ClusterSecretProvider", "", own_shop.provider["name"])
