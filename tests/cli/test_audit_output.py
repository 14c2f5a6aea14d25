"""`keyturn audit` with what it cannot take, and with nowhere to tell: one line on standard error, and never a seeming success."""

import os
import subprocess
from pathlib import Path

import pytest

from cli.calls import KEYTURN, Bench
from pages import Shell

MASTER = "kbGqNnLsGz2y7Jm4QxTfV0pR8cWu1dHe5aZi9oXkYBM="
SEED = "8xYv2mQpRkT5nBzLw0sJdHf7cGa3uEo9iXqZt1KyVWM="


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """With a database in which a value was stored, and so with rows."""
    url = f"sqlite:///{tmp_path / 'keyturn.db'}"
    made = Bench(tmp_path, SECRETS_PROVIDER="database", DATABASE_URL=url, SECRET_KEY=MASTER, AUDIT_SIGNING_KEY=SEED)
    stored = made.call("set", "shop/app", stdin=b"kt-canary-audit-output")
    assert stored.returncode == 0, stored.stderr
    return made


def told(bench: Bench, *arguments: str) -> tuple[int, str]:
    ran = bench.call("audit", *arguments)
    return ran.returncode, (ran.stdout + ran.stderr).decode()


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"])
def test_a_time_that_no_calendar_has_is_a_mistake_of_usage(bench: Bench, tmp_path: Path, time: str) -> None:
    for command in (("query", "--since", time), ("query", "--until", time), ("prune", "--to", str(tmp_path), "--before", time)):
        code, said = told(bench, *command)
        assert (code, "is no time" in said, "Traceback" in said) == (2, True, False), said


@pytest.mark.parametrize("option", ["--object", "--namespace", "--actor", "--action", "--attempt", "--key", "--reason"])
def test_a_text_longer_than_any_of_a_row_is_a_mistake_of_usage(bench: Bench, option: str) -> None:
    code, said = told(bench, "query", option, "a" * 100_000)
    assert (code, f"{option}': has 100000 characters" in said) == (2, True), said
    assert told(bench, "query", option, "a" * 1024)[0] == 0


def test_bytes_that_are_no_text_are_a_mistake_of_usage(tmp_path: Path, bench: Bench) -> None:
    environment = Shell(tmp_path, settings=bench.settings).environment
    for given, more in ((b"a\xff", {}), ("é".encode(), {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})):
        command = [*KEYTURN, "audit", "query", "--object", given]
        ran = subprocess.run(command, env=environment | more, cwd=tmp_path, capture_output=True, check=False)
        assert (ran.returncode, b"LC_ALL=C.UTF-8" in ran.stderr, b"Traceback" in ran.stderr) == (2, True, False), ran.stderr


def test_a_file_without_a_name_is_a_mistake_of_usage(bench: Bench) -> None:
    code, said = told(bench, "export", "-o", "")
    assert (code, "-o is empty; name the file" in said) == (2, True), said


COMMANDS = (("query",), ("query", "--json"), ("key",), ("verify",), ("export", "-o", "-"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_cannot_be_told_is_a_failure_in_one_line(tmp_path: Path, bench: Bench, command: tuple[str, ...]) -> None:
    environment = Shell(tmp_path, settings=bench.settings).environment
    for there, why in ((">/dev/full", "standard output cannot be written: No space left on device"), (">&-", "standard output is closed")):
        line = ["sh", "-c", f'exec "$@" {there}', "sh", *KEYTURN, "audit", *command]
        ran = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr.count("\n"), why in ran.stderr) == (1, 1, True), ran.stderr


@pytest.mark.parametrize("command", COMMANDS[:4], ids=" ".join)
def test_who_reads_no_further_is_told_nothing(tmp_path: Path, bench: Bench, command: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    environment = Shell(tmp_path, settings=bench.settings).environment
    line = [*KEYTURN, "audit", *command]
    ran = subprocess.run(line, env=environment, cwd=tmp_path, stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (ran.returncode, ran.stderr) == (1, b"")
