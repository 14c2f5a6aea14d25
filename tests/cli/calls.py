"""Commands as a shell or a terminal sees them, and the audit trail that they leave behind."""

import json
import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from pages import Shell

KEYTURN = [sys.executable, "-c", "from keyturn.cli import main; main()"]


class Bench:
    """Calls with bytes in and bytes out; ``settings`` configure the default provider."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.settings, self._environment = settings, Shell(folder, settings=settings).environment
        self._folder = folder

    def call(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*KEYTURN, *arguments], cwd=self._folder, env=self._environment, input=stdin, capture_output=True, timeout=120, check=False
        )

    def at_terminal(self, *arguments: str, answer: bytes | None = None) -> tuple[int, bytes]:
        """How it ended and what a terminal showed, with all three streams on it; each prompt gets the answer."""
        ours, theirs = pty.openpty()
        # Without a terminal of its own, or it would ask at ours.
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
        with subprocess.Popen([*KEYTURN, *arguments], cwd=self._folder, env=self._environment, **streams) as run:
            os.close(theirs)
            shown = b""
            with suppress(OSError):  # how the end of a terminal shows
                while chunk := os.read(ours, 4096):
                    shown += chunk
                    # What is typed before a prompt is thrown away by it.
                    if answer is not None and shown.endswith(b": "):
                        os.write(ours, answer + b"\n")
        os.close(ours)
        return run.returncode, shown


def audit(stderr: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.decode().splitlines() if line.startswith("{")]


def complaint(stderr: bytes) -> str:
    [told] = [line for line in stderr.decode().splitlines() if not line.startswith("{")]
    return told


def trail(bench: Bench) -> list[tuple[str, ...]]:
    """Its rows, by SQL as anybody may who has the file: actor, action, keys, outcome, reason, details, settles, event."""
    columns = "actor, action, keys, outcome, reason, details, settles, event"
    with closing(sqlite3.connect(bench.settings["DATABASE_URL"].removeprefix("sqlite:///"))) as connection:
        return connection.execute(f"SELECT {columns} FROM secret_access_log ORDER BY seq").fetchall()
