"""Checkpoints of an operator's audit trail on a real API server: where they are, what they prove, and what they stop."""

import base64
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from canary import Canary
from cluster.api import Json
from cluster.process import Operator
from cluster.shop import Shop
from cluster.test_audit_trail import keyturn, rows
from cluster.waiting import eventually
from controlplane.installation import NAMESPACE
from controlplane.plane import ControlPlane
from keyturn.decide.checkpoint import checkpoint_of
from keyturn.decide.note import split

CONFIG_MAP, KEY = "keyturn-audit-head", "keyturn-audit-key"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "database"
    folder.mkdir()
    return {"DATABASE_URL": f"sqlite:///{folder}/own.db", "SECRET_KEY": secrets.token_urlsafe(48)}


@pytest.fixture
def operator(own_home: ControlPlane, own_shop: Shop, tmp_path: Path, settings: dict[str, str], canary: Canary) -> Iterator[Operator]:
    with Operator(own_home, tmp_path, settings=settings) as running:
        canary.watch_operator(running.log_file, running.health_url, environ=False)
        yield running


def kept(shop: Shop) -> Json:
    """What the ConfigMap holds; empty where there is none."""
    found = shop.api.find("ConfigMap", NAMESPACE, CONFIG_MAP)
    return found["data"] if found else {}


def signed_to(shop: Shop) -> int:
    data = kept(shop)
    return checkpoint_of(split(data["note"])[0]).head.seq if data else 0


def file_of(settings: dict[str, str]) -> Path:
    return Path(settings["DATABASE_URL"].removeprefix("sqlite:///"))


def copied(settings: dict[str, str], name: str) -> Path:
    file = file_of(settings)
    with closing(sqlite3.connect(file)) as connection, closing(sqlite3.connect(file.with_name(name))) as backup:
        connection.backup(backup)
    return file.with_name(name)


def put_back(settings: dict[str, str], backup: Path) -> None:
    file = file_of(settings)
    for suffix in ("-wal", "-shm"):
        file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
    backup.rename(file)


def test_the_last_checkpoint_follows_the_last_row_and_an_auditor_needs_no_secret(
    operator: Operator, own_shop: Shop, settings: dict[str, str], tmp_path: Path
) -> None:
    own_shop.source(password=own_shop.value("first"))
    own_shop.synced("app")
    eventually(lambda: signed_to(own_shop), what=operator.story)
    assert operator.stop() == 0
    [(last,)] = rows(settings, "SELECT max(seq) FROM secret_access_log")
    assert signed_to(own_shop) == last
    assert kept(own_shop)["head"].startswith(f"{last}:")
    head, vkey = tmp_path / "head.txt", kept(own_shop)["vkey"]
    head.write_text(kept(own_shop)["note"])
    public = {"DATABASE_URL": settings["DATABASE_URL"]}
    code, told = keyturn(public, "audit", "verify", "--key", vkey, "--checkpoint", str(head))
    assert (code, f"signed to row {last}, by {vkey}" in told) == (0, True), told
    said = [json.loads(line) for line in operator.log().splitlines() if '"checkpoint"' in line]
    assert said[-1]["checkpoint"] == head.read_text(), "the log line alone is as good"
    [event] = [each for each in own_shop.api.items("Event", NAMESPACE) if each["reason"] == "AuditSigned"]
    assert event["regarding"]["name"] == CONFIG_MAP
    with closing(sqlite3.connect(file_of(settings))) as connection:
        for table in ("secret_access_log", "audit_checkpoints"):
            connection.execute(f"DROP TRIGGER {table}_delete")
        connection.execute("DELETE FROM secret_access_log WHERE seq > ?", (last - 3,))
        connection.execute("DELETE FROM audit_checkpoints WHERE seq > ?", (last - 3,))
        connection.commit()
    code, told = keyturn(public, "audit", "verify", "--key", vkey, "--checkpoint", str(head))
    assert (code, f"row {last - 2}: is missing, with all up to row {last} that head.txt was signed of" in told) == (1, True), told


