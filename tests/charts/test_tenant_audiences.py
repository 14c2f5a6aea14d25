"""How the docs add an audience to the list of deploy/tenant-identity, and to the chart's, works."""

import shutil
import subprocess
from pathlib import Path

import yaml
from helm_python import Chart

from controlplane.build import find_or_build
from pages import ROOT, Shell, blocks

COMPONENT = ROOT / "deploy" / "tenant-identity"


def test_the_line_that_googles_page_appends_becomes_an_audience(tmp_path: Path) -> None:
    [script] = [block for block in blocks(ROOT / "docs" / "providers" / "google.md", "bash") if "list.yaml" in block]
    [line] = [line for line in script.splitlines() if "list.yaml" in line]
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    done = Shell(tmp_path).run(f"AUDIENCE=//iam.googleapis.com/pool\n{line}")
    assert done.returncode == 0, done.stderr
    command = [find_or_build()["kubectl"], "kustomize", str(tmp_path / "deploy" / "tenant-identity")]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    [listed] = [made["data"] for made in yaml.safe_load_all(rendered) if made["kind"] == "ConfigMap"]
    before = yaml.safe_load((COMPONENT / "list.yaml").read_text())["data"]
    assert listed == before | {"audiences": before["audiences"] + "//iam.googleapis.com/pool\n"}


def test_the_values_that_the_readme_shows_are_the_whole_list() -> None:
    [text] = blocks(COMPONENT / "README.md", "yaml")
    values = yaml.safe_load(text)
    with Chart.load(ROOT / "charts" / "keyturn") as chart:
        files = chart.render(values, name="keyturn", namespace="keyturn-system")
    [listed, *_] = yaml.safe_load_all(files["keyturn/templates/tenant-identity.yaml"])
    assert listed["data"]["audiences"].splitlines() == values["tenantIdentity"]["audiences"]
    assert listed["data"]["namespaces"].splitlines() == ["shop"]
