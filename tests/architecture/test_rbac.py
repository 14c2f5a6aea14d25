"""RBAC as data: every right of the operator and of its users stands here, verb by verb.

A right that is added to deploy/ and not to this table fails, so that no role ever grows by accident.
Nothing here needs a cluster; that the API server reads the roles alike is shown in tests/cluster/.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"

Grant = tuple[str, str, str, str]  # API group, resource, object name ("" = every), verb

OWN_NAMESPACE = {
    "/secrets keyturn-fingerprint-key": "get",
    "/secrets keyturn-master-key": "get",
    "/secrets keyturn-audit-key": "get",
    "/configmaps keyturn-audit-head": "get patch",
    "/configmaps": "create",
    "events.k8s.io/events": "create patch",
    "/secrets": "create",
    "coordination.k8s.io/leases": "get create patch",
}
SERVED_NAMESPACE = {
    "keyturn.dev/managedsecrets": "get list watch",
    "keyturn.dev/managedsecrets/status": "patch",
    "keyturn.dev/secretproviders": "get list watch",
    "keyturn.dev/secretproviders/status": "patch",
    "/secrets": "create get list watch patch delete",
    "/configmaps": "get list watch",
    "events.k8s.io/events": "create patch",
}
WHOLE_CLUSTER = SERVED_NAMESPACE | {
    "keyturn.dev/clustersecretproviders": "get list watch",
    "keyturn.dev/clustersecretproviders/status": "patch",
    "/namespaces": "get list watch",
    "apiextensions.k8s.io/customresourcedefinitions managedsecrets.keyturn.dev": "get",
    "apiextensions.k8s.io/customresourcedefinitions secretproviders.keyturn.dev": "get",
    "apiextensions.k8s.io/customresourcedefinitions clustersecretproviders.keyturn.dev": "get",
}
TENANT_IDENTITY = {"/serviceaccounts/token": "create", "/serviceaccounts": "get"}
VIEW = {
    "keyturn.dev/managedsecrets": "get list watch",
    "keyturn.dev/secretproviders": "get list watch",
    "keyturn.dev/clustersecretproviders": "get list watch",
}
EDIT = {"keyturn.dev/managedsecrets": "create update patch delete deletecollection"}
ADMIN = {"keyturn.dev/secretproviders": "create update patch delete deletecollection"}

ROLES = {
    ("operator/rbac.yaml", "Role", "keyturn"): OWN_NAMESPACE,
    ("base/rbac.yaml", "ClusterRole", "keyturn"): WHOLE_CLUSTER,
    ("namespaced/tenant/rbac.yaml", "Role", "keyturn-tenant"): SERVED_NAMESPACE,
    ("tenant-identity/grant/rbac.yaml", "Role", "keyturn-tenant-identity"): TENANT_IDENTITY,
    ("cluster/roles.yaml", "ClusterRole", "keyturn-view"): VIEW,
    ("cluster/roles.yaml", "ClusterRole", "keyturn-edit"): EDIT,
    ("cluster/roles.yaml", "ClusterRole", "keyturn-admin"): ADMIN,
}


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(DEPLOY.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path.relative_to(DEPLOY).as_posix(), document


def roles() -> dict[tuple[str, str, str], dict[str, Any]]:
    return {
        (path, document["kind"], document["metadata"]["name"]): document
        for path, document in objects()
        if document["kind"] in {"Role", "ClusterRole"}
    }


def granted(role: dict[str, Any]) -> set[Grant]:
    return {
        (group, resource, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def expected(table: dict[str, str]) -> set[Grant]:
    grants: set[Grant] = set()
    for what, verbs in table.items():
        resource, _, name = what.partition(" ")
        group, _, resource = resource.partition("/")
        grants |= {(group, resource, name, verb) for verb in verbs.split()}
    return grants


def test_deploy_holds_these_roles_and_no_other() -> None:
    assert roles().keys() == ROLES.keys()


@pytest.mark.parametrize("role", ROLES, ids=lambda role: f"{role[1]}-{role[2]}-in-{role[0]}")
def test_a_role_grants_exactly_what_the_table_says(role: tuple[str, str, str]) -> None:
    assert granted(roles()[role]) == expected(ROLES[role])


@pytest.mark.parametrize("role", ROLES, ids=lambda role: f"{role[1]}-{role[2]}-in-{role[0]}")
def test_no_role_can_grow_by_itself(role: tuple[str, str, str]) -> None:
    document = roles()[role]
    assert "aggregationRule" not in document
    assert not any("nonResourceURLs" in rule for rule in document["rules"])
    for group, resource, _, verb in granted(document):
        assert "*" not in {group, resource, verb}
        assert verb not in {"escalate", "bind", "impersonate"}
        assert group not in {"rbac.authorization.k8s.io", "certificates.k8s.io", "admissionregistration.k8s.io"}
        assert not resource.startswith(("serviceaccounts", "pods", "nodes")) or ROLES[role] is TENANT_IDENTITY
        assert resource != "configmaps" or verb in {"get", "list", "watch"} or ROLES[role] is OWN_NAMESPACE


def test_the_operator_never_writes_what_its_users_wrote() -> None:
    for what in (WHOLE_CLUSTER, SERVED_NAMESPACE):
        ours = {(resource, verb) for group, resource, _, verb in expected(what) if group == "keyturn.dev"}
        writes = {resource for resource, verb in ours if verb not in {"get", "list", "watch"}}
        assert all(resource.endswith("/status") for resource in writes)


def test_the_namespaced_variant_adds_no_right_outside_its_namespaces() -> None:
    kinds = {document["kind"] for path, document in objects() if path.startswith(("operator/", "namespaced/"))}
    assert not {kind for kind in kinds if kind.startswith("Cluster")}


def test_every_binding_names_the_operator_alone() -> None:
    bindings = [document for _, document in objects() if document["kind"].endswith("RoleBinding")]
    assert {(binding["kind"], binding["roleRef"]["name"]) for binding in bindings} == {
        ("RoleBinding", "keyturn"),
        ("ClusterRoleBinding", "keyturn"),
        ("RoleBinding", "keyturn-tenant"),
        ("RoleBinding", "keyturn-tenant-identity"),
    }
    for binding in bindings:
        assert binding["roleRef"]["kind"] == binding["kind"].removesuffix("Binding")
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "keyturn", "namespace": "keyturn-system"}]


def test_user_roles_join_the_roles_that_users_have_already() -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    labels = {role[2]: document["metadata"].get("labels") for role, document in roles().items()}
    assert {name: label for name, label in labels.items() if label} == {
        f"keyturn-{level}": {f"{prefix}{level}": "true"} for level in ("view", "edit", "admin")
    }
