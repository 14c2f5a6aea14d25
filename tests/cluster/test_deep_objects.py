"""A tenant's object with metadata as deep as the API server takes it: it costs that object at most, and never the operator."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary import Canary
from cluster.api import MERGE, path_of
from cluster.process import Operator
from cluster.shop import Shop, fake, managed_secret, secret_provider
from cluster.waiting import always
from controlplane.plane import ControlPlane
from effort import effort
from keyturn.cli.run import DEEPEST

LEVELS = effort(3_000, 9_900)


@pytest.fixture(autouse=True)
def as_deep_as_the_operator() -> Iterator[None]:
    """Whoever looks on in this process reads the same objects."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(DEEPEST)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("kind", ["Secret", "ManagedSecret", "SecretProvider"])
def test_deep_managed_fields_end_no_operator(kind: str, own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary) -> None:
    own_shop.source(password=own_shop.value())
    with Operator(own_home, tmp_path) as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        own_shop.api.create(_made(kind, own_shop))
        _deepen(kind, own_shop)
        own_shop.synced("app")
        always(lambda: operator.readiness() == "ok", 2, lambda: operator.story(20))
        operator.restart()
        own_shop.synced("later")
        own_shop.api.delete(kind, own_shop.namespace, "deep")


def _made(kind: str, shop: Shop) -> dict[str, object]:
    if kind == "Secret":
        labels = {"keyturn.dev/managed": "true"}
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "deep", "namespace": shop.namespace, "labels": labels}}
    if kind == "ManagedSecret":
        return managed_secret(shop.namespace, "deep", {"kind": "SecretProvider", "name": "nowhere"}, {"password": "password"})
    return secret_provider(shop.namespace, "deep", fake(password="kt-canary-deep"))


def _deepen(kind: str, shop: Shop) -> None:
    version = "v1" if kind == "Secret" else "keyturn.dev/v1alpha1"
    entry = {"manager": "me", "operation": "Update", "apiVersion": version, "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1"}
    fields = '{"f:metadata":{"f:labels":' + '{"f:a":' * LEVELS + "{}" + "}" * LEVELS + "}}"
    text = json.dumps({"metadata": {"managedFields": [entry | {"fieldsV1": "FIELDS"}]}}).replace('"FIELDS"', fields)
    status, answer = shop.api._send("PATCH", path_of(kind, shop.namespace, "deep"), text, MERGE)
    assert status == 200, answer[:300]
