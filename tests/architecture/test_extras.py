"""Each extra brings its own: with what it names, and what that needs, and nothing besides, its modules can be imported."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

BASE = (
    "keyturn", "keyturn.cli", "keyturn.cli.secrets", "keyturn.cli.run", "keyturn.default", "keyturn.providers.registry",
    "keyturn.providers.env", "keyturn.providers.file", "keyturn.providers.file_yaml", "keyturn.providers.fake",
)  # fmt: skip
MODULES = {
    "": BASE,
    "operator": ("keyturn.app", "keyturn.cli.release", "keyturn.providers.kubernetes"),
    "database": ("keyturn.providers.database", "keyturn.store.databases", "keyturn.store.schema", "keyturn.cli.db", "keyturn.cli.keys"),
    "vault": ("keyturn.providers.vault",),
    "gcp": ("keyturn.providers.google_open",),
    "aws": ("keyturn.providers.aws_open", "keyturn.providers.aws_sdk"),
    "azure": ("keyturn.providers.azure", "keyturn.providers.azure_writer"),
}

# Finds nothing of what is installed beside, as if it were not.
BLOCK = """
import importlib, importlib.machinery, json, sys
strangers = frozenset(json.loads(sys.argv[1]))

class Hidden(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in strangers else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Hidden
for module in sys.argv[2:]:
    importlib.import_module(module)
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(requirement: Requirement) -> Iterator[str]:
    """The distributions that it brings, itself first."""
    waiting, seen = [(requirement.name, frozenset(requirement.extras))], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        yield canonical(name)
        for text in importlib.metadata.requires(name) or ():
            need = Requirement(text)
            if any(need.marker is None or need.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                waiting.append((need.name, frozenset(need.extras)))


def strangers(extra: str) -> Collection[str]:
    """Importable names of all that is installed and comes neither with the base nor with the extra."""
    named = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"].get(extra, ()))]
    brought = {name for requirement in named for name in needs(requirement)} | {"keyturn"}
    owners = importlib.metadata.packages_distributions()
    return sorted(module for module, found in owners.items() if not brought & {canonical(name) for name in found})


@pytest.mark.parametrize("extra", MODULES, ids=lambda extra: extra or "base")
def test_what_it_is_for_can_be_imported_with_it_alone(extra: str) -> None:
    program = [sys.executable, "-c", BLOCK, json.dumps(strangers(extra)), *MODULES[extra]]
    ended = subprocess.run(program, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("extra", [extra for extra in MODULES if extra])
def test_without_it_they_cannot_so_that_it_is_needed(extra: str) -> None:
    program = [sys.executable, "-c", BLOCK, json.dumps(strangers("")), *MODULES[extra]]
    ended = subprocess.run(program, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert "ModuleNotFoundError" in ended.stderr


def test_every_extra_that_brings_something_is_looked_at() -> None:
    filled = {extra for extra, found in PROJECT["optional-dependencies"].items() if found and extra != "all"}
    assert filled == MODULES.keys() - {""}
