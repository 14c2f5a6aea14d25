"""What the API server makes of our kinds: what it refuses and in which words, what it explains, shows and selects."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from controlplane.plane import ControlPlane
from effort import effort
from keyturn.kube.crds import schema
from keyturn.model.errors import Rejected
from keyturn.model.ids import API_VERSION, Kind
from keyturn.model.parse import parse_managed_secret, parse_provider
from keyturn.model.status import Condition, SourceStatus, Status, TargetStatus, status_as_dict
from manifests import ASK_NOTHING, BASES, CASES, SLIPS, Case
from manifests.mutations import WIRE, mutated
from manifests.slips import Slip

CRDS = Path(__file__).parents[2] / "crds"
NOW = "2026-01-02T03:04:05Z"

Json = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane) -> ControlPlane:
    """The shared control plane with our kinds, served and explained."""
    plane.kubectl("apply", "--server-side", "--force-conflicts", f"--kustomize={CRDS}")
    for kind in Kind:
        plane.kubectl("wait", "--for=condition=Established", f"crd/{kind.plural}.keyturn.dev", "--timeout=30s")
    deadline = time.monotonic() + 60
    while not _published(plane).keys() >= set(Kind):  # what explain reads follows a moment later
        assert time.monotonic() < deadline, "the API server publishes no schema of our kinds"
        time.sleep(0.1)
    return plane


def _published(plane: ControlPlane) -> Json:
    """The schemas that the API server tells clients, by kind."""
    status, document = plane.request("GET", f"/openapi/v3/apis/{API_VERSION}")
    schemas = document["components"]["schemas"] if status == 200 else {}
    return {name.rpartition(".")[2]: schema for name, schema in schemas.items()}


@pytest.fixture(scope="module")
def shop(cluster: ControlPlane) -> str:
    """A namespace of this module's own."""
    name = f"shop-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    return name


def collection(kind: Kind, namespace: str) -> str:
    return f"/apis/{API_VERSION}/{f'namespaces/{namespace}/' if kind.is_namespaced else ''}{kind.plural}"


def manifest(kind: Kind, spec: Json, name: str = "app") -> Json:
    return {"apiVersion": API_VERSION, "kind": kind.value, "metadata": {"name": name}, "spec": spec}


def tried(cluster: ControlPlane, kind: Kind, spec: Json, name: str = "app") -> tuple[int, str]:
    """Status and message of a strict create that changes nothing, as `kubectl apply` asks for it."""
    path = f"{collection(kind, 'default')}?dryRun=All&fieldValidation=Strict"
    status, answer = cluster.request("POST", path, manifest(kind, spec, name))
    return status, answer.get("message", "")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_wrong_manifest_is_refused_by_field_and_remedy_and_its_twin_is_accepted(cluster: ControlPlane, case: Case) -> None:
    refused, message = tried(cluster, case.kind, case.refused)

    assert refused == 422, message
    assert case.named in message
    assert case.says in message
    assert tried(cluster, case.kind, case.accepted) == (201, "")


