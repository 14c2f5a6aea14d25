"""`keyturn run` as a process: how it ends, what its settings do, and what it says where it is not let in."""

import json
import signal
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.waiting import eventually
from controlplane.plane import ControlPlane
from controlplane.servers import LOOPBACK, free_ports, kubeconfig_text
from pages import ROOT, Shell

STOPS_S = 10.0
NOBODY = {"server": f"https://{LOOPBACK}:1"}


class Run:
    """The process; its log is read from a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, address: str) -> None:
        self.process = process
        self._log = log
        self._address = address

    def records(self) -> list[dict[str, Any]]:
        """What it logged; a line that is no JSON becomes one with the level `raw`."""
        lines = self._log.read_text().splitlines()
        return [json.loads(line) if line.startswith("{") else {"level": "raw", "message": line} for line in lines]

    def says(self, text: str) -> bool:
        return any(text in record["message"] for record in self.records())

    def readiness(self) -> str:
        """What /readyz says, '' where nobody answers."""
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{self._address}/readyz", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.read().decode()
        except OSError:
            return ""


@contextmanager
def running(folder: Path, kubeconfig: Path, *flags: str, **settings: str) -> Iterator[Run]:
    """`keyturn run` until the end of the block, killed if it is still there."""
    address, log = f"{LOOPBACK}:{free_ports(1)[0]}", folder / "log"
    shell = Shell(
        folder, settings={"KEYTURN_KUBECONFIG": str(kubeconfig), "KEYTURN_HEALTH_ADDRESS": address, "KEYTURN_AUDIT": "log", **settings}
    )
    with log.open("wb") as written:
        argv = [str(folder / ".programs" / "keyturn"), "run", *flags]
        process = subprocess.Popen(argv, cwd=folder, env=shell.environment, stdin=subprocess.DEVNULL, stdout=written, stderr=written)
    try:
        yield Run(process, log, address)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def nobody(tmp_path: Path) -> Path:
    """A kubeconfig of a cluster that does not answer."""
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig_text(NOBODY, {"token": "any"}))
    return path


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane) -> ControlPlane:
    """The shared control plane with our kinds."""
    plane.kubectl("apply", "--server-side", "--force-conflicts", f"--kustomize={ROOT / 'crds'}")
    plane.kubectl(
        "wait", "--for=condition=Established", "crd/managedsecrets.keyturn.dev", "crd/secretproviders.keyturn.dev", "--timeout=30s"
    )
    return plane


@pytest.mark.parametrize("mode", ["required", "best-effort"])
def test_an_operator_whose_audit_trail_has_no_place_ends_at_once_and_names_both_remedies(tmp_path: Path, nobody: Path, mode: str) -> None:
    with running(tmp_path, nobody, KEYTURN_AUDIT=mode) as run:
        assert run.process.wait(STOPS_S) == 1
        [told] = [record["message"] for record in run.records()]
        assert told.startswith("keyturn: there is no database for the audit trail: set DATABASE_URL to sqlite:////")
        assert "KEYTURN_AUDIT=log" in told


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_and_soon_also_where_no_cluster_answers(tmp_path: Path, nobody: Path, sign: signal.Signals) -> None:
    with running(tmp_path, nobody) as run:
        eventually(lambda: run.says("no answer from the API server"), what=run.records)
        assert run.readiness() != ""
        run.process.send_signal(sign)
        assert run.process.wait(STOPS_S) == 0
        assert {record["level"] for record in run.records()} <= {"info", "warning"}


@pytest.mark.parametrize(("level", "levels"), [("info", {"info", "warning"}), ("error", set())])
def test_the_log_level_of_the_environment_counts(tmp_path: Path, nobody: Path, level: str, levels: set[str]) -> None:
    with running(tmp_path, nobody, KEYTURN_LOG_LEVEL=level) as run:
        eventually(run.readiness, what=run.records)
        eventually(lambda: {record["level"] for record in run.records()} >= levels, what=run.records)
        run.process.terminate()
        assert run.process.wait(STOPS_S) == 0
        assert {record["level"] for record in run.records()} == levels


def test_a_wrong_token_is_said_to_be_wrong(cluster: ControlPlane, tmp_path: Path) -> None:
    shown = json.loads(cluster.kubeconfig.read_text())
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig_text(shown["clusters"][0]["cluster"], {"token": "kt-canary-wrong"}))
    with running(tmp_path, path) as run:
        eventually(lambda: run.says("401 Unauthorized: the API server does not know this log-in; renew the token"), what=run.records)
        assert run.readiness() not in {"", "ok\n"}
        run.process.terminate()
        assert run.process.wait(STOPS_S) == 0


@pytest.mark.parametrize("given", ["{one},{two}", "{one}, {two}", "{one} {two}"])
def test_namespaces_of_the_environment_are_a_list_and_missing_rights_in_one_are_named(
    cluster: ControlPlane, tmp_path: Path, given: str
) -> None:
    home, one, two = (f"cli-{uuid.uuid4().hex[:8]}" for _ in range(3))
    cluster.kubectl("create", "namespace", home)
    eventually(lambda: cluster.kubectl("get", "serviceaccount", "default", f"--namespace={home}", check=False).returncode == 0)
    with running(tmp_path, cluster.kubeconfig_for(home, "default"), KEYTURN_NAMESPACES=given.format(one=one, two=two)) as run:
        for namespace in (one, two):
            refused = f"list /api/v1/namespaces/{namespace}/secrets: 403 Forbidden: give the operator's ServiceAccount this right back"
            eventually(lambda refused=refused: run.says(refused), what=run.records)  # type: ignore[misc]  # a default binds the loop variable
        watched = {line.split()[2] for line in (record["message"] for record in run.records()) if line.startswith("watch of ")}
        assert watched == {f"/api/v1/namespaces/{namespace}/secrets:" for namespace in (one, two)}
        assert run.readiness() not in {"", "ok\n"}
        run.process.terminate()
        assert run.process.wait(2 * STOPS_S) == 0


def test_it_waits_for_the_kinds_and_says_how_they_come(tmp_path: Path, own_plane: ControlPlane) -> None:
    kubeconfig = own_plane.kubeconfig_for("default", "default")
    with running(tmp_path, kubeconfig, "--namespace=default") as run:
        told = "waiting for the CRDs of managedsecrets, secretproviders (kubectl apply -k crds)"
        eventually(lambda: run.says(told), what=run.records)
        assert run.readiness() == f"{told}\n"
        run.process.terminate()
        assert run.process.wait(STOPS_S) == 0
