"""A control plane of our own does what a real one does, and nothing of it outlives the run."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane import plane as plane_module
from controlplane import servers
from controlplane.errors import ControlPlaneError
from controlplane.hold import Hold, sweep
from controlplane.plane import ControlPlane
from controlplane.servers import write_private

TESTS = Path(__file__).parents[1]
# A run as a user has it: it says where its folder is, and stays.
RUN = """
import time
from controlplane.plane import ControlPlane
with ControlPlane.run() as plane:
    print(plane.folder, flush=True)
    time.sleep(1000)
"""
HELD = """
import os, time
from controlplane.hold import Hold
with Hold.open() as hold:
    hold.start("sleeper", ["sleep", "1000", str(hold.folder)], dict(os.environ))
    print(hold.folder, flush=True)
    time.sleep(1000)
"""


def until(is_so: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def processes(folder: Path) -> list[int]:
    """Those that were called with a path below the folder, and live."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (process / "cmdline").read_text():
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    return found


def is_gone(folder: Path) -> bool:
    return not folder.exists() and not processes(folder)


@pytest.fixture
def secret(plane: ControlPlane) -> Iterator[str]:
    """The namespace of a Secret `app`."""
    namespace = f"plane-{uuid.uuid4().hex[:8]}"
    plane.kubectl("create", "namespace", namespace)
    plane.kubectl("create", "secret", "generic", "app", f"--namespace={namespace}", "--from-literal=password=one")
    yield namespace
    plane.kubectl("delete", "namespace", namespace, "--wait=false")


def test_it_answers_with_its_version(plane: ControlPlane) -> None:
    assert plane.request("GET", "/version")[1]["gitVersion"] == "v1.36.3"
    shown = json.loads(plane.kubectl("version", "--output=json").stdout)
    assert shown["serverVersion"]["gitVersion"] == shown["clientVersion"]["gitVersion"] == "v1.36.3"


def test_a_service_account_has_its_own_rights_alone(plane: ControlPlane, secret: str) -> None:
    kubeconfig = plane.kubeconfig_for(secret, "default")
    refused = plane.kubectl("get", "secrets", f"--namespace={secret}", kubeconfig=kubeconfig, check=False)
    assert f'"system:serviceaccount:{secret}:default" cannot list resource "secrets"' in refused.stderr
    assert kubeconfig.stat().st_mode & 0o077 == 0


