"""The page of the audit trail lists every action that the code records, and no other, with what leads to it and what stands with it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.model.audit import Outcome
from keyturn.model.plan import Action

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "audit.md"
_ACTION = re.compile("(secret|sync|provider|managedsecret|operator|audit|keys|rotation)[.][a-z][a-z-]*")
_ROW = re.compile(r"^\| `([a-z.-]+)` \|(.*)\|$", re.MULTILINE)


def recorded() -> Iterator[str]:
    """Every action that stands in the code as a word of its own; a plan's is put together."""
    yield from (f"secret.{action}" for action in Action if action is not Action.NOTHING)
    for path in (ROOT / "operator" / "keyturn").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _ACTION.fullmatch(node.value):
                yield node.value


def listed() -> dict[str, list[str]]:
    """The page's table: cells by action."""
    section = PAGE.read_text().partition("## What is a row")[2].partition("\n## ")[0]
    return {action: [cell.strip() for cell in cells.split("|")] for action, cells in _ROW.findall(section)}


def test_every_action_is_on_the_page_and_no_other() -> None:
    assert set(listed()) == set(recorded())


@pytest.mark.parametrize("action", sorted(set(recorded())))
def test_an_action_is_told_with_its_trigger_its_details_and_its_outcomes(action: str) -> None:
    cells = listed()[action]
    assert len(cells) == 3
    assert all(cells)
    outcomes = {word.strip(" `") for word in cells[2].split(",")}
    assert outcomes <= {*Outcome}, "how it can end, in the words of the column"
