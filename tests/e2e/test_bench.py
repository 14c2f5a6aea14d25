"""`make bench` on a scale that takes seconds: every figure is there, the counts are right, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.budget import FIGURES
from bench.pace import Pace
from bench.record import measurement
from controlplane.installation import ROOT

SMALL = ("--objects=20", "--runs=1", "--provider=file", "--idle=1", "--interval=1", "--cycles=2", "--drifts=5", "--changes=3")
COUNTS = {"api_writes_per_object": 2, "api_reads_per_object": 0, "api_requests_per_refresh": 0, "restart_writes": 0}


def bench(folder: Path) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name != "BENCH_JSON"}
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "run", *SMALL],
        cwd=folder,
        env=clean | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'operator'}", "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a path that is short enough for a socket in it."""
    return tmp_path_factory.mktemp("b")


def test_a_small_run_has_every_figure_the_right_counts_and_nothing_beyond_its_budget(folder: Path) -> None:
    run = bench(folder)
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, out + err
    [made] = json.loads((folder / "bench.json").read_text())["measurements"]
    assert set(made["figures"]) == {figure.key for figure in FIGURES}
    assert made["each"] == [made["figures"]]
    assert {key: made["figures"][key] for key in COUNTS} == COUNTS
    assert (made["objects"], made["runs"], made["provider"], made["broken"]) == (20, 1, "file", [])
    assert all(figure.title in out for figure in FIGURES)
    assert f"{folder}" not in json.dumps(made)
    assert [path.name for path in folder.iterdir()] == ["bench.json"]


def test_ctrl_c_ends_it_and_leaves_nothing(folder: Path) -> None:
    run = bench(folder)
    assert run.stderr
    for line in run.stderr:
        if "a control plane of our own" in line:
            break
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert list(folder.iterdir()) == []


def test_a_figure_beyond_its_budget_breaks_the_run_unless_it_is_a_wall_time_or_there_are_too_few_objects() -> None:
    beyond = {f.key: 0.0 if f.is_floor else 1e6 for f in FIGURES}
    budgeted = {f.key for f in FIGURES if f.limit(1000, "file") is not None}
    assert set(measurement(1000, "file", Pace(), [beyond]).broken) == budgeted - {f.key for f in FIGURES if f.is_wall}
    few = {f.key for f in FIGURES if f.is_wall or f.judged_from > 20}
    assert set(measurement(20, "file", Pace(), [beyond]).broken) == budgeted - few


def test_a_figure_that_is_within_its_budget_as_it_is_shown_breaks_nothing() -> None:
    [writes] = [f for f in FIGURES if f.key == "api_writes_per_object"]
    assert not writes.is_broken(2.0004, 1000, "file")
    assert writes.is_broken(2.001, 1000, "file")
    [rss] = [f for f in FIGURES if f.key == "rss_mib"]
    assert (rss.limit(20, "file"), rss.limit(1000, "file"), rss.limit(5000, "file")) == (110, 110, 140)
