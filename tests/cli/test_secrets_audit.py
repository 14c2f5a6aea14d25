"""`keyturn get` and `keyturn set` in the audit trail: in the table of DATABASE_URL, before the effect, or not at all."""

import json
import os
import secrets
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from canary import Canary
from cli.calls import Bench, audit, complaint, trail


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Of a database with our tables, and the key that opens it."""
    given = {"DATABASE_URL": f"sqlite:///{tmp_path}/own.db", "SECRET_KEY": secrets.token_urlsafe(48)}
    (tmp_path / "own.db").touch(0o600)
    assert Bench(tmp_path, SECRETS_PROVIDER="database", **given).call("set", "first", stdin=b"kt-canary-first").returncode == 0
    return given


def test_reads_and_writes_of_the_database_are_rows_of_it(tmp_path: Path, settings: dict[str, str], canary: Canary) -> None:
    bench = Bench(tmp_path, SECRETS_PROVIDER="database", **settings)
    written, read, missed = bench.call("set", "A", stdin=canary("row").encode()), bench.call("get", "A"), bench.call("get", "B")
    assert [each.returncode for each in (written, read, missed)] == [0, 0, 1]
    assert [audit(each.stderr) for each in (written, read, missed)] == [[], [], []], "what is in the table is not on the screen"
    who = f"user/{os.getuid()}"
    told = trail(bench)[2:]
    assert [row[:5] for row in told] == [
        (who, "secret.write", '["A"]', "", ""),
        (who, "secret.write", '["A"]', "success", ""),
        (who, "secret.read", '["A"]', "", ""),
        (who, "secret.read", '["A"]', "success", ""),
        (who, "secret.read", '["B"]', "", ""),
        (who, "secret.read", '["B"]', "failure", "SourceNotFound"),
    ]
    assert [row[6] for row in told[1::2]] == [row[7] for row in told[::2]], "each settles the intent before it"
    assert json.loads(told[1][5])["version"] == json.loads(told[3][5])["version"] == "1"
    assert json.loads(told[0][5])["host"]
    verified = bench.call("audit", "verify")
    assert (verified.returncode, b"sealed by our keys to row 8" in verified.stdout) == (0, True), verified.stderr


def test_other_providers_are_recorded_in_the_database_that_is_given_beside_them(tmp_path: Path, settings: dict[str, str]) -> None:
    bench = Bench(tmp_path, STRIPE="kt-canary-env", **settings)
    ended = bench.call("get", "STRIPE")
    assert (ended.stdout, ended.stderr) == (b"kt-canary-env", b"")
    assert [row[1:4] for row in trail(bench)[2:]] == [
        ("secret.read", '["STRIPE"]', ""),
        ("secret.read", '["STRIPE"]', "success"),
    ]
    assert bench.call("audit", "verify").returncode == 0


def refused(bench: Bench, folder: Path, told: str) -> None:
    files = folder / "secrets"
    files.mkdir(exist_ok=True)
    for ended in (bench.call("get", "STRIPE"), bench.call("set", "STRIPE", stdin=b"kt-canary-late")):
        assert (ended.returncode, ended.stdout) == (1, b"")
        assert told in complaint(ended.stderr)
        assert "set KEYTURN_AUDIT=log if DATABASE_URL is not Keyturn's" in complaint(ended.stderr)
    assert [path.name for path in files.iterdir()] == []


def files(folder: Path, **settings: str) -> Bench:
    return Bench(folder, SECRETS_PROVIDER="file", SECRETS_FILE_PATH=f"{folder}/secrets", **settings)


def test_without_a_row_nothing_is_read_or_written_and_no_database_is_made(tmp_path: Path, settings: dict[str, str]) -> None:
    refused(files(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/other.db"), tmp_path, "other.db that DATABASE_URL names is not there")
    assert not (tmp_path / "other.db").exists()
    (tmp_path / "other.db").touch()
    refused(files(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/other.db"), tmp_path, "has no tables of Keyturn")
    with closing(sqlite3.connect(tmp_path / "own.db")) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON secret_access_log BEGIN SELECT RAISE(ABORT, 'full'); END")
    refused(files(tmp_path, **settings), tmp_path, "the audit trail of DATABASE_URL takes no entry")


def test_without_the_master_keys_nothing_is_done_for_nobody_could_tell_its_row_from_anothers(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    refused(files(tmp_path, DATABASE_URL=settings["DATABASE_URL"]), tmp_path, "give the master keys in SECRET_KEY")


@pytest.mark.parametrize("mode", ["log", "best-effort"])
def test_who_says_so_gets_lines_instead(tmp_path: Path, mode: str) -> None:
    (tmp_path / "secrets").mkdir()
    bench = files(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/other.db", KEYTURN_AUDIT=mode)
    ended = bench.call("set", "STRIPE", stdin=b"kt-canary-set")
    assert ended.returncode == 0, ended.stderr
    actions = [line["action"] for line in audit(ended.stderr) if "action" in line]
    assert actions == ["secret.write"]
    assert (b"is not there" in ended.stderr) is (mode == "best-effort")


def test_an_unknown_mode_is_refused_by_its_name(tmp_path: Path) -> None:
    ended: subprocess.CompletedProcess[bytes] = Bench(tmp_path, KEYTURN_AUDIT="maybe").call("get", "HOME")
    assert ended.returncode == 1
    assert "KEYTURN_AUDIT: 'maybe' is none of required, best-effort, log" in complaint(ended.stderr)
