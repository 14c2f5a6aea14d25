"""The control plane's programs are built once, whole or not at all, and what stands in the way is said at once.

Go is a script here: a real build takes ten minutes.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane import build
from controlplane.errors import ControlPlaneError
from controlplane.programs import NAMES

TESTS = Path(__file__).parents[1]
FAKE_GO = """#!/bin/sh
echo "$*" >>"$0.calls"
case "$*" in
version) echo "go version ${FAKE_GO_VERSION:-go1.99.1} linux/amd64" ;;
env*) printf '%s\\n' "$GOCACHE" "$GOMODCACHE" ;;
list*) echo false example/one; echo false example/two ;;
*" -o "*)
    while [ "$1" != -o ]; do shift; done
    eval "$FAKE_GO_BUILD"
    cp /bin/true "$2"
    ;;
esac
"""
BUILD = """
import sys
from controlplane import __main__, build
build._WHEEL_SIZE = build._MODULES_SIZE = build._PACKAGE_SIZE = build._WORK_SIZE = 0
sys.argv = ["controlplane", "build"]
sys.exit(__main__.main())
"""
"""The command, on a disk that holds what a script makes, but maybe no build."""


class Machine:
    """A user's machine with empty caches, one Go in PATH, and no package index."""

    def __init__(self, home: Path) -> None:
        self.cache = home / "cache"
        self.go = home / "bin" / "go"
        self.go.parent.mkdir()
        self.environment = {
            "PATH": f"{self.go.parent}:/usr/bin:/bin",
            "HOME": str(home),
            "XDG_CACHE_HOME": str(self.cache),
            "GOCACHE": str(home / "gocache"),
            "GOMODCACHE": str(home / "modules"),
            "PIP_INDEX_URL": "http://127.0.0.1:9/",  # nobody listens on it
            "PIP_NO_INDEX": "1",
            "PIP_RETRIES": "0",
            "UV_NO_INDEX": "1",
            "PYTHONPATH": str(TESTS),
        }

    def install_go(self) -> None:
        self.go.write_text(FAKE_GO)
        self.go.chmod(0o755)

    def build(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", BUILD],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def said(self, **environment: str) -> tuple[int, str]:
        run = self.build(**environment)
        text, _ = run.communicate(timeout=60)
        return run.returncode, text

    def builds(self) -> int:
        return (self.go.parent / "go.calls").read_text().count(" -o ")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.install_go()
    return made


def until(is_so: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_build_is_announced_made_once_and_found_again(machine: Machine) -> None:
    returncode, text = machine.said()
    assert returncode == 0
    assert "building Kubernetes v1.36.3 with Go 1.99.1" in text
    assert "min on 2 idle cores" in text
    assert "GB in" in text
    folder = Path(text.splitlines()[-1])
    assert {path.name for path in folder.iterdir()} == {"controlplane", *NAMES}
    assert machine.said() == (0, f"{folder}\n")
    assert machine.builds() == 1


def test_two_runs_share_one_build(machine: Machine) -> None:
    gate = machine.cache / "gate"
    slow = {"FAKE_GO_BUILD": f"until [ -e {gate} ]; do sleep 0.02; done"}
    first = machine.build(**slow)
    assert until(lambda: (machine.go.parent / "go.calls").exists() and machine.builds() == 1)
    second = machine.build(**slow)
    assert second.stdout
    assert "another run is building it" in second.stdout.readline()
    gate.touch()
    assert first.communicate(timeout=30)[0].splitlines()[-1] == second.communicate(timeout=30)[0].splitlines()[-1]
    assert machine.builds() == 1


def test_a_failed_build_says_the_compilers_last_words_and_leaves_nothing(machine: Machine) -> None:
    returncode, text = machine.said(FAKE_GO_BUILD="echo 'main.go:7: undefined: kubelet' >&2; exit 1")
    assert returncode == 1
    assert "go build failed" in text
    assert "main.go:7: undefined: kubelet" in text
    assert "Traceback" not in text
    assert [path.name for path in machine.cache.glob("keyturn/*")] == ["controlplane.lock"]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_ended_ends_its_compiler(machine: Machine, sign: signal.Signals) -> None:
    note = machine.cache / "pid"
    run = machine.build(FAKE_GO_BUILD=f"echo $$ >{note}; exec sleep 1000")
    assert until(lambda: note.exists() and note.read_text().endswith("\n"))
    compiler = int(note.read_text())
    run.send_signal(sign)
    run.communicate(timeout=30)
    assert until(lambda: not runs(compiler))
    assert machine.said()[0] == 0
    assert not list(machine.cache.glob("keyturn/building-*")), "the next build sweeps what a killed one left"


def test_the_two_newest_builds_are_kept(machine: Machine) -> None:
    folders = []
    for patch in range(4):
        folders.append(Path(machine.said(FAKE_GO_VERSION=f"go1.99.{patch}")[1].splitlines()[-1]))
        os.utime(folders[-1], (patch, patch) if patch < 3 else None)
    assert [folder.exists() for folder in folders] == [False, False, True, True]


def test_without_go_and_package_index_it_says_what_to_install(machine: Machine) -> None:
    machine.go.unlink()
    returncode, text = machine.said()
    assert returncode == 1
    assert "there is no Go in PATH" in text
    assert "Install Go 1.26.0 or newer" in text
    assert "Traceback" not in text


def test_a_go_that_is_too_old_is_named_with_the_version_that_is_needed(machine: Machine) -> None:
    returncode, text = machine.said(FAKE_GO_VERSION="go1.19.8")
    assert returncode == 1
    assert f"{machine.go} is Go 1.19.8 and 1.26.0 is needed" in text


def test_too_little_disk_is_said_before_anything_is_done(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(build, "_MODULES_SIZE", 1e15)
    with pytest.raises(ControlPlaneError, match=r"not enough disk .*: \d+\.\d GB needed, \d+\.\d GB free, in .*modules") as error:
        build.find_or_build()
    assert str(machine.cache / "keyturn") in str(error.value)
    assert machine.builds() == 0
    assert not list(machine.cache.glob("keyturn/building-*"))


def test_assets_that_lack_a_program_are_refused_by_its_name(machine: Machine) -> None:
    returncode, text = machine.said(KUBEBUILDER_ASSETS=str(machine.go.parent))
    assert returncode == 1
    assert "lacks etcd, kube-apiserver, kubectl" in text
