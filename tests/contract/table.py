"""The table of docs/providers/contract-table.md: what each case came to with each provider, as the last run had it.

CONTRACT_TABLE=1 writes it from a run of the whole suite (`make contract`); every other run has to agree with it.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from keyturn.testing.provider_suite import CASES, Case

PAGE: Final = Path(__file__).parents[2] / "docs" / "providers" / "contract-table.md"
WRITES: Final = os.environ.get("CONTRACT_TABLE") == "1"
_KEY: Final = "contract"
_PASSED: Final = "✓"

Cells = Mapping[tuple[str, str], str]
"""By provider and case: '' where it passed, else why it was left out."""

_HEAD: Final = """# What every provider keeps, and what does not apply to it

Written by `make contract` from a run of the contract suite against real servers, and against fakes where a column says so, bare and \
behind the guard; do not edit. A ✓ passed; a number says below why the case is not for this provider. [contract.md](contract.md) says \
what the suite is and how to run it on a provider of yours.

What a fake is, its provider's page says: [AWS](aws.md), [Azure](azure.md), [Google](google.md). For AWS there is a second opinion, from \
[a fake that others wrote](aws.md#how-it-is-tested); it is no column here.
"""


def record(request: pytest.FixtureRequest, provider: str, case: Case, ended: str) -> None:
    """Tells how a case ended; fails where the page says otherwise."""
    request.node.user_properties.append((_KEY, (provider, case.name, ended)))
    if not WRITES:
        known = read(PAGE.read_text())
        assert known.get((provider, case.name)) == ended, "docs/providers/contract-table.md says otherwise: run make contract"


def render(providers: list[str], cells: Cells) -> str:
    """The page."""
    reasons = list(dict.fromkeys(cells[name, case.name] for case in CASES for name in providers if cells[name, case.name]))
    lines = [_HEAD, f"| Case | {' | '.join(providers)} |", f"|---{'|---' * len(providers)}|"]
    for case in CASES:
        row = (cells[name, case.name] for name in providers)
        marks = (f"[{reasons.index(why) + 1}](#reasons)" if why else _PASSED for why in row)
        lines.append(f"| {case.name} | {' | '.join(marks)} |")
    lines += ["", "## Reasons", "", *(f"{number}. {why}" for number, why in enumerate(reasons, 1))]
    lines += ["", "## Cases", "", *(f"- **{case.name}**: {case.claim}" for case in CASES), ""]
    return "\n".join(lines)


def read(page: str) -> dict[tuple[str, str], str]:
    """The cells of a page."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")]
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", page, re.MULTILINE))
    found: dict[tuple[str, str], str] = {}
    for case, *marks in rows[1:]:
        for provider, mark in zip(rows[0][1:], marks, strict=True):
            number = re.match(r"\[(\d+)\]", mark)
            found[provider, case] = reasons[number[1]] if number else ""
    return found


class Scribe:
    """Gathers the cells of a run, in the process that the user started, and writes the page when all are there and none failed."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for provider, case, ended in told(report):
                self._cells[provider, case] = ended

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        providers = list(dict.fromkeys(provider for provider, _ in self._cells))
        if not exitstatus and len(self._cells) == len(providers) * len(CASES) > 0:
            PAGE.write_text(render(sorted(providers, key=_order), self._cells))


def told(report: pytest.TestReport) -> list[tuple[str, str, str]]:
    """What a test has recorded."""
    return [
        (str(value[0]), str(value[1]), str(value[2]))
        for name, value in report.user_properties
        if name == _KEY and isinstance(value, list | tuple)
    ]


def _order(provider: str) -> tuple[bool, str]:
    return provider == "fake", provider
