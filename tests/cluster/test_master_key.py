"""The master key of the operator's database where nobody gave one: a Secret that is made once, and never for a database that is filled."""

import base64
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from canary import Canary
from cluster.api import ApiError, Json
from cluster.process import Operator
from cluster.shop import Shop
from cluster.waiting import eventually
from controlplane.installation import NAMESPACE, ROOT
from controlplane.plane import ControlPlane

NAME = "keyturn-master-key"


@pytest.fixture
def operator(own_home: ControlPlane, own_shop: Shop, tmp_path: Path) -> Iterator[Operator]:
    """One that does not run yet, with an empty database, where no Secret has its key."""
    made = Operator(own_home, tmp_path, settings={"DATABASE_URL": f"sqlite:///{own_home.folder}/{own_shop.namespace}.db"})
    yield made
    if made.is_running:
        made.stop()
    with suppress(ApiError):
        own_shop.api.delete("Secret", NAMESPACE, NAME)


def words(secret: Json) -> str:
    return base64.b64decode(secret["data"]["key"]).decode()


def command(operator: Operator, *arguments: str, given: str | None = None, **more: str) -> tuple[int, str]:
    """What a command says that runs where the operator does."""
    where = {"KEYTURN_OPERATOR_NAMESPACE": NAMESPACE, "KEYTURN_KUBECONFIG": str(operator.kubeconfig), "PYTHONPATH": str(ROOT / "operator")}
    done = subprocess.run(
        [sys.executable, "-m", "keyturn", *arguments],
        env=os.environ | operator.settings | where | more,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def active(operator: Operator) -> list[str]:
    with closing(sqlite3.connect(operator.settings["DATABASE_URL"].removeprefix("sqlite:///"))) as connection:
        return [key_id for (key_id,) in connection.execute("SELECT id FROM encryption_keys")]


def test_it_is_made_once_is_no_part_of_the_process_and_opens_the_database_again(operator: Operator, own_shop: Shop, canary: Canary) -> None:
    own_shop.source(password=own_shop.value())
    operator.start()
    own_shop.synced("app")
    made = own_shop.api.get("Secret", NAMESPACE, NAME)
    assert len(words(made)) == 64
    canary.watch_operator(operator.log_file, operator.health_url)
    secret = words(made)
    environment = Path(f"/proc/{operator.pid}/environ").read_bytes() + Path(f"/proc/{operator.pid}/cmdline").read_bytes()
    assert secret.encode() not in environment
    operator.restart()
    own_shop.synced("later")
    assert own_shop.api.get("Secret", NAMESPACE, NAME)["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert secret not in operator.log()
    assert len(active(operator)) == 1


def test_a_filled_database_whose_key_is_gone_is_refused_until_it_is_back(operator: Operator, own_shop: Shop) -> None:
    own_shop.source(password=own_shop.value())
    operator.start()
    own_shop.synced("app")
    saved = own_shop.api.get("Secret", NAMESPACE, NAME)
    assert operator.stop() == 0
    own_shop.api.delete("Secret", NAMESPACE, NAME)
    operator.start()
    told = f"the database is not empty, and Secret/{NAMESPACE}/{NAME}, which would hold its master key, is not there: restore that Secret"
    eventually(lambda: told in operator.log(), what=operator.story)
    own_shop.order("new", {"password": "password"})
    own_shop.wait("new", "AuditUnavailable")
    assert own_shop.ready("app")["status"] == "True"
    assert own_shop.find("new") is None
    with pytest.raises(ApiError):
        own_shop.api.get("Secret", NAMESPACE, NAME)
    own_shop.api.create({key: saved[key] for key in ("apiVersion", "kind", "data")} | {"metadata": {"name": NAME, "namespace": NAMESPACE}})
    own_shop.wait("new", deadline_s=60)


def test_a_key_that_was_given_is_used_and_none_is_made(operator: Operator, own_shop: Shop, canary: Canary) -> None:
    operator.settings["SECRET_KEY"] = f"{canary('given')}-{os.urandom(24).hex()}"
    own_shop.source(password=own_shop.value())
    operator.start()
    own_shop.synced("app")
    with pytest.raises(ApiError):
        own_shop.api.get("Secret", NAMESPACE, NAME)


def test_commands_where_the_operator_is_open_the_database_by_the_same_key(operator: Operator, own_shop: Shop) -> None:
    own_shop.source(password=own_shop.value())
    operator.start()
    own_shop.synced("app")
    stored = own_shop.value()
    code, told = command(operator, "set", "shop/db", given=stored, SECRETS_PROVIDER="database")
    assert code == 0, told
    assert command(operator, "get", "shop/db", SECRETS_PROVIDER="database")[1].startswith(stored)
    assert "sealed by our keys to row" in command(operator, "audit", "verify")[1]
    code, told = command(operator, "get", "shop/db", SECRETS_PROVIDER="database", KEYTURN_OPERATOR_NAMESPACE="")
    assert (code, "SECRET_KEY: is needed" in told) == (1, True), told


def test_another_key_is_brought_in_by_the_secret_and_a_rotation(operator: Operator, own_shop: Shop) -> None:
    own_shop.source(password=own_shop.value())
    operator.start()
    own_shop.synced("app")
    [former] = active(operator)
    data = own_shop.api.get("Secret", NAMESPACE, NAME)["data"]
    other = base64.b64encode(os.urandom(32).hex().encode()).decode()
    own_shop.api.merge("Secret", NAMESPACE, NAME, {"data": {"key": other, "key-previous": data["key"]}})
    operator.restart()
    code, told = command(operator, "keys", "rotate")
    assert (code, "done: all rows lie under" in told) == (0, True), told
    [latter] = active(operator)
    assert latter != former
    own_shop.api.merge("Secret", NAMESPACE, NAME, {"data": {"key-previous": None}})
    operator.restart()
    own_shop.synced("later")


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({}, "must hold the master key of the database under 'key'"),
        ({"key": "short"}, f"Secret/{NAMESPACE}/{NAME} is shorter than 32 bytes"),
    ],
    ids=["none", "weak"],
)
def test_a_secret_that_somebody_emptied_is_named(operator: Operator, own_shop: Shop, held: dict[str, str], told: str) -> None:
    metadata = {"name": NAME, "namespace": NAMESPACE}
    own_shop.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": held})
    operator.start()
    eventually(lambda: told in operator.log(), what=operator.story)
    assert active(operator) == []
    assert json.dumps(held) not in operator.log()
