"""Small parts: files, functions and seams stay short enough to be read."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn import ports

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 300  # lines
LONGEST_FUNCTION = 60
WIDEST_PORT = 5  # methods


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", ["operator", "tests"])
def test_no_file_is_too_long(folder: str) -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in sources(folder)}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    assert [told for path in sources("operator") for told in too_long(path)] == []


def too_long(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION:
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def protocols() -> list[type]:
    return [made for made in vars(ports).values() if inspect.isclass(made) and made.__module__ == ports.__name__]


@pytest.mark.parametrize("port", protocols(), ids=lambda port: port.__name__)
def test_a_port_is_a_narrow_protocol_with_a_contract(port: type) -> None:
    members = {name: member for name, member in vars(port).items() if not name.startswith("_")}
    methods = [name for name, member in members.items() if callable(member)]
    assert getattr(port, "_is_protocol", False)
    assert 1 <= len(methods) <= WIDEST_PORT
    assert port.__doc__
    assert [name for name, member in members.items() if not member.__doc__] == []
