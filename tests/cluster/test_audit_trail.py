"""The audit trail of an operator on a real API server: what it did stands in its database, before it did it, whatever ends it."""

import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from canary import Canary
from cluster.process import Operator
from cluster.shop import Shop
from cluster.waiting import eventually
from controlplane.installation import ROOT
from controlplane.plane import ControlPlane


@pytest.fixture
def settings(tmp_path: Path, canary: Canary) -> dict[str, str]:
    folder = tmp_path / "database"
    folder.mkdir()
    canary.watch_folder(folder)
    return {"DATABASE_URL": f"sqlite:///{folder}/own.db", "SECRET_KEY": secrets.token_urlsafe(48)}


@pytest.fixture
def operator(own_home: ControlPlane, own_shop: Shop, tmp_path: Path, settings: dict[str, str], canary: Canary) -> Iterator[Operator]:
    with Operator(own_home, tmp_path, settings=settings) as running:
        canary.watch_operator(running.log_file, running.health_url, environ=False)
        yield running


def keyturn(settings: dict[str, str], *arguments: str) -> tuple[int, str]:
    """What a command said, as somebody with the operator's variables."""
    done = subprocess.run(
        [sys.executable, "-m", "keyturn", *arguments],
        env=os.environ | settings | {"PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def rows(settings: dict[str, str], query: str) -> Sequence[tuple[str, ...]]:
    """By SQL, as anybody may who has the file."""
    with closing(sqlite3.connect(settings["DATABASE_URL"].removeprefix("sqlite:///"))) as connection:
        return connection.execute(query).fetchall()


def test_a_story_stands_in_the_trail_with_who_what_for_whom_and_how_it_ended(
    operator: Operator, own_shop: Shop, settings: dict[str, str]
) -> None:
    own_shop.source(password=own_shop.value("first"))
    own_shop.synced("app")
    own_shop.edit("app", data={"password": "eHh4"})
    eventually(lambda: "secret.change" in keyturn(settings, "audit", "query", "--action", "secret.change")[1], what=operator.story)
    own_shop.remove("app")
    name = f"ManagedSecret/{own_shop.namespace}/app"
    code, told = keyturn(settings, "audit", "query", "--object", name)
    assert code == 0, told
    created = next(line for line in told.splitlines() if "secret.create" in line)
    assert f"operator/{operator.name} secret.create {name} -> Secret/{own_shop.namespace}/app [password]: success" in created
    attempt = created.rpartition("#")[2]
    code, joined = keyturn(settings, "audit", "query", "--attempt", attempt)
    assert "provider.read" in joined, joined
    assert "secret.create" in joined, joined
    code, told = keyturn(settings, "audit", "verify")
    assert code == 0, told
    assert "hang together as they were written" in told
    assert "sealed by our keys to row" in told


def test_a_changed_row_is_named_by_the_command_and_an_old_end_shows_what_was_taken_away(
    operator: Operator, own_shop: Shop, settings: dict[str, str]
) -> None:
    own_shop.source(password=own_shop.value("first"))
    own_shop.synced("app")
    assert operator.stop() == 0
    code, told = keyturn(settings, "audit", "verify")
    assert code == 0, told
    anchor = told.partition("the end is ")[2].split()[0]
    with closing(sqlite3.connect(settings["DATABASE_URL"].removeprefix("sqlite:///"))) as connection:
        for name in ("insert", "update", "delete"):
            connection.execute(f"DROP TRIGGER secret_access_log_{name}")
        connection.execute("DELETE FROM secret_access_log WHERE seq = (SELECT max(seq) FROM secret_access_log)")
        connection.commit()
    assert keyturn(settings, "audit", "verify")[0] == 0, "nobody can know offline, without an end that was kept"
    code, told = keyturn(settings, "audit", "verify", "--anchor", anchor)
    assert code == 1
    assert "the anchor knows" in told
    with closing(sqlite3.connect(settings["DATABASE_URL"].removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE secret_access_log SET actor = 'nobody' WHERE seq = 2")
        connection.commit()
    code, told = keyturn(settings, "audit", "verify")
    assert (code, "row 2: its columns" in told) == (1, True), told


def test_a_database_that_lost_its_last_rows_stops_all_changes_until_somebody_accepts_that(
    operator: Operator, own_shop: Shop, settings: dict[str, str]
) -> None:
    """As after a restore of an older backup. What stands stays as it is."""
    file = Path(settings["DATABASE_URL"].removeprefix("sqlite:///"))
    own_shop.source(password=own_shop.value("first"))
    own_shop.synced("app")
    with closing(sqlite3.connect(file)) as connection, closing(sqlite3.connect(f"{file}.backup")) as backup:
        connection.backup(backup)
    own_shop.synced("later")
    kept = own_shop.api.audit_head()
    eventually(lambda: own_shop.api.audit_head() != kept, what=operator.story)
    assert operator.stop() == 0
    for suffix in ("-wal", "-shm"):
        file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
    file.with_name(f"{file.name}.backup").rename(file)
    operator.start()
    eventually(lambda: "AuditTruncated" in operator.log(), what=operator.story)
    own_shop.order("newer", {"password": "password"})
    own_shop.wait("newer", "AuditUnavailable")
    assert own_shop.find("newer") is None
    assert own_shop.ready("app")["status"] == "True"
    assert operator.metric("keyturn_audit_up") == 0
    said = own_shop.ready("newer")["message"]
    assert ("AuditTruncated" in said, "keyturn audit" in said, "kubectl" in said) == (True, False, False), said
    assert said.startswith("ask the operators of Keyturn: ")
    assert [each for each in own_shop.api.items("Event", own_shop.namespace) if "acknowledge-loss" in each["note"]] == []
    event = own_shop.api.warning("AuditTruncated", "keyturn-audit-head")
    assert "kubectl -n keyturn-system exec deployment/keyturn -- keyturn audit acknowledge-loss --anchor" in event["note"]
    assert "provider not ready: AuditTruncated" not in operator.log(), "its object says Valid, and it is"
    last = max(own_shop.api.audit_anchors()[1::2], key=lambda end: int(end.partition(":")[0]))
    code, told = keyturn(settings, "audit", "acknowledge-loss", "--anchor", last)
    assert code == 0, told
    own_shop.wait("newer", deadline_s=60)
    code, told = keyturn(settings, "audit", "query", "--action", "audit.acknowledge-loss")
    assert f"user/{os.getuid()} audit.acknowledge-loss" in told, told
    assert keyturn(settings, "audit", "verify")[0] == 0
