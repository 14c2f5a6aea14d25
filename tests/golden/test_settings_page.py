"""The page of settings is what the flags of `keyturn run` give."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from keyturn.cli import cli
from keyturn.cli.run import run
from pages import ROOT

PAGE = ROOT / "docs" / "settings.md"
FLAGS = [option for option in run.params if isinstance(option, click.Option)]


def test_the_command_writes_the_page_that_is_checked_in(tmp_path: Path) -> None:
    made = tmp_path / "settings.md"
    result = CliRunner().invoke(cli, ["settings", "--out", str(made)])
    assert result.exit_code == 0, result.output
    assert made.read_text() == PAGE.read_text(), "run keyturn settings --out docs/settings.md"


@pytest.mark.parametrize("option", FLAGS, ids=lambda option: option.opts[0])
def test_a_flag_has_one_row_with_its_twin_its_value_its_default_and_its_meaning(option: click.Option) -> None:
    [row] = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{option.opts[0]}` |")]
    twin, value, default, meaning = [cell.strip() for cell in row.strip("|").split("|")][1:]
    assert twin == f"`{option.envvar}`"
    assert all((value, default, meaning.endswith(".")))
    assert ("repeatable" in value) == option.multiple
