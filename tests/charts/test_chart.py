"""The chart and the kustomizations render the same objects, so that the two never part."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart, Config, HelmError, HelmValuesError
from helm_python.chart import lint

import keyturn
from controlplane.build import find_or_build
from controlplane.plane import ControlPlane

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "keyturn"

# All that may differ between the two renderings, and why.
HELM_LABELS = {"helm.sh/chart", "app.kubernetes.io/managed-by"}  # Helm finds and owns its objects by them
HELM_MAKES = {("Namespace", "", "keyturn-system")}  # a release is kept in its namespace, which is there before it

Objects = dict[tuple[str, str, str], dict[str, Any]]
Kustomize = Callable[[Path], Objects]


def by_name(manifests: str) -> Objects:
    documents = [document for document in yaml.safe_load_all(manifests) if document]
    found = {
        (document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]): document for document in documents
    }
    assert len(found) == len(documents), "an object is rendered twice"
    return found


def without_helm_labels(objects: Objects) -> Objects:
    for document in objects.values():
        labels = document["metadata"].get("labels", {})
        for label in HELM_LABELS & labels.keys():
            del labels[label]
    return objects


def rendered(values: dict[str, Any]) -> Objects:
    with Chart.load(CHART) as chart:
        files = chart.render(values, name="keyturn", namespace="keyturn-system")
    notes = "keyturn/templates/NOTES.txt"
    return without_helm_labels(by_name("\n---\n".join(text for name, text in files.items() if name != notes)))


@pytest.fixture(scope="session")
def kustomize() -> Kustomize:
    kubectl = find_or_build()["kubectl"]

    def render(folder: Path) -> Objects:
        done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return by_name(done.stdout)

    return render


def in_order(deployment: dict[str, Any]) -> dict[str, Any]:
    """With the variables by name: a patch puts its own before those that it finds."""
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        container["env"].sort(key=lambda variable: variable["name"])
    return deployment


def with_components(kustomize: Kustomize, folder: Path, base: str, *components: str, **more: Any) -> Objects:
    """What a user's kustomization of a base and components renders."""
    (folder / "deploy").symlink_to(ROOT / "deploy")
    (folder / "mine").mkdir()
    overlay = {"resources": [f"../deploy/{base}"], "components": [f"../deploy/{component}" for component in components]} | more
    (folder / "mine" / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return kustomize(folder / "mine")


def test_the_chart_renders_what_crds_and_base_hold(kustomize: Kustomize) -> None:
    deployed = kustomize(ROOT / "crds") | kustomize(ROOT / "deploy" / "base")
    assert rendered({}) == {name: document for name, document in deployed.items() if name not in HELM_MAKES}


def test_the_chart_with_namespaces_renders_what_namespaced_and_cluster_hold(kustomize: Kustomize) -> None:
    deployed = kustomize(ROOT / "deploy" / "namespaced") | kustomize(ROOT / "deploy" / "cluster")
    chart = rendered({"namespaces": ["shop"], "crds": {"install": False}})
    assert chart == {name: document for name, document in deployed.items() if name not in HELM_MAKES}


@pytest.mark.parametrize(
    ("component", "values"),
    [("database/postgresql", {"database": {"type": "postgresql"}}), ("audit/log", {"audit": {"mode": "log"}})],
    ids=["postgresql", "log"],
)
def test_the_chart_with_replicas_renders_what_ha_holds(
    component: str, values: dict[str, Any], kustomize: Kustomize, tmp_path: Path
) -> None:
    deployed = kustomize(ROOT / "crds") | with_components(kustomize, tmp_path, "ha", component)
    chart = rendered({"replicas": 2} | values)
    for objects in (chart, deployed):
        in_order(objects["Deployment", "keyturn-system", "keyturn"])
    assert chart == {name: document for name, document in deployed.items() if name not in HELM_MAKES}


def test_the_chart_with_tenant_identity_renders_what_its_folder_holds_and_nothing_of_it_without(kustomize: Kustomize) -> None:
    deployed = kustomize(ROOT / "deploy" / "tenant-identity")
    chart = rendered({"tenantIdentity": {"namespaces": ["shop"]}})
    assert {name: document for name, document in chart.items() if name in deployed} == deployed
    assert chart.keys() - deployed.keys() == rendered({}).keys()


@pytest.mark.parametrize(
    ("base", "component", "values"),
    [
        ("base", "sqlite", {}),
        ("base", "postgresql", {}),
        ("ha", "postgresql", {"replicas": 2}),
    ],
)
def test_the_chart_with_a_database_renders_what_its_component_adds(
    base: str, component: str, values: dict[str, Any], kustomize: Kustomize, tmp_path: Path
) -> None:
    image = {"name": "keyturn", "newName": "images.example.com/keyturn", "newTag": "9.9.9"}
    objects = with_components(kustomize, tmp_path, base, f"database/{component}", images=[image])
    made = objects["Deployment", "keyturn-system", "keyturn"]
    chart = {"image": {"repository": image["newName"], "tag": image["newTag"]}, "database": {"type": component}, **values}
    other = rendered(chart)["Deployment", "keyturn-system", "keyturn"]
    assert in_order(other) == in_order(made)
    assert "DATABASE_OWNER_URL" not in yaml.safe_dump(made["spec"]["template"]["spec"]["containers"])


def test_the_chart_sets_the_mode_of_the_audit_trail_where_it_is_not_the_default() -> None:
    made = rendered({"audit": {"mode": "best-effort", "repair": False}})["Deployment", "keyturn-system", "keyturn"]
    arguments = made["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [argument for argument in arguments if "audit" in argument] == ["--audit=best-effort", "--audit-repair=off"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"replicas": 2}, "set replicas=1, or database.type=postgresql, or audit.mode=log"),
        ({"replicas": 2, "audit": {"mode": "best-effort"}}, "set replicas=1, or database.type=postgresql, or audit.mode=log"),
        ({"database": {"type": ""}}, "set database.type=sqlite or postgresql, or audit.mode=log"),
    ],
    ids=["two replicas", "two with a spool", "no database"],
)
def test_the_chart_refuses_what_leaves_the_audit_trail_without_a_place_and_says_what_to_do(values: dict[str, Any], told: str) -> None:
    with pytest.raises(HelmError, match=re.escape(told)):
        rendered(values)


