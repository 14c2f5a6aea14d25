"""What `make bench` writes: bench.json, whose keys stay as they are.

    {"schema": 1, "measurements": [{
        "objects": N, "runs": R, "provider": "vault", "taken": "2026-01-31", "commit": "<hash>[+]", "version": "0.1.0",
        "pace": {"idle_s", "interval_s", "cycles", "drifts", "changes"}, "python": "3.13.1",
        "machine": {"system", "architecture", "processor", "cores", "memory_gib"},
        "figures": {KEY: median, …},        the keys are those of budget.FIGURES; `_s` seconds, `_ms` milliseconds, `_mib` MiB
        "each": [{KEY: value, …}, …],       the runs, in their order
        "broken": [KEY, …]                  the figures beyond their budget, wall times left out
    }]}

A `+` after the commit says that the tree held more than the commit. There is one measurement for each N; a later one of
the same N takes the place of the former.
"""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.budget import FIGURES
from bench.pace import Pace
from controlplane.installation import ROOT
from keyturn import __version__

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """All runs with one number of objects."""

    objects: int
    runs: int
    provider: str
    taken: str
    commit: str
    version: str
    pace: dict[str, float]
    python: str
    machine: dict[str, Any]
    figures: dict[str, float]
    each: list[dict[str, float]]
    broken: list[str]


def measurement(objects: int, provider: str, pace: Pace, each: list[dict[str, float]]) -> Measurement:
    """The medians of the runs, and what they were taken with."""
    figures = {figure.key: round(median(run[figure.key] for run in each), 4) for figure in FIGURES}
    return Measurement(
        objects=objects,
        runs=len(each),
        provider=provider,
        taken=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=_commit(),
        version=__version__,
        pace=asdict(pace),
        python=platform.python_version(),
        machine=_machine(),
        figures=figures,
        each=[{key: round(run[key], 4) for key in figures} for run in each],
        broken=[f.key for f in FIGURES if f.is_broken(figures[f.key], objects, provider)],
    )


def read(path: Path) -> list[Measurement]:
    """The measurements of a file, by N; none where it is not there yet."""
    if not path.exists():
        return []
    return [Measurement(**raw) for raw in json.loads(path.read_text())["measurements"]]


def write(path: Path, measurements: list[Measurement]) -> None:
    """Replaces a file."""
    path.write_text(json.dumps({"schema": SCHEMA, "measurements": list(map(asdict, measurements))}, indent=2, ensure_ascii=False) + "\n")


def merge(former: list[Measurement], newer: list[Measurement]) -> list[Measurement]:
    """One for each N, the newer one of two."""
    by_size = {m.objects: m for m in [*former, *newer]}
    return [by_size[objects] for objects in sorted(by_size)]


def _commit() -> str:
    """The commit, '' outside a checkout."""
    try:
        head, changed = (_git("rev-parse", "HEAD"), _git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{head}{'+' if changed else ''}"


def _git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True, stderr=subprocess.DEVNULL).strip()


def _machine() -> dict[str, Any]:
    """What tells how fast it is, and nothing that tells whose it is."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": models[0] if models else "",
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
    }
