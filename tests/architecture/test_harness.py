"""What stands beside every test does its work: tasks left pending, counts and their evidence, the seed."""

import ast
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import core

import effort
import evidence
from evidence import Count, Suite, committed, counted, suite_of
from pending import watched

TESTS = Path(__file__).parents[1]


async def test_a_test_that_leaves_a_task_pending_fails() -> None:
    left: list[asyncio.Task[None]] = []

    async def careless() -> None:
        left.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

    with pytest.raises(AssertionError, match="left tasks pending: forgotten"):
        await watched(careless)()
    left[0].cancel()


async def test_a_task_that_was_cancelled_may_end_by_itself() -> None:
    async def careful() -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()

    await watched(careful)()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for evidence."""
    monkeypatch.setattr(evidence, "FOLDER", tmp_path)
    committed.cache_clear()
    yield tmp_path
    committed.cache_clear()


def a_test(nodeid: str = "tests/crash/test_cuts.py::test_all") -> Any:
    return SimpleNamespace(node=SimpleNamespace(nodeid=nodeid, user_properties=[]))


def test_a_test_that_counts_says_how_far_it_went(folder: Path) -> None:
    request = a_test()
    assert counted(request, 3, 40, "kills") == 3
    [(_, value)] = request.node.user_properties
    assert str(Count(**value)) == "3 of 40 kills"


@pytest.mark.parametrize(("done", "total"), [(0, 1), (2, 1)])
def test_a_count_of_nothing_or_of_too_much_fails(done: int, total: int) -> None:
    with pytest.raises(AssertionError):
        counted(a_test(), done, total)


def test_evidence_of_fewer_cases_than_there_are_fails_the_test(folder: Path) -> None:
    evidence.write("crash", Suite(tests=1, seconds=2.6, counts={a_test().node.nodeid: Count(40, 40, "cuts")}))
    written = json.loads((folder / "crash.json").read_text())
    assert (written["suite"], written["seconds"], written["seed"]) == ("crash", 3, effort.SEED)
    counted(a_test(), 40, 40, "cuts")
    with pytest.raises(pytest.fail.Exception, match="names 40 cuts, and there are 41 by now"):
        counted(a_test(), 41, 41, "cuts")


def test_a_suite_is_a_folder_of_tests() -> None:
    assert suite_of("tests/crash/deep/test_cuts.py::test_all[a/b]") == "crash"
    assert suite_of("tests/test_top.py::test") == ""


def test_evidence_that_is_committed_covers_every_test_that_counts() -> None:
    for path in evidence.FOLDER.glob("*.json"):
        found = json.loads(path.read_text())
        counts = {test: Count(**raw) for test, raw in found["counts"].items()}
        assert found["suite"] == path.stem
        assert {test for test, count in counts.items() if count.done != count.total} == set()
        assert {test.partition("[")[0] for test in counts} == set(counting(TESTS / path.stem))


def counting(folder: Path) -> Iterator[str]:
    """The tests of a suite that call `counted`."""
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_") and _counts(node):
                yield f"{path.relative_to(TESTS.parent).as_posix()}::{node.name}"


def _counts(test: ast.AST) -> bool:
    return any(isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "counted" for node in ast.walk(test))


def test_all_that_is_random_starts_from_the_seed(pytestconfig: pytest.Config) -> None:
    assert os.environ["SEED"] == str(effort.SEED)
    assert core.global_force_seed == int(pytestconfig.getoption("hypothesis_seed"))


def test_the_seed_is_the_same_every_day_unless_it_is_chosen() -> None:
    asked = [sys.executable, "-c", "import effort; print(effort.LEVEL, effort.SEED, effort.effort(1, 2))"]
    clean = {name: value for name, value in os.environ.items() if name not in {"EFFORT", "SEED"}} | {"PYTHONPATH": str(TESTS)}
    assert subprocess.check_output(asked, env=clean, text=True) == "short 0 1\n"
    assert subprocess.check_output(asked, env=clean | {"EFFORT": "full", "SEED": "7"}, text=True) == "full 7 2\n"
    assert len({subprocess.check_output(asked, env=clean | {"EFFORT": "full"}, text=True) for _ in range(2)}) == 2
