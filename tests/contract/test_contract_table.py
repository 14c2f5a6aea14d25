"""The pages of the contract: the table is whole and as a run writes it, and the example proves itself as its reader runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from contract.table import PAGE, read, render
from contract.test_contract import BENCHES
from keyturn.testing.provider_suite import CASES, Need

GUIDE = PAGE.with_name("contract.md")
SOURCES = Path(__file__).parents[2] / "operator"


def test_the_table_has_each_provider_and_each_case_and_is_written_by_a_run() -> None:
    page = PAGE.read_text()
    cells = read(page)
    assert set(cells) == {(provider, case.name) for provider in BENCHES for case in CASES}
    assert page == render(list(dict.fromkeys(provider for provider, _ in cells)), cells), "run make contract"


def test_no_two_cases_have_one_name_and_each_has_a_claim() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert [case.name for case in CASES if not case.claim.endswith(".")] == []


def pytest_on(tmp_path: Path, text: str) -> str:
    """What pytest says to a file of tests, in a folder without any settings."""
    (tmp_path / "test_mine.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    asked = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_mine.py"]
    ran = subprocess.run(
        asked, cwd=tmp_path, env=kept | {"PYTHONPATH": str(SOURCES)}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


def example() -> str:
    """The first block of code of the guide."""
    found = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_the_example_of_the_guide_passes_and_says_why_cases_are_left_out(tmp_path: Path) -> None:
    told = pytest_on(tmp_path, example())
    assert "failed" not in told, told
    assert "error" not in told, told
    assert re.search(r"\d+ passed, \d+ skipped", told), told
    assert "no Cap.VERSIONS: it keeps the newest value alone" in told


def test_the_writer_of_the_guide_passes_and_without_a_method_is_told_which(tmp_path: Path) -> None:
    whole = "".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[:2])
    told = pytest_on(tmp_path, whole)
    assert "failed" not in told, told
    assert "error" not in told, told
    assert "no Cap.CAS: it has no versions to compare" in told
    missing = re.sub(r"    async def (versions|undelete)\(.*?\n\n", "\n", whole, flags=re.DOTALL)
    assert "a Writer has all of put, promote, versions, delete, undelete, whatever its caps: it lacks versions, undelete" in (
        pytest_on(tmp_path, missing)
    )
    heedless = whole.replace("if not key or not key.isprintable():", "if key == chr(0):")
    assert "put('') went through instead of raising ProviderError" in pytest_on(tmp_path, heedless)


def test_the_guide_names_each_need() -> None:
    page = GUIDE.read_text()
    assert [need.name for need in Need if f"`Need.{need.name}`" not in page and f"`{need.name}`" not in page] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('Cap.PUT: "it is for reading",', ""), "is without Cap.PUT, and does not say in `lacks` why"),
        (('Cap.TAGS: "it knows no tags",', 'Cap.LIST: "no",'), "`lacks` excuses Cap.LIST, which the provider has"),
        (
            ('Need.DENY: "who may read may read all",', ""),
            "has to bring rights for each key: `deny`, or to say in `lacks` why not",
        ),
        (("Value(Sensitive(held[ref.key]))", "Value(Sensitive(held[ref.key].strip()))"), "a read gave other bytes than are there"),
    ],
    ids=["a gap without a reason", "a reason without a gap", "a bench without a method", "a broken provider"],
)
def test_the_suite_says_what_is_wrong(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    assert change[0] in example()
    assert told in pytest_on(tmp_path, example().replace(*change))
