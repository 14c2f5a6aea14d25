"""The key behind revisions: made once, and never exchanged without anybody noticing."""

import secrets
from pathlib import Path

import pytest

from canary import Canary
from cluster.api import Json
from cluster.audit import mark, requests, writes
from cluster.process import Operator
from cluster.shop import Shop, encoded
from cluster.waiting import always, eventually
from controlplane.installation import NAMESPACE
from controlplane.plane import ControlPlane

NAME = "keyturn-fingerprint-key"
SECRETS = 12
CHANGED = "FingerprintKeyChanged"


@pytest.fixture
def keyed(own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary) -> Operator:
    """An operator that wrote a dozen Secrets and was stopped."""
    operator = Operator(own_home, tmp_path)
    with operator:
        own_shop.source(password=own_shop.value())
        for n in range(SECRETS):
            own_shop.synced(f"app-{n:02}")
    canary.watch_file(operator.log_file)
    return operator


def key(shop: Shop) -> Json:
    return shop.api.get("Secret", NAMESPACE, NAME)


def set_key(shop: Shop, value: Json) -> None:
    shop.api.merge("Secret", NAMESPACE, NAME, {"data": value})


def another() -> Json:
    return encoded(key=secrets.token_hex(16))


def versions(shop: Shop) -> dict[str, str]:
    return {s["metadata"]["name"]: s["metadata"]["resourceVersion"] for s in shop.api.items("Secret", shop.namespace)}


def test_the_key_is_made_once_and_stays(own_shop: Shop, keyed: Operator) -> None:
    before = key(own_shop)
    assert "keyturn.dev/managed" not in before["metadata"]["labels"]
    assert "ownerReferences" not in before["metadata"]
    with keyed:
        assert key(own_shop) == before


def test_another_key_under_many_secrets_stops_all_writes_until_it_is_restored(
    own_home: ControlPlane, own_shop: Shop, keyed: Operator
) -> None:
    good, before = key(own_shop)["data"], versions(own_shop)
    set_key(own_shop, another())
    since = mark(own_home)
    keyed.start(wait=False)
    try:
        eventually(lambda: CHANGED in keyed.readiness(), what=keyed.readiness)
        own_shop.order("new")
        own_shop.edit("app-00", data=encoded(password="edited"))
        own_shop.source(password=(value := own_shop.value()))
        always(lambda: not writes(requests(own_home, since=since), "secrets") and CHANGED in keyed.readiness(), 4)
        assert {name: v for name, v in versions(own_shop).items() if name != "app-00"} == {n: v for n, v in before.items() if n != "app-00"}
        told = [record for record in keyed.records() if CHANGED in str(record["message"])]
        assert "--accept-new-fingerprint-key" in told[0]["message"]
        set_key(own_shop, good)
        keyed.wait_until_ready(30)
        own_shop.wait("new")
        assert own_shop.data("new") == {"password": value}
        eventually(lambda: own_shop.data("app-00")["password"] != "edited")
    finally:
        keyed.stop()


def test_a_deleted_key_is_noticed_at_the_next_start(own_shop: Shop, keyed: Operator) -> None:
    backup = key(own_shop)
    own_shop.api.delete("Secret", NAMESPACE, NAME)
    keyed.start(wait=False)
    try:
        eventually(lambda: CHANGED in keyed.readiness(), what=keyed.readiness)
        assert own_shop.api.find("Secret", NAMESPACE, NAME) is None, "another key was made in its place"
        metadata = {"name": NAME, "namespace": NAMESPACE, "labels": backup["metadata"]["labels"]}
        own_shop.api.create({**backup, "metadata": metadata})
        keyed.wait_until_ready(30)
    finally:
        keyed.stop()


def test_what_is_no_key_is_said_and_not_replaced(own_shop: Shop, keyed: Operator) -> None:
    good = key(own_shop)["data"]
    set_key(own_shop, encoded(key="short"))
    keyed.start(wait=False)
    try:
        eventually(lambda: "must hold 32 bytes" in keyed.readiness(), what=keyed.readiness)
        assert key(own_shop)["data"] == encoded(key="short")
        set_key(own_shop, good)
        keyed.wait_until_ready(30)
    finally:
        keyed.stop()


def test_an_accepted_new_key_keeps_the_revisions_of_unchanged_data(own_shop: Shop, keyed: Operator) -> None:
    good, before = key(own_shop)["data"], versions(own_shop)
    revision = own_shop.status("app-00")["revision"]
    set_key(own_shop, another())
    keyed.start("--accept-new-fingerprint-key")
    try:
        for n in range(SECRETS):
            own_shop.resync(f"app-{n:02}")
        assert versions(own_shop) == before
        assert own_shop.status("app-00")["revision"] == revision
        own_shop.source(password=(value := own_shop.value()))
        own_shop.resync("app-00")
        assert own_shop.data("app-00") == {"password": value}
        changed = own_shop.status("app-00")["revision"]
        assert changed.partition("-")[0] != revision.partition("-")[0]
    finally:
        keyed.stop()
        set_key(own_shop, good)
