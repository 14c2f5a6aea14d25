"""What docs/install.md shows of proxies and authorities makes an operator that has them, by kustomize and by Helm."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart

from controlplane.build import find_or_build
from pages import ROOT, blocks

PAGE = ROOT / "docs" / "install.md"
NAMES = ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")


def pod(deployments: str) -> dict[str, Any]:
    [found] = [made for made in yaml.safe_load_all(deployments) if made and made["kind"] == "Deployment"]
    return dict(found["spec"]["template"]["spec"])


def has_them(made: dict[str, Any]) -> None:
    """Says that the container keeps what it had, and finds the authorities where a variable says that they are."""
    container = made["containers"][0]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert {"KEYTURN_OPERATOR_NAMESPACE", "POD_IP", "SECRET_KEY", *NAMES} <= set(variables)
    folder, _, file = variables["SSL_CERT_FILE"].rpartition("/")
    [mount] = [each for each in container["volumeMounts"] if each["mountPath"] == folder]
    [volume] = [each for each in made["volumes"] if each["name"] == mount["name"]]
    assert "keyturn-authorities" in str(volume)
    assert f"--from-file={file}=" in PAGE.read_text()
    assert {"sources", "vault-token"} <= {each["name"] for each in container["volumeMounts"]}


@pytest.mark.parametrize("base", ["base", "ha", "namespaced"])
def test_the_patch_adds_to_what_is_there(base: str, tmp_path: Path) -> None:
    overlay, patch, *_ = blocks(PAGE, "yaml")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "my-keyturn").mkdir()
    whole = yaml.safe_load(overlay.replace("../deploy/base", f"../deploy/{base}")) | {"patches": [{"path": "surroundings.yaml"}]}
    (tmp_path / "my-keyturn" / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    (tmp_path / "my-keyturn" / "surroundings.yaml").write_text(patch)
    rendered = subprocess.run(
        [find_or_build()["kubectl"], "kustomize", str(tmp_path / "my-keyturn")], capture_output=True, text=True, check=False
    )
    assert rendered.returncode == 0, rendered.stderr
    has_them(pod(rendered.stdout))


def test_the_values_of_helm_do_the_same() -> None:
    [values] = blocks(PAGE, "yml")
    with Chart.load(ROOT / "charts" / "keyturn") as chart:
        files = chart.render(yaml.safe_load(values), name="keyturn", namespace="keyturn-system")
    has_them(pod(files["keyturn/templates/deployment.yaml"]))