@pytest.mark.parametrize("base", BASES)
def test_a_valid_manifest_is_accepted_and_kept_as_it_was_written(cluster: ControlPlane, base: str) -> None:
    kind, spec = BASES[base]
    status, answer = cluster.request("POST", f"{collection(kind, 'default')}?dryRun=All&fieldValidation=Strict", manifest(kind, spec))

    assert status == 201, answer
    assert answer["spec"] == spec
    assert answer["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("slip", [*SLIPS, *ASK_NOTHING], ids=str)
def test_what_only_the_operator_can_know_passes_the_api_server(cluster: ControlPlane, slip: Slip) -> None:
    assert tried(cluster, slip.kind, slip.spec) == (201, "")


@settings(max_examples=effort(200, 5000))
@given(changed=mutated(WIRE))
def test_the_operator_is_never_laxer_than_the_api_server(cluster: ControlPlane, changed: tuple[Kind, Json]) -> None:
    kind, spec = changed
    status, _ = cluster.request("POST", f"{collection(kind, 'default')}?dryRun=All&fieldValidation=Ignore", manifest(kind, spec))

    if status != 201:
        home = "default" if kind is Kind.SECRET_PROVIDER else ""
        with pytest.raises(Rejected):
            parse_managed_secret("app", spec) if kind is Kind.MANAGED_SECRET else parse_provider(kind, spec, home)


def test_the_operators_own_names_are_refused_as_the_default_target(cluster: ControlPlane) -> None:
    kind, spec = BASES["managed"]
    status, message = tried(cluster, kind, spec, "keyturn-master-key")

    assert status == 422
    assert "set spec.target.name to another name" in message
    assert tried(cluster, kind, spec | {"target": {"name": "x"}}, "keyturn-master-key") == (201, "")
    assert tried(cluster, kind, spec, "keyturn") == (201, "")


def test_an_unknown_field_is_named_to_whoever_applies_it(cluster: ControlPlane) -> None:
    kind, spec = BASES["managed"]
    status, message = tried(cluster, kind, spec | {"refreshIntervall": "1h"})

    assert status == 400
    assert 'unknown field "spec.refreshIntervall"' in message


@pytest.mark.parametrize("kind", Kind)
def test_explain_answers_for_every_field(cluster: ControlPlane, kind: Kind) -> None:
    published = _published(cluster)[kind]
    silent = [path for path in _paths(schema(kind)) if not _at(published, path).get("description")]
    told = cluster.kubectl("explain", f"{kind.value.lower()}.spec", "--recursive").stdout

    assert silent == []
    assert "<no description>" not in told
    assert all(name in told for name in schema(kind)["properties"]["spec"]["properties"])


def _paths(node: Json, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path and path[-1] not in ("items", "additionalProperties", "metadata") else []
    for name, child in node.get("properties", {}).items():
        found += _paths(child, (*path, "properties", name))
    for below in ("items", "additionalProperties"):
        if below in node:
            found += _paths(node[below], (*path, below))
    return found


def _at(node: Json, path: tuple[str, ...]) -> Json:
    for step in path:
        node = node[step]
    return node


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("msec.spec.refreshInterval", "Default: 1h."),
        ("msec.spec.data.remoteRef.property", "a path such as"),
        ("msec.spec.target.template.data", "postgresql://{{ username }}"),
        ("msec.status.observedGeneration", "-1 until the operator has seen the object"),
        ("sprov.spec.provider.hashicorpVault.auth.appRole.secretRef.name", "Name of the Secret."),
        ("csprov.spec.conditions.namespaceRegexes", "anchor them with ^ and $"),
    ],
)
def test_explain_says_what_a_field_means_and_its_default(cluster: ControlPlane, field: str, says: str) -> None:
    told = " ".join(cluster.kubectl("explain", field).stdout.split())

    assert says in told


def written(cluster: ControlPlane, shop: str, kind: Kind, name: str, spec: Json) -> None:
    status, answer = cluster.request("POST", collection(kind, shop), manifest(kind, spec, name))
    assert status == 201, answer


def test_columns_short_names_and_the_category_show_what_the_status_says(cluster: ControlPlane, shop: str) -> None:
    written(cluster, shop, Kind.MANAGED_SECRET, "seen", BASES["cluster ref"][1] | {"secretType": "api_key"})
    written(cluster, shop, Kind.SECRET_PROVIDER, "fakes", BASES["fake"][1])
    ready = {"type": "Ready", "status": "True", "reason": "Synced", "message": "All is well.", "lastTransitionTime": NOW}
    status = {
        "conditions": [ready, ready | {"type": "Suspended", "reason": "AsAsked"}],
        "target": {"name": "its-secret", "uid": "u"},
        "revision": "r1",
        "lastChangeTime": NOW,
        "nextRotationTime": "2999-01-01T00:00:00Z",
    }
    for kind, name, part in (
        ("msec", "seen", status),
        ("sprov", "fakes", {"conditions": [ready], "provider": "fake", "lastCheckTime": NOW}),
    ):
        cluster.kubectl(
            "patch", kind, name, f"--namespace={shop}", "--subresource=status", "--type=merge", f"--patch={json.dumps({'status': part})}"
        )

    header, row = cluster.kubectl("get", "msec", "seen", f"--namespace={shop}").stdout.splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "PROVIDER", "SECRET", "REVISION", "CHANGED", "NEXT-ROTATION", "AGE"]
    assert row.split()[:6] == ["seen", "True", "Synced", "files", "its-secret", "r1"]
    assert row.split()[7] == "2999-01-01T00:00:00Z"

    header, row = cluster.kubectl("get", "msec", "seen", f"--namespace={shop}", "--output=wide").stdout.splitlines()
    assert header.split()[-3:] == ["TYPE", "SUSPENDED", "MESSAGE"]
    assert row.split()[-5:] == ["api_key", "True", "All", "is", "well."]

    header, row = cluster.kubectl("get", "sprov", "fakes", f"--namespace={shop}").stdout.splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "PROVIDER", "LAST-CHECK", "AGE"]
    assert row.split()[:4] == ["fakes", "True", "Synced", "fake"]

    listed = cluster.kubectl("get", "keyturn", f"--namespace={shop}", "--output=name").stdout.split()
    assert {"managedsecret.keyturn.dev/seen", "secretprovider.keyturn.dev/fakes"} <= set(listed)
    assert cluster.kubectl("get", "csprov").returncode == 0


