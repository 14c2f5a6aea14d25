"""`make demo` and `make run` as a user runs them: on a control plane of their own, and in a cluster that was named."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.cluster import kind_cluster
from controlplane.errors import ControlPlaneError
from controlplane.installation import Installation, OperatorProcess
from controlplane.plane import ControlPlane

ROOT = Path(__file__).parents[2]
PASSING = ("events", "leases.", "endpointslices.")  # what comes and goes in any cluster


@pytest.fixture(scope="module")
def named() -> Iterator[ControlPlane]:
    """Somebody's cluster."""
    with ControlPlane.run() as plane:
        yield plane


def command(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "KUBECONFIG": "/nowhere"}
    return subprocess.Popen(
        [sys.executable, "-m", "controlplane", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def output(run: subprocess.Popen[str]) -> str:
    text, _ = run.communicate(timeout=120)
    return text


def read_until(run: subprocess.Popen[str], sign: str) -> str:
    """What was printed up to the line with the sign."""
    assert run.stdout
    text = ""
    for line in run.stdout:
        text += line
        if sign in line:
            return text
    pytest.fail(f"{sign!r} never came:\n{text}")


def objects(cluster: ControlPlane) -> set[str]:
    """Every object of the cluster by kind and name."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--output=name").stdout.split()
    steady = ",".join(kind for kind in kinds if not kind.startswith(PASSING))
    return set(cluster.kubectl("get", steady, "--all-namespaces", "--ignore-not-found", "--output=name").stdout.split())


def test_it_ends_with_a_secret_that_was_synced_changed_and_repaired() -> None:
    run = command("demo")
    text = output(run)
    assert run.returncode == 0, text
    for step in ("the Secret is there", "the Secret has followed", "it is back, with the same value"):
        assert re.search(rf"✓ {step}.* \d+\.\d s\n", text)
    assert text.count("$ kubectl get keyturn -A") == 2
    assert re.search(r"managedsecret.keyturn.dev/app-db +True +Synced", text)
    assert "Recreated" in text
    trail = text.partition("$ keyturn audit query --object ManagedSecret/keyturn-demo/app-db")[2]
    done = [line.split()[3] for line in trail.partition("$ keyturn audit verify")[0].splitlines() if "operator/operator" in line]
    assert [action for action in done if action.startswith("secret.")] == ["secret.create", "secret.change", "secret.recreate"], trail
    assert "hang together as they were written" in trail
    assert "sealed by our keys to row" in trail
    for value in ("correct-horse-1", "battery-staple-2"):
        assert value not in text.replace("printf %s battery-staple-2", ""), "values are masked"
    folder = re.search(r"(/\S+)/sources/shop/password", text)
    assert folder
    assert not Path(folder[1]).exists()


def test_a_named_cluster_is_left_as_it_was(named: ControlPlane) -> None:
    before = objects(named)
    run = command("demo", f"--kubeconfig={named.kubeconfig}", "--context=keyturn")
    text = output(run)
    assert run.returncode == 0, text
    assert f"Keyturn in the cluster at {named.url} (context keyturn of {named.kubeconfig})" in text
    assert objects(named) == before


@pytest.mark.parametrize("step", ["kinds and rights", "the Secret is there"])
def test_ctrl_c_leaves_a_named_cluster_as_it_was(named: ControlPlane, step: str) -> None:
    before = objects(named)
    run = command("demo", f"--kubeconfig={named.kubeconfig}")
    read_until(run, step)
    os.killpg(run.pid, signal.SIGINT)
    text = read_until(run, "is removed")
    output(run)
    assert run.returncode == 130, text
    assert objects(named) == before


def test_a_cluster_that_has_our_kinds_is_refused_and_not_touched(named: ControlPlane) -> None:
    installation = Installation(named)
    installation.install()
    try:
        before = objects(named)
        run = command("demo", f"--kubeconfig={named.kubeconfig}")
        text = output(run)
        assert run.returncode == 1
        assert "managedsecrets.keyturn.dev" in text
        assert "so nothing was touched" in text
        assert objects(named) == before
    finally:
        installation.remove()


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path) -> None:
    run = command("demo", f"--kubeconfig={tmp_path / 'none'}")
    assert f"there is no kubeconfig {tmp_path / 'none'}" in output(run)
    assert run.returncode == 1


def test_an_operator_that_ends_is_reported_with_its_last_words(
    named: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "keyturn"
    program.write_text("#!/bin/sh\necho 'the kinds are missing'\nexit 4\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    installation = Installation(named)
    installation.install()
    try:
        with pytest.raises(ControlPlaneError, match="the operator ended with 4:\nthe kinds are missing"):
            OperatorProcess(named, tmp_path).start()
    finally:
        named.hold.end("operator")
        installation.remove()


def test_a_cluster_by_kind_goes_with_the_block(named: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, calls = tmp_path / "kind", tmp_path / "calls"
    program.write_text(f'#!/bin/sh\necho "$*" >>{calls}\n[ "$1" = delete ] || cp {named.kubeconfig} "${{4#--kubeconfig=}}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with kind_cluster() as cluster:
        assert cluster.address().startswith(named.url)
        name = cluster.folder.name
    assert calls.read_text().splitlines() == [
        f"create cluster --name={name} --kubeconfig={cluster.kubeconfig} --wait=120s",
        f"delete cluster --name={name} --kubeconfig={cluster.kubeconfig}",
    ]


def test_run_prints_a_kubeconfig_and_lasts_until_ctrl_c() -> None:
    run = command("run")
    text = read_until(run, "export KUBECONFIG=")
    kubeconfig = Path(text.rpartition("export KUBECONFIG=")[2].strip())
    assert kubeconfig.exists()
    os.killpg(run.pid, signal.SIGINT)
    text = output(run)
    assert run.returncode == 0, text
    assert not kubeconfig.exists()


@pytest.mark.parametrize("target", ["demo", "run"])
def test_only_a_kubeconfig_on_makes_command_line_names_a_cluster(target: str) -> None:
    def would_run(*arguments: str, **environment: str) -> str:
        return subprocess.run(
            ["make", "--dry-run", target, *arguments],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "MAKEFLAGS"} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "--kubeconfig" not in would_run(KUBECONFIG="/somewhere")
    assert f"{target} --kubeconfig '/somewhere' --context 'mine'" in would_run("KUBECONFIG=/somewhere", "CONTEXT=mine")
    assert f"{target} --kind" in would_run("WITH=kind", KUBECONFIG="/somewhere")


def test_make_run_takes_flags_says_where_its_metrics_are_and_ends_quietly() -> None:
    flags = 'FLAGS=--stale-floor 5s --identity "first user"'
    run = subprocess.Popen(
        ["make", "--no-print-directory", "run", flags],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        text = read_until(run, "operator.log")
        url = re.search(r"(http://127\.0\.0\.1:\d+)/metrics", text)
        log = re.search(r"(/\S+/operator\.log)", text)
        assert url
        assert log
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url[1]}/readyz", timeout=5) as answer:
            assert answer.read() == b"ok\n"
        assert '"identity": "first user"' in Path(log[1]).read_text()
    finally:
        os.killpg(run.pid, signal.SIGINT)
        rest = output(run)
    assert "Done in" in rest, rest
    assert "***" not in rest


def test_a_flag_that_there_is_not_is_told_by_the_operator_itself() -> None:
    run = command("run", "--", "--no-such-flag")
    text = output(run)
    assert run.returncode == 1
    assert "No such option: --no-such-flag" in text or "No such option '--no-such-flag'" in text, text
