"""A ManagedSecret becomes a Secret, stays as ordered whatever others do, and goes when it should."""

import json
import time

import pytest

from cluster.api import Json
from cluster.audit import mark, requests, writes
from cluster.process import Operator
from cluster.shop import Shop, encoded
from cluster.waiting import Stopwatch, always, eventually
from controlplane.plane import ControlPlane
from effort import effort
from evidence import counted

ROUNDS = 5


def test_an_apply_is_a_secret_within_a_second(shop: Shop) -> None:
    watch = Stopwatch("apply to Secret", 1)
    for n in range(ROUNDS):
        value = shop.value()
        shop.source(**{f"source-{n}": value})
        shop.order(f"app-{n}", {"password": f"source-{n}"})
        watch.time(lambda n=n, value=value: shop.data(f"app-{n}") == {"password": value})  # type: ignore[misc]  # a default binds the loop variable
    watch.tell()


def test_the_secret_says_whose_it_is_and_where_it_comes_from(shop: Shop) -> None:
    shop.source(password=shop.value())
    secret = shop.synced("app", target={"template": {"metadata": {"labels": {"team": "shop"}, "annotations": {"note": "mine"}}}})
    metadata = secret["metadata"]
    managed = shop.api.get("ManagedSecret", shop.namespace, "app")
    assert secret["type"] == "Opaque"
    assert metadata["labels"] == {"team": "shop", "keyturn.dev/managed": "true", "app.kubernetes.io/managed-by": "keyturn"}
    assert metadata["annotations"]["note"] == "mine"
    assert metadata["annotations"]["keyturn.dev/owner"] == "app"
    assert metadata["annotations"]["keyturn.dev/source"] == f"ClusterSecretProvider/{shop.namespace}:password"
    assert metadata["annotations"]["keyturn.dev/revision"] == managed["status"]["revision"]
    assert metadata["annotations"]["keyturn.dev/changed-at"] == managed["status"]["lastChangeTime"]
    [owner] = metadata["ownerReferences"]
    assert owner == {"apiVersion": "keyturn.dev/v1alpha1", "kind": "ManagedSecret", "name": "app", "uid": managed["metadata"]["uid"]}
    assert "finalizers" not in managed["metadata"]
    assert "annotations" not in managed["metadata"]


def test_an_edit_of_our_key_is_repaired_within_a_second(shop: Shop) -> None:
    watch, value = Stopwatch("edit to repair", 1), shop.value()
    shop.source(password=value)
    for n in range(ROUNDS):  # each its own: one that is fought over is left alone after a while
        shop.synced(f"app-{n}")
        shop.edit(f"app-{n}", data=encoded(password="edited"))
        watch.time(lambda n=n: shop.data(f"app-{n}") == {"password": value})  # type: ignore[misc]  # a default binds the loop variable
    watch.tell()


def test_a_removed_key_and_a_changed_mark_are_repaired(shop: Shop) -> None:
    shop.source(password=(value := shop.value()))
    shop.synced("app")
    shop.edit("app", data={"password": None})
    eventually(lambda: shop.data("app") == {"password": value})
    shop.edit("app", metadata={"annotations": {"keyturn.dev/owner": "other"}})
    eventually(lambda: shop.secret("app")["metadata"]["annotations"]["keyturn.dev/owner"] == "app")
    shop.edit("app", metadata={"labels": {"keyturn.dev/managed": None}})
    eventually(lambda: shop.secret("app")["metadata"]["labels"].get("keyturn.dev/managed") == "true")
    shop.edit("app", metadata={"ownerReferences": []})
    eventually(lambda: shop.secret("app")["metadata"].get("ownerReferences"))


def test_foreign_keys_labels_and_annotations_stay_also_when_the_value_changes(shop: Shop) -> None:
    shop.source(password=shop.value())
    shop.synced("app", refreshInterval="1s")
    theirs: Json = {
        "metadata": {"labels": {"their": "label"}, "annotations": {"their": "annotation"}},
        "data": encoded(theirs="kt-canary-theirs"),
    }
    shop.edit("app", **theirs)
    shop.edit("app", data=encoded(password="edited"))
    shop.source(password=(value := shop.value()))
    eventually(lambda: shop.data("app").get("password") == value)
    secret = shop.secret("app")
    assert shop.data("app") == {"password": value, "theirs": "kt-canary-theirs"}
    assert secret["metadata"]["labels"]["their"] == "label"
    assert secret["metadata"]["annotations"]["their"] == "annotation"


