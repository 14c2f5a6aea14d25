"""Who may aim a ManagedSecret at which Secret: the admission policy of deploy/cluster, on a real API server."""

import json
import subprocess
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.plane import ControlPlane

OPERATOR = "system:serviceaccount:keyturn-system:keyturn"
DENIED = "ValidatingAdmissionPolicy 'keyturn-target-secret'"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def cluster(home: ControlPlane) -> ControlPlane:
    """A control plane with crds and deploy/base, once the policy works there."""
    _wait_until_the_policy_is_in_force(home)
    return home


@pytest.fixture
def shop(cluster: ControlPlane) -> str:
    """A namespace where `dev` may write ManagedSecrets, and of all Secrets may update `mine` only."""
    name = f"shop-{uuid.uuid4().hex[:8]}"
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        _role("writer", name, "keyturn.dev", "managedsecrets", "get list watch create update patch delete"),
        _role("mine", name, "", "secrets", "update", "mine"),
        _binding("writer", name, "dev"),
        _binding("mine", name, "dev"),
    ]
    cluster.kubectl("apply", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return name


@pytest.fixture
def run(cluster: ControlPlane, shop: str) -> Run:
    """kubectl in that namespace, as somebody; a failure is an answer here."""

    def kubectl(user: str, *arguments: str, manifest: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        given = json.dumps(manifest) if manifest else None
        return cluster.kubectl(f"--as={user}", f"--namespace={shop}", *arguments, input=given, check=False)

    return kubectl


def managed_secret(metadata: dict[str, Any], **target: str) -> dict[str, Any]:
    spec = {
        "providerRef": {"name": "any", "kind": "SecretProvider"},
        "data": [{"secretKey": "password", "remoteRef": {"key": "password"}}],
    }
    head = {"apiVersion": "keyturn.dev/v1alpha1", "kind": "ManagedSecret", "metadata": metadata}
    return head | {"spec": spec | ({"target": target} if target else {})}


def patch(**changed: object) -> tuple[str, ...]:
    return "--type=merge", f"--patch={json.dumps(changed)}"


def made_by_admin(cluster: ControlPlane, shop: str, name: str, **target: str) -> None:
    manifest = json.dumps(managed_secret({"name": name, "namespace": shop}, **target))
    cluster.kubectl("create", "--filename=-", input=manifest)


def test_nobody_aims_at_a_secret_that_they_may_not_update(run: Run) -> None:
    answer = run("dev", "create", "--filename=-", manifest=managed_secret({"name": "mine"}, name="theirs"))
    assert answer.returncode != 0
    assert DENIED in answer.stderr


def test_the_answer_names_field_user_secret_and_remedy(run: Run, shop: str) -> None:
    answer = run("dev", "create", "--filename=-", manifest=managed_secret({"name": "mine"}, name="theirs"))
    assert f"spec.target.name: dev may not update the Secret {shop}/theirs" in answer.stderr
    assert "grant the verb update on secrets in that namespace, or name a Secret that they may update" in answer.stderr


def test_whoever_may_update_the_secret_aims_at_it(run: Run) -> None:
    answer = run("dev", "create", "--filename=-", manifest=managed_secret({"name": "any"}, name="mine"))
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("target", [{}, {"creationPolicy": "Orphan"}], ids=["no-target", "target-without-name"])
def test_without_a_target_name_the_objects_own_name_counts(run: Run, target: dict[str, str]) -> None:
    refused = run("dev", "create", "--filename=-", manifest=managed_secret({"name": "theirs"}, **target))
    accepted = run("dev", "create", "--filename=-", manifest=managed_secret({"name": "mine"}, **target))
    assert DENIED in refused.stderr
    assert accepted.returncode == 0, accepted.stderr


def test_a_generated_name_counts_as_well(run: Run, shop: str) -> None:
    answer = run("dev", "create", "--filename=-", manifest=managed_secret({"generateName": "theirs-"}))
    assert f"may not update the Secret {shop}/theirs-" in answer.stderr


def test_a_right_in_one_namespace_is_none_in_another(run: Run, cluster: ControlPlane, shop: str) -> None:
    cluster.kubectl("create", "namespace", f"{shop}-2")
    cluster.kubectl("apply", "--filename=-", input=json.dumps(_role("writer", f"{shop}-2", "keyturn.dev", "managedsecrets", "create")))
    cluster.kubectl("apply", "--filename=-", input=json.dumps(_binding("writer", f"{shop}-2", "dev")))
    answer = run("dev", "create", f"--namespace={shop}-2", "--filename=-", manifest=managed_secret({"name": "mine"}))
    assert f"may not update the Secret {shop}-2/mine" in answer.stderr


def test_nobody_moves_a_managed_secret_to_a_secret_that_they_may_not_update(run: Run) -> None:
    run("dev", "create", "--filename=-", manifest=managed_secret({"name": "any"}, name="mine"))
    answer = run("dev", "patch", "managedsecret/any", *patch(spec={"target": {"name": "theirs"}}))
    assert DENIED in answer.stderr


def test_dropping_the_target_name_is_a_move(run: Run) -> None:
    run("dev", "create", "--filename=-", manifest=managed_secret({"name": "any"}, name="mine"))
    answer = run("dev", "patch", "managedsecret/any", *patch(spec={"target": None}))
    assert DENIED in answer.stderr


def test_nobody_changes_what_is_written_to_a_secret_that_they_may_not_update(run: Run, cluster: ControlPlane, shop: str) -> None:
    made_by_admin(cluster, shop, "theirs")
    data = [{"secretKey": "password", "remoteRef": {"key": "another"}}]
    answer = run("dev", "patch", "managedsecret/theirs", *patch(spec={"data": data}))
    assert DENIED in answer.stderr


def test_metadata_and_deletion_are_free(run: Run, cluster: ControlPlane, shop: str) -> None:
    made_by_admin(cluster, shop, "theirs")
    for arguments in (
        ("label", "managedsecret/theirs", "team=shop"),
        ("annotate", "managedsecret/theirs", "keyturn.dev/reconcile-requested-at=now"),
        ("patch", "managedsecret/theirs", *patch(metadata={"finalizers": ["example.com/wait"]})),
        ("delete", "managedsecret/theirs", "--wait=false"),
        ("patch", "managedsecret/theirs", *patch(metadata={"finalizers": None})),
    ):
        answer = run("dev", *arguments)
        assert answer.returncode == 0, answer.stderr
    assert run("dev", "get", "managedsecret/theirs").returncode != 0


def test_applying_the_same_manifest_again_is_free(run: Run, cluster: ControlPlane, shop: str) -> None:
    made_by_admin(cluster, shop, "theirs")
    answer = run("dev", "apply", "--server-side", "--force-conflicts", "--filename=-", manifest=managed_secret({"name": "theirs"}))
    assert answer.returncode == 0, answer.stderr


def test_status_is_free_for_the_operator(run: Run, cluster: ControlPlane, shop: str) -> None:
    made_by_admin(cluster, shop, "theirs")
    status = {
        "apiVersion": "keyturn.dev/v1alpha1",
        "kind": "ManagedSecret",
        "metadata": {"name": "theirs"},
        "status": {"observedGeneration": 1},
    }
    answer = run(OPERATOR, "apply", "--server-side", "--force-conflicts", "--subresource=status", "--filename=-", manifest=status)
    assert answer.returncode == 0, answer.stderr


def test_the_garbage_collector_finishes_a_foreground_deletion(run: Run, cluster: ControlPlane, shop: str) -> None:
    if not cluster.has_controllers:
        pytest.skip("needs kube-controller-manager, which KUBEBUILDER_ASSETS has not")
    made_by_admin(cluster, shop, "theirs")
    answer = run(
        "dev", "delete", "managedsecret/theirs", "--cascade=foreground", "--timeout=90s"
    )  # the collector looks for new kinds every 30 s
    assert answer.returncode == 0, answer.stderr


def _role(name: str, namespace: str, group: str, resource: str, verbs: str, *names: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": verbs.split()}
    if names:
        rule["resourceNames"] = list(names)
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": namespace}}
    return head | {"rules": [rule]}


def _binding(role: str, namespace: str, user: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def _wait_until_the_policy_is_in_force(plane: ControlPlane) -> None:
    """A policy works a moment after it was made: until then, somebody who may write no Secret at all gets through."""
    name = f"probe-{uuid.uuid4().hex[:8]}"  # several workers may ask at once
    probe = json.dumps(managed_secret({"name": name, "namespace": "default"}))
    plane.kubectl("create", "role", name, "--verb=create", "--resource=managedsecrets.keyturn.dev")
    plane.kubectl("create", "rolebinding", name, f"--role={name}", f"--user={name}")
    deadline = time.monotonic() + 30
    while DENIED not in plane.kubectl(f"--as={name}", "create", "--dry-run=server", "--filename=-", input=probe, check=False).stderr:
        assert time.monotonic() < deadline, "the policy is not in force after 30 s"
    plane.kubectl("delete", f"role/{name}", f"rolebinding/{name}")
