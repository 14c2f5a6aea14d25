"""What docs/settings.md shows of kustomize and Helm does what it says."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart

from controlplane.build import find_or_build
from pages import ROOT, blocks

PAGE = ROOT / "docs" / "settings.md"


def container(deployments: Any) -> dict[str, Any]:
    """The operator's container in what was rendered."""
    [found] = [made for made in yaml.safe_load_all(deployments) if made and made["kind"] == "Deployment"]
    return dict(found["spec"]["template"]["spec"]["containers"][0])


def sets_them(made: dict[str, Any], *former: str) -> bool:
    return made["args"] == ["run", *former, "--stale-floor=10m"] and {"name": "KEYTURN_LOG_LEVEL", "value": "debug"} in made["env"]


@pytest.mark.parametrize(("base", "former"), [("base", ()), ("ha", ()), ("namespaced", ("--namespace=shop",))])
def test_the_kustomization_adds_a_flag_and_a_variable_to_those_that_are_there(base: str, former: tuple[str, ...], tmp_path: Path) -> None:
    [overlay, *_] = blocks(PAGE, "yaml")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "my-keyturn").mkdir()
    written = overlay.replace("../deploy/base", f"../deploy/{base}")
    (tmp_path / "my-keyturn" / "kustomization.yaml").write_text(written)
    rendered = subprocess.run(
        [find_or_build()["kubectl"], "kustomize", str(tmp_path / "my-keyturn")], capture_output=True, text=True, check=False
    )
    assert rendered.returncode == 0, rendered.stderr
    made = container(rendered.stdout)
    assert sets_them(made, *former), made
    assert {"KEYTURN_OPERATOR_NAMESPACE", "POD_IP", "SECRET_KEY", "KEYTURN_LOG_LEVEL"} <= {variable["name"] for variable in made["env"]}


def test_the_values_of_helm_do_the_same() -> None:
    values = yaml.safe_load(blocks(PAGE, "yaml")[1])
    with Chart.load(ROOT / "charts" / "keyturn") as chart:
        made = container(chart.render(values, name="keyturn", namespace="keyturn-system")["keyturn/templates/deployment.yaml"])
    assert sets_them(made), made