def test_a_backup_a_hundred_rows_short_is_known_by_the_config_map_alone(
    operator: Operator, own_shop: Shop, settings: dict[str, str]
) -> None:
    own_shop.source(password=own_shop.value("first"))
    own_shop.synced("app")
    backup = copied(settings, "backup.db")
    for number in range(60):
        own_shop.order(f"app-{number}", {"password": "password"})
    for number in range(60):
        own_shop.wait(f"app-{number}")
    assert operator.stop() == 0
    [(last,)] = rows(settings, "SELECT max(seq) FROM secret_access_log")
    put_back(settings, backup)
    [(short,)] = rows(settings, "SELECT max(seq) FROM secret_access_log")
    assert last - short >= 100
    own_shop.api.delete("Lease", NAMESPACE, "keyturn")
    operator.start()
    eventually(lambda: "which the cluster knows" in operator.log(), what=operator.story)
    own_shop.order("newer", {"password": "password"})
    own_shop.wait("newer", "AuditUnavailable")
    assert own_shop.find("newer") is None
    code, told = keyturn(settings, "audit", "acknowledge-loss", "--anchor", kept(own_shop)["head"])
    assert code == 0, told
    own_shop.wait("newer", deadline_s=60)
    old = kept(own_shop)
    assert operator.stop() == 0
    assert kept(own_shop) != old
    own_shop.api.merge("ConfigMap", NAMESPACE, CONFIG_MAP, {"data": old})
    operator.start()
    own_shop.synced("newest")


def test_who_may_edit_config_maps_cannot_stop_the_operator(operator: Operator, own_shop: Shop) -> None:
    own_shop.source(password=own_shop.value("first"))
    own_shop.synced("app")
    assert operator.stop() == 0
    note = kept(own_shop)["note"]
    for forged in ("nonsense", note.replace(f"\n{signed_to(own_shop)}\n", "\n999999\n")):
        own_shop.api.merge("ConfigMap", NAMESPACE, CONFIG_MAP, {"data": {"note": forged}})
        operator.start()
        eventually(lambda: "is not taken for ours" in operator.log(), what=operator.story)
        eventually(lambda forged=forged: kept(own_shop)["note"] != forged, what=operator.story)
        own_shop.synced(f"app-{secrets.token_hex(3)}")
        assert operator.stop() == 0


def test_without_the_key_of_its_checkpoints_nothing_is_changed_until_one_is_given(
    operator: Operator, own_shop: Shop, settings: dict[str, str], own_home: ControlPlane, tmp_path: Path
) -> None:
    own_shop.source(password=own_shop.value("first"))
    own_shop.synced("app")
    assert operator.stop() == 0
    old = kept(own_shop)["vkey"]
    own_shop.api.delete("Secret", NAMESPACE, KEY)
    operator.start()
    eventually(lambda: "AuditKeyLost" in operator.log(), what=operator.story)
    own_shop.order("newer", {"password": "password"})
    own_shop.wait("newer", "AuditUnavailable")
    assert "restore it from a backup" in own_shop.api.warning("AuditKeyLost", CONFIG_MAP)["note"]
    assert operator.stop() == 0
    given = settings | {"AUDIT_SIGNING_KEY": base64.b64encode(os.urandom(32)).decode()}
    with Operator(own_home, tmp_path, settings=given, name="again") as again:
        own_shop.wait("newer", deadline_s=60)
        eventually(lambda: kept(own_shop)["vkey"] != old, what=again.story)
        assert again.stop() == 0
    code, vkey = keyturn(given, "audit", "key")
    assert (code, vkey.strip()) == (0, kept(own_shop)["vkey"])
    code, told = keyturn({"DATABASE_URL": settings["DATABASE_URL"]}, "audit", "verify", "--key", vkey.strip(), "--key", old)
    assert (code, "not at hand" in told) == (0, False), told


def test_a_denial_is_signed_within_a_minute(operator: Operator, own_shop: Shop, settings: dict[str, str]) -> None:
    own_shop.source(password=own_shop.value("first"))
    own_shop.synced("app")
    before = eventually(lambda: signed_to(own_shop), what=operator.log)
    own_shop.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken", "namespace": own_shop.namespace}})
    own_shop.order("taken", {"password": "password"})
    own_shop.wait("taken", "TargetNotOwned")
    eventually(lambda: rows(settings, "SELECT seq FROM secret_access_log WHERE outcome = 'denied'"), what=operator.story)
    [(denied,)] = rows(settings, "SELECT seq FROM secret_access_log WHERE outcome = 'denied'")
    eventually(lambda: signed_to(own_shop) >= denied, 60, what=operator.story)
    assert denied > before
