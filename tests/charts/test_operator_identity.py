"""What docs/operator-identity.md shows of kustomize and Helm gives the operator the same identity at each cloud."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart, HelmValuesError

from controlplane.build import find_or_build
from pages import ROOT, blocks

CHART = ROOT / "charts" / "keyturn"
BLOCKS = [yaml.safe_load(block) for block in blocks(ROOT / "docs" / "operator-identity.md", "yaml")]
PAIRS = list(zip(BLOCKS[::2], BLOCKS[1::2], strict=True))


def identity(rendered: str) -> tuple[dict[str, str], dict[str, str]]:
    """The annotations of the operator's ServiceAccount, and the labels of its pod without Helm's and the selector's."""
    objects = {made["kind"]: made for made in yaml.safe_load_all(rendered) if made and made["metadata"]["name"] == "keyturn"}
    labels = dict(objects["Deployment"]["spec"]["template"]["metadata"]["labels"])
    selector = objects["Deployment"]["spec"]["selector"]["matchLabels"]
    assert labels.items() >= selector.items()
    more = {name: value for name, value in labels.items() if name not in selector}
    return objects["ServiceAccount"]["metadata"].get("annotations", {}), more


def by_kustomize(folder: Path, patches: dict[str, Any], base: str) -> str:
    (folder / "deploy").symlink_to(ROOT / "deploy")
    (folder / "mine").mkdir()
    overlay = {"namespace": "keyturn-system", "resources": [f"../deploy/{base}"]} | patches
    (folder / "mine" / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    done = subprocess.run([find_or_build()["kubectl"], "kustomize", str(folder / "mine")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_helm(values: dict[str, Any]) -> str:
    with Chart.load(CHART) as chart:
        files = chart.render(values, name="keyturn", namespace="keyturn-system")
    return "\n---\n".join(files[f"keyturn/templates/{name}.yaml"] for name in ("operator-rbac", "deployment"))


@pytest.mark.parametrize("base", ["base", "ha", "namespaced"])
@pytest.mark.parametrize(("patch", "values"), PAIRS)
def test_patch_and_values_of_a_cloud_do_the_same(patch: dict[str, Any], values: dict[str, Any], base: str, tmp_path: Path) -> None:
    annotations, labels = identity(by_kustomize(tmp_path, patch, base))
    assert annotations == values["serviceAccount"]["annotations"]
    assert labels == values.get("podLabels", {})
    assert identity(by_helm(values)) == (annotations, labels)


def test_every_cloud_with_a_patch_is_there() -> None:
    clouds = {name.partition("/")[0] for _, values in PAIRS for name in values["serviceAccount"]["annotations"]}
    assert clouds == {"eks.amazonaws.com", "azure.workload.identity", "iam.gke.io"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"serviceAccount": {"annotation": {}}}, "annotation"),
        ({"serviceAccount": {"annotations": {"a": True}}}, "/serviceAccount/annotations/a"),
        ({"podLabels": {"azure.workload.identity/use": True}}, "/podLabels"),
        ({"podLabels": {"app.kubernetes.io/instance": "mine"}}, "app.kubernetes.io/instance"),
    ],
)
def test_a_wrong_value_is_refused_and_named(values: dict[str, Any], named: str) -> None:
    with Chart.load(CHART) as chart, pytest.raises(HelmValuesError, match=named):
        chart.validate_schema(values)