def test_a_token_that_a_kubeconfig_refers_to_can_be_replaced(plane: ControlPlane, secret: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    kubeconfig = plane.kubeconfig_for(secret, "default", token)
    whoami = ("auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
    assert plane.kubectl(*whoami, kubeconfig=kubeconfig).stdout == f"system:serviceaccount:{secret}:default"
    write_private(token, plane.new_token("kube-system", "namespace-controller", 600))
    assert plane.kubectl(*whoami, kubeconfig=kubeconfig).stdout == "system:serviceaccount:kube-system:namespace-controller"


def test_every_request_is_in_the_audit_log_once(plane: ControlPlane, secret: str) -> None:
    plane.request("GET", f"/api/v1/namespaces/{secret}/secrets/app")
    # All but the last: others are being written meanwhile.
    lines = [json.loads(line) for line in plane.audit_log.read_text().split("\n")[:-1]]
    gets = [line for line in lines if line["verb"] == "get" and line.get("objectRef", {}).get("namespace") == secret]
    assert [line["objectRef"]["name"] for line in gets if line["objectRef"]["resource"] == "secrets"] == ["app"]
    assert gets[-1]["user"]["username"] == "admin"
    assert gets[-1]["userAgent"].startswith("Python-urllib/")


def test_the_database_can_be_read_raw(plane: ControlPlane, secret: str) -> None:
    raw = plane.etcd_get(f"/registry/secrets/{secret}/app")
    assert raw
    assert b"one" in raw
    assert plane.etcd_get(f"/registry/secrets/{secret}/none") is None


def test_what_lost_its_owner_is_collected(plane: ControlPlane, secret: str) -> None:
    if not plane.has_controllers:
        pytest.skip("no kube-controller-manager in KUBEBUILDER_ASSETS")
    owner = json.loads(plane.kubectl("create", "configmap", "owner", f"--namespace={secret}", "--output=json").stdout)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    plane.kubectl(
        "patch", "secret", "app", f"--namespace={secret}", f"--patch={json.dumps({'metadata': {'ownerReferences': [reference]}})}"
    )
    plane.kubectl("delete", "configmap", "owner", f"--namespace={secret}")
    assert until(lambda: plane.request("GET", f"/api/v1/namespaces/{secret}/secrets/app")[0] == 404)


def test_servers_can_be_ended_and_started_again_with_their_data(own_plane: ControlPlane) -> None:
    own_plane.kubectl("create", "configmap", "kept")
    for name in ("kube-apiserver", "etcd"):
        own_plane.kill(name)
        with pytest.raises((OSError, ControlPlaneError)):
            own_plane.compact_etcd() if name == "etcd" else own_plane.request("GET", "/version")
        own_plane.start(name)
    own_plane.stop("kube-controller-manager")
    own_plane.start("kube-controller-manager")
    assert own_plane.kubectl("get", "configmap", "kept", "--output=name").stdout == "configmap/kept\n"


def test_old_revisions_are_answered_with_410_after_a_compaction(own_plane: ControlPlane) -> None:
    for name in ("one", "two", "three"):
        own_plane.kubectl("create", "configmap", name)
    maps = "/api/v1/namespaces/default/configmaps"
    first = own_plane.request("GET", f"{maps}?limit=1")[1]["metadata"]
    own_plane.kubectl("delete", "configmap", "three")
    own_plane.compact_etcd()
    own_plane.kill("kube-apiserver")
    own_plane.start("kube-apiserver")
    assert own_plane.request("GET", f"{maps}?limit=1&continue={first['continue']}")[0] == 410
    watched = own_plane.request("GET", f"{maps}?watch=1&timeoutSeconds=5&resourceVersion={first['resourceVersion']}")[1]
    assert (watched["type"], watched["object"]["code"]) == ("ERROR", 410)


def test_a_taken_port_is_tried_no_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, asked = servers.free_ports, []
    with socket.create_server((servers.LOOPBACK, 0)) as taken:

        def free_ports(count: int) -> tuple[int, ...]:
            asked.append(count)
            found = honest(count)
            return found if len(asked) > 1 else (taken.getsockname()[1], *found[1:])

        monkeypatch.setattr(servers, "free_ports", free_ports)
        with ControlPlane.run(controllers=False) as plane:
            assert plane.request("GET", "/readyz") == (200, "ok")
    assert asked == [3, 3]


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that do nothing for long."""
    for name in ("etcd", "kube-apiserver", "kubectl"):
        write_program(tmp_path / name, "exec sleep 1000")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    return tmp_path


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_server_that_ends_fails_the_start_at_once_with_its_last_words(assets: Path) -> None:
    write_program(assets / "kube-apiserver", "echo 'unknown flag: --nonsense' >&2; exit 3")
    started = time.monotonic()
    with pytest.raises(ControlPlaneError, match=r"kube-apiserver ended with 3:\nunknown flag: --nonsense"), ControlPlane.run():
        pass
    assert time.monotonic() - started < 5


def test_ports_that_are_always_taken_are_given_up(assets: Path) -> None:
    write_program(assets / "etcd", "echo 'listen tcp: bind: address already in use' >&2; exit 1")
    with pytest.raises(ControlPlaneError, match="found no free ports in 3 tries"), ControlPlane.run():
        pass


def test_a_start_that_takes_too_long_says_what_the_server_said(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(assets / "kube-apiserver", "echo 'waiting for etcd' >&2; exec sleep 1000")
    monkeypatch.setattr(plane_module, "_READY_LIMIT", 0.5)
    with pytest.raises(ControlPlaneError, match=r"kube-apiserver is not ready after 0.5 s:\nwaiting for etcd"), ControlPlane.run():
        pass


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_no_process_and_no_file(sign: signal.Signals) -> None:
    with started(RUN if sign == signal.SIGKILL else HELD) as (run, folder):
        assert processes(folder)
        run.send_signal(sign)
        run.wait(30)
        assert until(lambda: is_gone(folder))


def test_a_killed_keeper_takes_its_programs_along_and_the_next_run_sweeps_the_rest() -> None:
    with started(HELD) as (run, folder):
        *_, keeper = sorted(processes(folder), key=lambda pid: "keeper" in Path(f"/proc/{pid}/cmdline").read_text())
        os.kill(keeper, signal.SIGKILL)
        assert until(lambda: not processes(folder))
        assert folder.exists()
        sweep()
        assert not folder.exists()
        run.kill()
        run.wait(30)


def test_a_run_that_lives_is_not_swept() -> None:
    with Hold.open() as living:
        sweep()
        assert living.folder.exists()


def test_a_question_that_was_cut_short_does_not_spoil_the_next() -> None:
    with Hold.open() as hold:
        hold._connection.sendall(b'{"request": 0, "do": "look"}\n' * 3)
        hold.start("sleeper", ["sleep", "1000"], dict(os.environ))
        assert hold.returncodes() == {"sleeper": None}


@contextmanager
def started(program: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A program and the folder of its keeper, which it prints; what is left of it is killed in the end."""
    python = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, "-c", program], env=python, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        yield run, Path(run.stdout.readline().strip())
        run.kill()
