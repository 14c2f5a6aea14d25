"""A tenant's objects with metadata as wide as the API server takes them: many of them must not take the operator's memory."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from canary import Canary
from cluster.api import MERGE, path_of
from cluster.process import Operator
from cluster.shop import Shop, fake, managed_secret, secret_provider
from cluster.waiting import always
from controlplane.plane import ControlPlane
from effort import effort
from evidence import counted

SECRETS, OWN_KINDS = effort(12, 30), effort(6, 12)
NAMES = 85_000
"""About the most that etcd takes in one object."""
LIMIT_MIB = 150
"""The chart's limit is more than twice that, and a quiet operator takes some 65."""


def peak_mib(operator: Operator) -> int:
    """The most memory that it took since it was started."""
    status = Path(f"/proc/{operator.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024  # type: ignore[index]  # the kernel always says so


def other(shop: Shop, name: str) -> None:
    """A Secret that carries our label and is nobody's."""
    labels = {"keyturn.dev/managed": "true"}
    shop.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": shop.namespace, "labels": labels}})


def target(shop: Shop, name: str) -> None:
    """A Secret of ours."""
    shop.synced(name)


def order(shop: Shop, name: str) -> None:
    provider = {"kind": "SecretProvider", "name": "nowhere"}
    shop.api.create(managed_secret(shop.namespace, name, provider, {"password": "password"}))


def provider(shop: Shop, name: str) -> None:
    shop.api.create(secret_provider(shop.namespace, name, fake(password="kt-canary-wide")))


def widen(kind: str, shop: Shop, name: str) -> None:
    version = "v1" if kind == "Secret" else "keyturn.dev/v1alpha1"
    entry = {"manager": "me", "operation": "Update", "apiVersion": version, "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1"}
    fields = '{"f:data":{".":{},' + ",".join(f'"f:{name}-{n}":{{}}' for n in range(NAMES)) + "}}"
    found = shop.api.get(kind, shop.namespace, name)["metadata"].get("managedFields", [])
    text = json.dumps({"metadata": {"managedFields": [*found, entry | {"fieldsV1": "FIELDS"}]}}).replace('"FIELDS"', fields)
    status, answer = shop.api._send("PATCH", path_of(kind, shop.namespace, name), text, MERGE)
    assert status == 200, answer[:300]


@pytest.mark.parametrize(
    ("kind", "make", "count"),
    [("Secret", other, SECRETS), ("Secret", target, SECRETS), ("ManagedSecret", order, OWN_KINDS), ("SecretProvider", provider, OWN_KINDS)],
    ids=["labelled", "target", "ManagedSecret", "SecretProvider"],
)
def test_wide_objects_take_little_memory(
    kind: str,
    make: Callable[[Shop, str], None],
    count: int,
    own_home: ControlPlane,
    own_shop: Shop,
    tmp_path: Path,
    canary: Canary,
    request: pytest.FixtureRequest,
) -> None:
    own_shop.source(password=own_shop.value())
    with Operator(own_home, tmp_path) as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        for n in range(count):
            make(own_shop, f"w{n}")
            widen(kind, own_shop, f"w{n}")
        own_shop.synced("app")
        always(lambda: operator.readiness() == "ok", 2, lambda: operator.story(20))
        operator.restart()
        own_shop.synced("later")
        always(lambda: operator.readiness() == "ok", 2, lambda: operator.story(20))
        taken = peak_mib(operator)
        for n in range(count):
            own_shop.api.delete(kind, own_shop.namespace, f"w{n}")
        assert taken < LIMIT_MIB
    counted(request, count, 30 if kind == "Secret" else 12, f"wide objects ({kind})")