def test_two_replicas_have_no_file_for_a_database_and_one_has_it_whatever_the_trail_is(kustomize: Kustomize) -> None:
    def variables(deployment: dict[str, Any]) -> set[str]:
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        return {variable["name"] for variable in container["env"]}

    name = "Deployment", "keyturn-system", "keyturn"
    assert "DATABASE_URL" not in variables(kustomize(ROOT / "deploy" / "ha")[name])
    assert "DATABASE_URL" not in variables(rendered({"replicas": 2, "audit": {"mode": "log"}})[name])
    assert "DATABASE_URL" in variables(rendered({"audit": {"mode": "log"}})[name])
    assert "DATABASE_URL" not in variables(rendered({"audit": {"mode": "log"}, "database": {"type": ""}})[name])


def test_replicas_share_no_volume_and_no_node_where_there_are_two(kustomize: Kustomize) -> None:
    objects = kustomize(ROOT / "deploy" / "ha")
    assert not [kind for kind, _, _ in objects if kind == "PersistentVolumeClaim"]
    deployment = objects["Deployment", "keyturn-system", "keyturn"]["spec"]
    pod = deployment["template"]["spec"]
    assert deployment["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert "data" not in {volume["name"] for volume in pod["volumes"]}
    spread = pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    labels = deployment["template"]["metadata"]["labels"]
    budget = objects["PodDisruptionBudget", "keyturn-system", "keyturn"]["spec"]
    assert spread == budget["selector"]["matchLabels"] == deployment["selector"]["matchLabels"]
    assert spread.items() <= labels.items()
    assert budget["maxUnavailable"] == 1


def test_a_second_release_leaves_the_cluster_objects_to_the_first() -> None:
    objects = rendered({"namespaces": ["shop"], "crds": {"install": False}, "cluster": {"install": False}})
    assert {namespace for _, namespace, _ in objects} == {"keyturn-system", "shop"}


def test_a_release_for_the_whole_cluster_is_held_to_its_secret_types_also_where_the_rest_is_anothers() -> None:
    with Chart.load(CHART) as chart:
        files = chart.render({"cluster": {"install": False}}, name="second", namespace="elsewhere")
    objects = by_name(files["keyturn/templates/operator-policy.yaml"])
    policy = objects["ValidatingAdmissionPolicy", "", "second-secret-types"]["spec"]
    assert "endsWith(':second')" in policy["matchConditions"][0]["expression"]
    assert objects["ValidatingAdmissionPolicyBinding", "", "second-secret-types"]["spec"]["policyName"] == "second-secret-types"


def test_the_chart_holds_the_crds_as_they_are() -> None:
    originals = {path.name: path.read_text() for path in (ROOT / "crds").glob("keyturn.dev_*.yaml")}
    copies = {path.name: path.read_text() for path in (CHART / "files" / "crds").iterdir()}
    assert originals
    assert copies == originals


def test_the_crds_stay_when_the_release_goes(kustomize: Kustomize) -> None:
    for crd in kustomize(ROOT / "crds").values():
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_helm_installs_leaves_the_crds_and_the_volume_and_installs_again(own_plane: ControlPlane) -> None:
    def kinds() -> list[str]:
        return own_plane.kubectl("get", "crd", "--output=name").stdout.split()

    own_plane.kubectl("create", "namespace", "keyturn-system")
    with Config(kubeconfig_path=own_plane.kubeconfig, namespace="keyturn-system") as helm:
        assert helm.install(CHART, "keyturn")["status"] == "deployed"
        installed = kinds()
        assert len(installed) == 3
        helm.uninstall("keyturn")
        assert kinds() == installed
        claims = own_plane.kubectl("get", "persistentvolumeclaims", "--namespace=keyturn-system", "--output=name").stdout
        assert claims == "persistentvolumeclaim/keyturn\n", "the audit trail is there"
        assert not own_plane.kubectl("get", "deployments", "--namespace=keyturn-system", "--output=name").stdout
        assert helm.install(CHART, "keyturn")["status"] == "deployed"


def test_the_kustomization_of_the_kinds_names_every_crd() -> None:
    named = yaml.safe_load((ROOT / "crds" / "kustomization.yaml").read_text())["resources"]
    assert named == sorted(path.name for path in (ROOT / "crds").glob("keyturn.dev_*.yaml"))


def test_one_version_holds_for_package_chart_and_image(kustomize: Kustomize) -> None:
    deployment = kustomize(ROOT / "deploy" / "base")["Deployment", "keyturn-system", "keyturn"]
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    with Chart.load(CHART) as chart:
        versions = chart.metadata["version"], chart.metadata["appVersion"]
    assert (*versions, image) == (keyturn.__version__, keyturn.__version__, f"keyturn:{keyturn.__version__}")


def test_values_reach_the_objects() -> None:
    objects = rendered(
        {
            "image": {"repository": "images.example.com/keyturn", "tag": "9.9.9", "pullSecrets": ["registry"]},
            "args": ["--controller-class=blue"],
            "env": [{"name": "KEYTURN_SECRET_A", "value": "a"}],
            "sources": {"configMap": {"name": "files"}},
            "storage": {"size": "2Gi", "className": "fast"},
        }
    )
    pod = objects["Deployment", "keyturn-system", "keyturn"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["image"] == "images.example.com/keyturn:9.9.9"
    assert container["args"] == ["run", "--controller-class=blue"]
    assert container["env"][-1] == {"name": "KEYTURN_SECRET_A", "value": "a"}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["volumes"][1] == {"name": "sources", "configMap": {"name": "files"}}
    claim = objects["PersistentVolumeClaim", "keyturn-system", "keyturn"]["spec"]
    assert claim["storageClassName"] == "fast"
    assert claim["resources"]["requests"]["storage"] == "2Gi"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"image": {"reposytory": "x"}}, "reposytory"),
        ({"namespaces": "shop"}, "/namespaces"),
        ({"namespaces": ["Shop"]}, "/namespaces/0"),
        ({"crds": {"install": "yes"}}, "/crds/install"),
        ({"replicas": 0}, "/replicas"),
        ({"database": {"type": "mysql"}}, "/database/type"),
    ],
)
def test_a_wrong_value_is_refused_and_named(values: dict[str, Any], named: str) -> None:
    with Chart.load(CHART) as chart, pytest.raises(HelmValuesError, match=named):
        chart.validate_schema(values)


def test_every_value_has_a_schema() -> None:
    with Chart.load(CHART) as chart:
        schema = chart.schema
        assert schema is not None
        assert schema["properties"].keys() - {"global"} == chart.values.keys()


def test_the_chart_has_nothing_to_lint() -> None:
    report = lint(CHART, strict=True, namespace="keyturn-system")
    warnings = [message for message in report["messages"] if message["severity"] > 1]
    assert (report["errors"], warnings) == ([], [])


def test_an_overlay_moves_the_operator_with_its_rights(kustomize: Kustomize, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "mine").mkdir()
    overlay = {"namespace": "elsewhere", "resources": ["../deploy/base"]}
    (tmp_path / "mine" / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    objects = kustomize(tmp_path / "mine")
    assert "keyturn-system" not in yaml.safe_dump_all(objects.values())
    assert objects["ClusterRoleBinding", "", "keyturn"]["subjects"][0]["namespace"] == "elsewhere"
