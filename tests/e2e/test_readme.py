"""The README and the docs are true: each command does something, each manifest is accepted, each link leads somewhere."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from controlplane.build import find_or_build
from controlplane.plane import ControlPlane
from keyturn import __version__
from keyturn.cli import cli
from pages import ROOT, Shell, blocks, commands

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "deploy/namespaced/README.md")] + sorted((ROOT / "docs").glob("*.md"))
WHOLE = ROOT / "docs" / "database.md"  # its blocks make sense as a whole and in their order: test_database_page.py runs them so
CLOUDS = sorted((ROOT / "docs" / "providers").glob("*.md"))
COMMANDS = [pytest.param(command, id=f"{page.name}: {command[:60]}") for page in PAGES if page != WHOLE for command in commands(page)]
ALL_PAGES = sorted(path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))
MAY_TAKE_LONG = re.compile("timed out waiting|no matching resources found")
WRITES = {"apply", "create", "delete", "label", "annotate", "scale"}


def manifests(page: Path) -> Iterator[dict[str, Any]]:
    for block in blocks(page, "yaml"):
        yield from (document for document in yaml.safe_load_all(block) if document)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """In a checkout, beside a cluster where the pages have been followed so far that each command has something to work on."""
    checkout = tmp_path_factory.mktemp("checkout")
    for folder in ("crds", "deploy", "docs"):
        shutil.copytree(ROOT / folder, checkout / folder)
    [overlay] = [made for made in manifests(ROOT / "docs" / "install.md") if made["kind"] == "Kustomization"]
    (checkout / "my-keyturn").mkdir()
    (checkout / "my-keyturn" / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    (checkout / "shop.json").write_text("{}")
    (checkout / "authorities.pem").write_text("")
    (checkout / "readme.yaml").write_text(blocks(ROOT / "README.md", "yaml")[0])
    with ControlPlane.run(audit=False, controllers=False) as plane:
        made = Shell(checkout, find_or_build()["kubectl"], {"KUBECONFIG": str(plane.kubeconfig)})
        ready = made.run("""
            kubectl create namespace shop
            kubectl create namespace argocd
            kubectl apply --server-side -k crds
            kubectl wait --for=condition=Established crd --all --timeout=30s
            kubectl apply -k my-keyturn
            kubectl -n keyturn-system create secret generic keyturn-fingerprint-key
            kubectl -n keyturn-system create secret generic keyturn-audit-key --from-literal=key=any
            kubectl -n keyturn-system create configmap keyturn-audit-head --from-literal=vkey=any --from-literal=note=any
            kubectl -n keyturn-system get secret keyturn-fingerprint-key -o yaml > keyturn-fingerprint-key.yaml
            kubectl apply -f readme.yaml
            kubectl -n shop patch managedsecret app-db --subresource=status --type=merge --patch='{"status": {"conditions": [
              {"type": "Ready", "status": "True", "reason": "Synced", "message": "Secret app-db is in sync",
               "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 1}]}}'
        """)
        assert ready.returncode == 0, ready.stderr
        yield made


def make_target(command: str) -> None:
    helped = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = {line.split()[0] for line in helped.splitlines() if line.startswith("  ") and "=" not in line.split()[0]}
    wanted = {word for word in shlex.split(command)[1:] if "=" not in word}
    assert wanted
    assert wanted <= targets


def keyturn_command(command: str) -> None:
    name, *arguments = shlex.split(command)[1:]
    with click.Context(cli) as context:
        found = cli.get_command(context, name)
    assert found, f"there is no keyturn {name}"
    found.make_context(name, list(arguments))  # parses, and raises what a user would read


def helm_command(command: str) -> None:
    words = shlex.split(command)
    [chart] = [word for word in words if word.startswith("charts/")]
    values = yaml.safe_load((ROOT / chart / "values.yaml").read_text())
    for setting in (words[at + 1] for at, word in enumerate(words) if word == "--set"):
        inner = values
        for member in setting.partition("=")[0].split("."):
            assert member in inner, f"the chart has no value {setting}"
            inner = inner[member]


def docker_command(command: str) -> None:
    assert re.findall(r"keyturn:(\S+)", command) == [__version__] * command.count("keyturn:")


OTHERS: dict[str, Callable[[str], None]] = {"make": make_target, "keyturn": keyturn_command, "helm": helm_command, "docker": docker_command}


@pytest.mark.parametrize("command", [param for param in COMMANDS if str(param.values[0]).split()[0] != "kubectl"])
def test_a_command_exists_as_it_is_written(command: str) -> None:
    OTHERS[command.split(maxsplit=1)[0]](command)


def is_for_pod(command: object) -> bool:
    return str(command).startswith("kubectl ") and " exec " in str(command)


@pytest.mark.parametrize("command", [param for param in COMMANDS if is_for_pod(param.values[0])])
def test_a_command_for_the_pod_exists_as_it_is_written(command: str) -> None:
    """No pod runs here."""
    tool, _, _ = command.partition(" -- ")[2].partition(" ")
    assert tool in ("keyturn", "cat", "rm"), command
    if tool == "keyturn":
        keyturn_command(re.split(r" [|>] ", command.partition(" -- ")[2])[0])


@pytest.mark.parametrize(
    "command", [param for param in COMMANDS if str(param.values[0]).split()[0] == "kubectl" and not is_for_pod(param.values[0])]
)
def test_a_kubectl_command_works_in_a_cluster_with_keyturn(shell: Shell, command: str) -> None:
    """Those that write are tried without effect; those that wait need not see the end of it, as no pod runs here."""
    last = command.rpartition("| ")[2]
    words = {word for word in shlex.split(last) if not word.startswith("-")}
    waits = "wait" in words or {"rollout", "status"} <= words
    ended = shell.run(command + (" --dry-run=server" if words & WRITES else " --timeout=1s" if waits else ""))
    assert ended.returncode == 0 or (waits and MAY_TAKE_LONG.search(ended.stderr)), ended.stderr
    assert waits or ended.stdout or ">" in command


@pytest.mark.parametrize("page", [*PAGES, *CLOUDS], ids=lambda page: page.name)
def test_a_manifest_is_accepted_by_the_api_server(shell: Shell, page: Path) -> None:
    for made in manifests(page):
        if str(made.get("apiVersion", "")).startswith("keyturn.dev/"):
            path = shell.folder / "one.yaml"
            path.write_text(yaml.safe_dump(made))
            ended = shell.run("kubectl apply --dry-run=server --validate=strict -f one.yaml")
            assert ended.returncode == 0, ended.stderr


def test_the_readme_has_manifests_and_its_first_screen_has_the_two_commands_of_a_bare_machine() -> None:
    assert [made["kind"] for made in manifests(ROOT / "README.md")] == ["ClusterSecretProvider", "ManagedSecret"]
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:24])
    assert {"make demo", "make test"} <= {line.split("#")[0].strip() for line in first_screen.splitlines()}


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in {slug(line.lstrip("#")) for line in target.read_text().splitlines() if line.startswith("#")}, link


def test_the_map_names_modules_that_there_are() -> None:
    package = ROOT / "operator" / "keyturn"
    named = re.findall(r"`([\w/]+(?:\.py|/))`", (ROOT / "CONTRIBUTING.md").read_text())
    folders = [ROOT, ROOT / "tests", package, *(path for path in package.iterdir() if path.is_dir())]
    lost = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert set(lost) <= {"operator/__init__.py"}, "which must never be there"