def test_a_deleted_secret_is_back_within_a_second(shop: Shop) -> None:
    watch, value = Stopwatch("deletion to return", 1), shop.value()
    shop.source(password=value)
    shop.synced("app")
    for _ in range(ROUNDS):
        shop.api.delete("Secret", shop.namespace, "app")
        watch.time(lambda: shop.data("app") == {"password": value})
        uid = shop.secret("app")["metadata"]["uid"]
        shop.wait_status("app", lambda status, uid=uid: status["target"]["uid"] == uid, "the new uid")
    watch.tell()


@pytest.mark.usefixtures("collector")
def test_a_deletion_completes_at_once_and_takes_the_secret_along(shop: Shop) -> None:
    shop.source(password=shop.value())
    shop.synced("app")
    shop.remove("app", propagationPolicy="Background")
    assert shop.is_gone("app")
    eventually(lambda: shop.find("app") is None, what="the Secret goes")


@pytest.mark.usefixtures("collector")
def test_so_it_does_while_the_operator_is_stopped(shop: Shop, operator: Operator) -> None:
    shop.source(password=shop.value())
    shop.synced("app")
    assert operator.stop() == 0
    shop.remove("app", propagationPolicy="Background")
    assert shop.is_gone("app")
    eventually(lambda: shop.find("app") is None, what="the Secret goes")
    operator.start()
    always(lambda: shop.find("app") is None, 2, "the operator made it anew after its start")


def test_an_orphan_policy_keeps_the_secret(shop: Shop) -> None:
    shop.source(password=(value := shop.value()))
    secret = shop.synced("app", target={"creationPolicy": "Orphan"})
    assert "ownerReferences" not in secret["metadata"]
    shop.remove("app", propagationPolicy="Background")
    always(lambda: shop.data("app") == {"password": value}, 3, "the Secret went")


@pytest.mark.usefixtures("collector")
def test_cascade_orphan_keeps_the_secret_for_good(shop: Shop, home: ControlPlane, operator: Operator) -> None:
    """Through the orphaning, where the ownerReference goes while the ManagedSecret still stands, and through relists."""
    shop.source(password=(value := shop.value()))
    names = [f"app-{n}" for n in range(10)]
    for name in names:
        shop.synced(name, refreshInterval="1s")
    shop.collector_knows_all()
    home.kubectl("delete", "managedsecrets", "--all", f"--namespace={shop.namespace}", "--cascade=orphan", "--timeout=60s")
    assert all(shop.is_gone(name) for name in names)
    shop.source(password=shop.value())
    always(lambda: all(shop.data(name) == {"password": value} for name in names), 4, "a Secret went or changed")
    operator.restart()
    always(lambda: all(shop.data(name) == {"password": value} for name in names), 3, "a Secret went or changed")
    assert all("ownerReferences" not in shop.secret(name)["metadata"] for name in names)


@pytest.mark.usefixtures("collector")
def test_deletions_while_others_refresh_leave_no_ghost(shop: Shop, home: ControlPlane, request: pytest.FixtureRequest) -> None:
    others = counted(request, effort(100, 500), 500, "others")
    doomed = [f"doomed-{n:02}" for n in range(50)]
    shop.source(password=shop.value())
    for name in (*doomed, *(f"other-{n:03}" for n in range(others))):
        shop.order(name, refreshInterval="1s")
    eventually(lambda: len(_ready(shop)) == others + len(doomed), 120, lambda: f"all synced, {len(_ready(shop))} are")
    deleted: dict[str, int] = {}
    for name in doomed:
        shop.source(password=shop.value())
        shop.remove(name, propagationPolicy="Background")
        deleted[name] = mark(home)
    shop.source(password=(last := shop.value()))
    eventually(
        lambda: not [s for s in _secrets(shop) if s.startswith("doomed")], 60, lambda: f"no doomed Secret left: {sorted(_secrets(shop))}"
    )
    eventually(lambda: shop.data("other-000") == {"password": last} == shop.data(f"other-{others - 1:03}"), what="the others follow")
    began = time.monotonic()
    always(lambda: not [s for s in _secrets(shop) if s.startswith("doomed")], 5, "a ghost")
    made = [
        r
        for name, place in deleted.items()
        for r in writes(requests(home, since=place), "secrets")
        if r.verb == "create" and r.name == name
    ]
    ghosts = [r for r in made if r.code == 201]
    assert not ghosts, "\n".join(map(str, ghosts))
    print(f"{len(doomed)} deletions beside {others} refreshes; watched for {time.monotonic() - began:.0f} s more")
    assert len(_ready(shop)) == others


def _secrets(shop: Shop) -> set[str]:
    return {s["metadata"]["name"] for s in shop.api.items("Secret", shop.namespace)}


def _ready(shop: Shop) -> list[str]:
    found = shop.api.items("ManagedSecret", shop.namespace)
    return [m["metadata"]["name"] for m in found if '"Synced"' in json.dumps(m.get("status", {}))]
