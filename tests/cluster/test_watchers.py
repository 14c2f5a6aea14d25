"""What watches cluster tests sees what it should on a real API server: leaks on purpose, and statuses that are gone again."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from canary import Canary
from controlplane.installation import ROOT
from controlplane.plane import ControlPlane
from kstatus import changes, problems
from kstatus.history import histories, mark

NAMESPACE = "watched"
OURS = "keyturn.dev/v1alpha1"
REF = {"key": "shop/db"}


@pytest.fixture(scope="module")
def watched() -> Iterator[ControlPlane]:
    """A control plane with our kinds and a namespace, and no operator."""
    with ControlPlane.run(controllers=False) as plane:
        plane.kubectl("create", "namespace", NAMESPACE)
        plane.kubectl("apply", "--server-side", f"--kustomize={ROOT / 'crds'}")
        plane.kubectl("wait", "--for=condition=Established", "crd/managedsecrets.keyturn.dev", "--timeout=30s")
        yield plane


def make(plane: ControlPlane, kind: str, version: str = "v1", **members: Any) -> None:
    """Makes or changes an object `app`."""
    metadata = {"name": "app", **members.pop("metadata", {})}
    made = {"apiVersion": version, "kind": kind, "metadata": metadata, **members}
    plane.kubectl("apply", "--server-side", "--force-conflicts", f"--namespace={NAMESPACE}", "--filename=-", input=json.dumps(made))


def say(plane: ControlPlane, kind: str, status: dict[str, Any]) -> None:
    patch = json.dumps({"status": status})
    plane.kubectl("patch", kind, "app", f"--namespace={NAMESPACE}", "--subresource=status", "--type=merge", f"--patch={patch}")


def condition(kind: str, status: str, reason: str, message: str, second: int = 1, generation: int = 1) -> dict[str, Any]:
    time = f"2026-05-04T03:02:{second:02}Z"
    told = {"type": kind, "status": status, "reason": reason, "message": message}
    return told | {"lastTransitionTime": time, "observedGeneration": generation}


def leaks(plane: ControlPlane, canary: Canary) -> list[str]:
    """Where the canary of its own, which no test is judged by, finds something."""
    canary.watch_cluster(plane, NAMESPACE)
    return list(canary.scan())


def test_a_leak_into_each_sort_of_object_is_found(watched: ControlPlane) -> None:
    canary = Canary()
    value = canary("db-password")
    fake = {"provider": {"fake": {"data": [{"key": "a", "value": value}]}}}
    failing = {"observedGeneration": 1, "conditions": [condition("Ready", "False", "SourceInvalid", f"no JSON: {value}")]}
    make(watched, "ConfigMap", data={"a": value})
    make(watched, "Secret", metadata={"annotations": {"keyturn.dev/source": value}}, stringData={"a": value})
    make(watched, "ManagedSecret", OURS, spec={"data": [{"secretKey": "a", "remoteRef": REF}]})
    make(watched, "SecretProvider", OURS, spec=fake)
    make(watched, "ClusterSecretProvider", OURS, spec=fake)
    for kind in ("managedsecret", "clustersecretprovider"):
        say(watched, kind, failing)
    event = {"reason": "Updated", "type": "Normal", "note": value, "action": "Sync", "eventTime": "2026-05-04T03:02:01.000000Z"}
    about = {"regarding": {"kind": "ConfigMap", "name": "app", "namespace": NAMESPACE}}
    make(watched, "Event", "events.k8s.io/v1", reportingController="keyturn.dev/operator", reportingInstance="test", **event, **about)
    watched.request("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps/{value}")

    found = leaks(watched, canary)

    places = ("/configmaps", "/secrets", "/managedsecrets", "/secretproviders", "/events", "ClusterSecretProvider app", "file audit.jsonl")
    assert [place for place in places if not any(f"{place}: 'db-password'" in told for told in found)] == []


def test_a_value_in_the_data_of_a_secret_and_in_a_spec_that_is_allowed_is_no_leak(watched: ControlPlane) -> None:
    canary = Canary()
    value = canary("db-password")
    for kind, members in (
        ("ConfigMap", {"data": {"a": "b"}}),
        ("Secret", {"metadata": {"annotations": {"keyturn.dev/source": "x"}}, "stringData": {"a": value}}),
        ("SecretProvider", {"version": OURS, "spec": {"provider": {"fake": {"data": [{"key": "a", "value": value}]}}}}),
    ):
        make(watched, kind, **members)
    canary.allow(kind="SecretProvider")
    assert [told for told in leaks(watched, canary) if "'db-password'" in told] == []


def test_every_status_that_an_object_had_is_looked_at(watched: ControlPlane) -> None:
    make(watched, "ManagedSecret", OURS, metadata={"name": "app"}, spec={"data": [{"secretKey": "b", "remoteRef": REF}]})
    generation = json.loads(watched.kubectl("get", "managedsecret", "app", f"--namespace={NAMESPACE}", "--output=json").stdout)["metadata"][
        "generation"
    ]
    since = mark(watched)
    for reason, message, second in (
        ("Synced", "Secret app is in sync", 1),
        ("Synced", "Secret app is in sync", 2),
        ("Synced", "attempt 3", 2),
    ):
        told = condition("Ready", "True", reason, message, second, generation)
        say(watched, "managedsecret", {"observedGeneration": generation, "conditions": [told]})

    [versions] = [found for found in histories(watched, NAMESPACE, since) if found[-1]["kind"] == "ManagedSecret"]

    seconds = [version["status"]["conditions"][0]["lastTransitionTime"][-3:-1] for version in versions]
    assert list(dict.fromkeys(seconds)) == ["01", "02"]
    assert [told for version in versions for told in problems(version) if "a counter" in told]
    assert any("lastTransitionTime moved" in told for told in changes(versions[0], versions[1]))
