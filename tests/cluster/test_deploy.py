"""deploy/ as a real API server takes it: the pod, the rights as RBAC decides them, the examples."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.waiting import eventually
from controlplane.plane import ControlPlane

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
OPERATOR = "system:serviceaccount:keyturn-system:keyturn"
TENANT_OPERATOR = "system:serviceaccount:keyturn-tenants:keyturn"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """A control plane with the cluster-wide install, and beside it the one for the namespace shop alone."""
    with ControlPlane.run(audit=False) as plane:
        plane.kubectl("create", "namespace", "shop")
        plane.kubectl("create", "namespace", "other")
        plane.kubectl("apply", "--server-side", f"--kustomize={ROOT / 'crds'}")
        plane.kubectl("apply", f"--kustomize={ROOT / 'deploy' / 'base'}")
        namespaced = plane.kubectl("kustomize", str(ROOT / "deploy" / "namespaced")).stdout
        plane.kubectl("apply", "--filename=-", input=namespaced.replace("keyturn-system", "keyturn-tenants"))
        for user in ("view", "edit", "admin"):
            plane.kubectl("create", "rolebinding", user, f"--clusterrole={user}", f"--user={user}", "--namespace=shop")
        plane.kubectl("wait", "--for=condition=Established", "crd/managedsecrets.keyturn.dev", "--timeout=30s")
        yield plane


def may(cluster: ControlPlane, user: str, what: str, namespace: str = "") -> bool:
    """What RBAC says of `verb group/resource[/subresource] [name]`."""
    verb, resource, name = f"{what} ".split(" ", 2)
    group, resource, subresource = f"{resource}/".split("/", 2)
    asked = {
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource.strip("/"),
        "name": name.strip(),
        "namespace": namespace,
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user, "resourceAttributes": asked}}
    status, answer = cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert status == 201, answer
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize("namespace", ["keyturn-system", "keyturn-tenants"])
def test_the_operators_pod_is_admitted_where_pod_security_is_restricted(cluster: ControlPlane, namespace: str) -> None:
    if not cluster.has_controllers:
        pytest.skip("needs kube-controller-manager, which KUBEBUILDER_ASSETS has not")
    labels = json.loads(cluster.kubectl("get", "namespace", namespace, "--output=jsonpath={.metadata.labels}").stdout)
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    cluster.kubectl("wait", "--for=create", "pod", f"--namespace={namespace}", "--selector=app.kubernetes.io/name=keyturn", "--timeout=30s")


def test_any_other_pod_beside_it_is_refused(cluster: ControlPlane) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": {"containers": [{"name": "any", "image": "any"}]}}
    answer = cluster.kubectl("create", "--namespace=keyturn-system", "--dry-run=server", "--filename=-", input=json.dumps(pod), check=False)
    assert 'violates PodSecurity "restricted:latest"' in answer.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_accepted(cluster: ControlPlane, example: Path) -> None:
    cluster.kubectl("create", "--dry-run=server", "--validate=strict", f"--filename={example}")


def test_the_overlay_with_two_replicas_is_accepted(cluster: ControlPlane) -> None:
    overlay = ROOT / "deploy" / "ha"
    told = cluster.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", f"--kustomize={overlay}").stdout
    assert "poddisruptionbudget.policy/keyturn serverside-applied" in told


@pytest.mark.parametrize(
    ("what", "namespace"),
    [
        ("watch keyturn.dev/managedsecrets", "other"),
        ("patch keyturn.dev/managedsecrets/status", "other"),
        ("watch keyturn.dev/clustersecretproviders", ""),
        ("create /secrets", "other"),
        ("watch /namespaces", ""),
        ("create events.k8s.io/events", "other"),
        ("get apiextensions.k8s.io/customresourcedefinitions managedsecrets.keyturn.dev", ""),
        ("get /secrets keyturn-fingerprint-key", "keyturn-system"),
        ("get /secrets keyturn-master-key", "keyturn-system"),
        ("get /secrets keyturn-audit-key", "keyturn-system"),
        ("patch /configmaps keyturn-audit-head", "keyturn-system"),
        ("patch coordination.k8s.io/leases", "keyturn-system"),
    ],
)
def test_the_operator_may(cluster: ControlPlane, what: str, namespace: str) -> None:
    assert may(cluster, OPERATOR, what, namespace)


@pytest.mark.parametrize(
    "what",
    [
        "patch keyturn.dev/managedsecrets",
        "update keyturn.dev/managedsecrets/status",
        "update /secrets",
        "create /configmaps",
        "patch /configmaps keyturn-audit-head",
        "deletecollection /secrets",
        "create /serviceaccounts/token",
        "get /pods",
        "patch apps/deployments",
        "get coordination.k8s.io/leases",
        "get apiextensions.k8s.io/customresourcedefinitions others.example.com",
        "impersonate /users",
    ],
)
def test_the_operator_may_not(cluster: ControlPlane, what: str) -> None:
    assert not may(cluster, OPERATOR, what, "other")


def test_the_namespaced_operator_works_in_its_namespaces_alone(cluster: ControlPlane) -> None:
    asked = "watch keyturn.dev/managedsecrets", "get /secrets", "create /secrets"
    allowed = {
        (what, where) for where in ("shop", "other", "keyturn-tenants") for what in asked if may(cluster, TENANT_OPERATOR, what, where)
    }
    assert allowed == {(what, "shop") for what in asked} | {("create /secrets", "keyturn-tenants")}
    assert may(cluster, TENANT_OPERATOR, "get /secrets keyturn-fingerprint-key", "keyturn-tenants")


@pytest.mark.parametrize(
    ("user", "writes"),
    [("view", set()), ("edit", {"managedsecrets"}), ("admin", {"managedsecrets", "secretproviders"})],
)
def test_kubernetes_own_roles_reach_our_kinds(cluster: ControlPlane, user: str, writes: set[str]) -> None:
    if not cluster.has_controllers:
        pytest.skip("needs kube-controller-manager, which KUBEBUILDER_ASSETS has not")
    deadline = time.monotonic() + 30
    awaited = {"get keyturn.dev/managedsecrets"} | {f"create keyturn.dev/{kind}" for kind in writes}
    while not all(may(cluster, user, what, "shop") for what in awaited):  # a controller copies the rules
        assert time.monotonic() < deadline, "the rights did not reach the role within 30 s"
    kinds = "managedsecrets", "secretproviders", "clustersecretproviders", "managedsecrets/status"
    assert {kind for kind in kinds if may(cluster, user, f"get keyturn.dev/{kind}", "shop")} == set(kinds[:3])
    assert {kind for kind in kinds if may(cluster, user, f"patch keyturn.dev/{kind}", "shop")} == writes


TOKENS = "kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"
HELD = "ValidatingAdmissionPolicy 'keyturn-secret-types'"


def written(cluster: ControlPlane, user: str, how: str, type_: str, *, name: str = "kt-canary", namespace: str = "shop") -> str:
    """What the API server says to one who writes a Secret of this type: '' where it takes it."""
    about = {"annotations": {"kubernetes.io/service-account.name": "reader"}, "name": name, "namespace": namespace}
    manifest = json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": about, "type": type_})
    done = cluster.kubectl(*how.split(), f"--as={user}", "--filename=-", input=manifest, check=False)
    return done.stderr if done.returncode else ""


@pytest.fixture(scope="module")
def held(cluster: ControlPlane) -> ControlPlane:
    """With the policy in force, which takes a moment, and a ServiceAccount whose token somebody could want."""
    cluster.kubectl("create", "serviceaccount", "reader", "--namespace=shop")
    eventually(lambda: HELD in written(cluster, OPERATOR, "create --dry-run=server", TOKENS[0]))
    return cluster


@pytest.mark.parametrize("how", ["create", "apply --server-side"])
@pytest.mark.parametrize("type_", TOKENS)
@pytest.mark.parametrize("operator", [OPERATOR, TENANT_OPERATOR])
def test_an_operator_writes_no_secret_by_which_it_could_be_somebody_else(held: ControlPlane, operator: str, type_: str, how: str) -> None:
    told = written(held, operator, how, type_)
    assert HELD in told
    assert f"type: Keyturn's operator may write no Secret of type {type_}" in told
    assert "make it as another user" in told
    assert not held.kubectl("get", "secrets", "--namespace=shop", "--field-selector=metadata.name=kt-canary", "--output=name").stdout


def test_the_namespaces_of_the_system_are_no_exception(held: ControlPlane) -> None:
    for namespace in ("kube-system", "keyturn-system"):
        for type_ in TOKENS:
            assert HELD in written(held, OPERATOR, "create", type_, namespace=namespace)


@pytest.mark.parametrize("operator", [OPERATOR, TENANT_OPERATOR])
def test_an_operator_turns_no_token_of_somebody_into_another_ones(held: ControlPlane, operator: str) -> None:
    name = f"kt-canary-{operator.split(':')[2]}"
    # Whoever else writes such a Secret is no business of this policy.
    assert written(held, "system:admin", "create --as-group=system:masters", TOKENS[0], name=name) == ""
    patch = "--patch=" + json.dumps({"metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}}})
    told = held.kubectl("patch", "secret", name, "--namespace=shop", "--type=merge", patch, f"--as={operator}", check=False)
    assert HELD in told.stderr


@pytest.mark.parametrize("how", ["create", "apply --server-side"])
@pytest.mark.parametrize("operator", [OPERATOR, TENANT_OPERATOR])
def test_an_operator_writes_other_secrets(held: ControlPlane, operator: str, how: str) -> None:
    name = f"kt-canary-{operator.split(':')[2]}-{how.split(maxsplit=1)[0]}"
    assert written(held, operator, how, "Opaque", name=name) == ""


@pytest.mark.parametrize("name", ["keyturn-target-secret", "keyturn-secret-types"])
def test_an_admission_policy_has_no_type_warning(cluster: ControlPlane, name: str) -> None:
    if not cluster.has_controllers:
        pytest.skip("needs kube-controller-manager, which KUBEBUILDER_ASSETS has not")
    policy = f"validatingadmissionpolicy/{name}"
    cluster.kubectl("wait", "--for=jsonpath={.status.observedGeneration}=1", policy, "--timeout=30s")
    assert cluster.kubectl("get", policy, "--output=jsonpath={.status.typeChecking}").stdout == "{}"
