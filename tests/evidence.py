"""A pytest plugin: how far tests that count went, and what a run at full effort tried, as ``docs/evidence/<suite>.json``.

Written only where a whole suite was run and passed, so that nobody takes a part for the whole.
"""

import json
import subprocess
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from effort import FULL, LEVEL, SEED

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "evidence"
_PROPERTY = "counted"


@dataclass(frozen=True, slots=True)
class Count:
    """So many of so many."""

    done: int
    total: int
    what: str

    def __str__(self) -> str:
        return f"{self.done} of {self.total} {self.what}"


@dataclass(slots=True)
class Suite:
    """What one folder of tests did in this run."""

    tests: int = 0
    failed: bool = False
    seconds: float = 0.0
    counts: dict[str, Count] = field(default_factory=dict)


def counted(request: pytest.FixtureRequest, done: int, total: int, what: str = "cases") -> int:
    """Says that ``done`` of ``total`` cases are tried; the total is what the code has, or what the docs name. Gives ``done``.

    Fails where the evidence in docs/ names fewer cases than there are by now.
    """
    assert 0 < done <= total, f"{done} of {total} {what}"
    named = committed(suite_of(request.node.nodeid)).get(request.node.nodeid)
    if named is not None and named.total < total:
        pytest.fail(f"docs/evidence names {named.total} {what}, and there are {total} by now: run the suite at EFFORT=full")
    request.node.user_properties.append((_PROPERTY, asdict(Count(done, total, what))))
    return done


def suite_of(nodeid: str) -> str:
    """The folder of tests/ that a test is in, '' where it is in none."""
    parts = Path(nodeid.partition("::")[0]).parts
    return parts[1] if len(parts) > 2 and parts[0] == "tests" else ""


@cache
def committed(suite: str) -> dict[str, Count]:
    """The counts that the evidence of a suite names, by test; empty without it."""
    path = FOLDER / f"{suite}.json"
    return {test: Count(**raw) for test, raw in json.loads(path.read_text())["counts"].items()} if path.is_file() else {}


def told(report: pytest.TestReport) -> list[dict[str, Any]]:
    """What a test has counted."""
    return [value for name, value in report.user_properties if name == _PROPERTY and isinstance(value, dict)]


class Ledger:
    """Adds up what tests report, in the process that the user started."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._suites: dict[str, Suite] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        suite = self._suites.setdefault(suite_of(report.nodeid), Suite())
        suite.seconds += report.duration
        suite.failed |= report.failed
        if report.when == "teardown":
            suite.tests += 1
            suite.counts.update((report.nodeid, Count(**value)) for value in told(report))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        lines = [f"{count}  {test}" for suite in self._suites.values() for test, count in suite.counts.items()]
        if lines:
            terminalreporter.section("counts")
            terminalreporter.write_line("\n".join(lines))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        for name, suite in self._suites.items():
            if FULL and not exitstatus and suite.counts and not suite.failed and self._is_whole(name):
                write(name, suite)

    def _is_whole(self, suite: str) -> bool:
        option = self._config.option
        if option.keyword or option.markexpr or option.deselect or getattr(option, "lf", False):
            return False
        given = [(self._config.invocation_params.dir / argument).resolve() for argument in self._config.args]
        return any((ROOT / "tests" / suite).is_relative_to(path) for path in given)


def write(name: str, suite: Suite) -> None:
    """Writes the evidence of a suite."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    counts = {test: asdict(count) for test, count in sorted(suite.counts.items())}
    found = {"suite": name, "commit": commit(), "seed": SEED, "seconds": round(suite.seconds), "tests": suite.tests, "counts": counts}
    (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


def commit() -> str:
    """The commit that was tested, with `-dirty` where files differ from it."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout.strip() or "none"


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Ledger(config), "evidence-ledger")


def pytest_report_header() -> str:
    return f"effort {LEVEL}; EFFORT={LEVEL} SEED={SEED} repeats it"
