"""What the command line says of itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from golden.golden import assert_golden

SOURCE = Path(__file__).parents[2] / "operator"


@pytest.mark.parametrize(("arguments", "name"), [((), "help.txt"), (("run",), "help-run.txt")], ids=["keyturn", "keyturn run"])
def test_help_is_as_it_was(arguments: tuple[str, ...], name: str) -> None:
    # In a process of its own: click remembers the help option of a command from its first use, however it was called.
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'keyturn'; from keyturn.cli import main; main()", *arguments, "--help"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "80"}
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert_golden(name, told.stdout)