def test_objects_are_selected_by_target_and_by_provider(cluster: ControlPlane, shop: str) -> None:
    for name, target, provider in (("one", "x", "p"), ("two", "y", "p"), ("three", "x", "q")):
        spec = BASES["managed"][1] | {"target": {"name": target}, "providerRef": {"name": provider}}
        written(cluster, shop, Kind.MANAGED_SECRET, name, spec)

    def selected(selector: str) -> set[str]:
        found = cluster.kubectl("get", "msec", f"--namespace={shop}", f"--field-selector={selector}", "--output=name").stdout.split()
        return {name.rpartition("/")[2] for name in found}

    assert selected("spec.target.name=x") == {"one", "three"}
    assert selected("spec.providerRef.name=p") == {"one", "two"}


def test_a_whole_status_as_the_operator_writes_it_is_taken(cluster: ControlPlane, shop: str) -> None:
    written(cluster, shop, Kind.MANAGED_SECRET, "whole", BASES["managed"][1])
    keys = tuple(f"key-{i}" for i in range(100))
    status = Status(
        generation=1,
        conditions=(Condition("Ready", "True", "Synced", "", NOW, 1),),
        revision="r1",
        last_change=NOW,
        target=TargetStatus("whole", "uid", keys, 250, ("a/b",), ("c/d",)),
        sources=tuple(SourceStatus("SecretProvider/vault", f"shop/{i}") for i in range(100)),
        source_count=250,
        handled_reconcile="now",
    )
    patch = json.dumps({"status": status_as_dict(status)})
    cluster.kubectl("patch", "msec", "whole", f"--namespace={shop}", "--subresource=status", "--type=merge", f"--patch={patch}")

    kept = json.loads(cluster.kubectl("get", "msec", "whole", f"--namespace={shop}", "--output=json").stdout)["status"]
    assert kept["target"]["keyCount"] == 250
    assert kept["sources"][99] == {"provider": "SecretProvider/vault", "key": "shop/99"}
    assert kept["binding"] == {"name": "whole"}


def test_the_largest_manifests_are_validated_within_the_cost_budget(cluster: ControlPlane) -> None:
    labels = {f"a{i}.example.org/{'k' * 60}": "v" * 63 for i in range(64)}
    spec = {
        "data": [{"secretKey": f"{'k' * 240}{i:04}", "remoteRef": {"key": f"shop/{i}"}} for i in range(1000)],
        "target": {"template": {"metadata": {"labels": labels, "annotations": labels}}},
    }
    selector = {
        "matchLabels": dict(list(labels.items())[:32]),
        "matchExpressions": [{"key": "team", "operator": "In", "values": ["v" * 63] * 32}] * 16,
    }
    condition = {"namespaces": ["n" * 63] * 256, "namespaceSelector": selector}

    assert tried(cluster, Kind.MANAGED_SECRET, spec) == (201, "")
    assert tried(cluster, Kind.CLUSTER_SECRET_PROVIDER, BASES["cluster"][1] | {"conditions": [condition] * 32}) == (201, "")


def test_more_than_a_list_may_hold_is_refused_by_its_name(cluster: ControlPlane) -> None:
    entries = [{"secretKey": f"k{i}", "remoteRef": {"key": "x"}} for i in range(1001)]

    assert "spec.data: Too many: 1001: must have at most 1000 items" in tried(cluster, Kind.MANAGED_SECRET, {"data": entries})[1]
