"""The page of reasons is what the table in `model/status.py` gives."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from keyturn.cli import cli
from keyturn.model.status import REASONS

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"


def test_the_command_writes_the_page_that_is_checked_in(tmp_path: Path) -> None:
    made = tmp_path / "reasons.md"
    result = CliRunner().invoke(cli, ["reasons", "--out", str(made)])
    assert result.exit_code == 0, result.output
    assert made.read_text() == PAGE.read_text(), "run keyturn reasons --out docs/reasons.md"


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_has_one_row_with_what_to_expect_and_to_do(reason: str) -> None:
    [row] = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{reason}` |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 4
    assert all(cells)
    assert cells[3].endswith(".")
