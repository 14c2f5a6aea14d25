"""A Secret that is somebody else's is not touched, unless the user says so and nobody else controls it."""

import pytest

from cluster.api import APPLY, Json, path_of
from cluster.shop import Shop, encoded
from cluster.waiting import always, eventually

ADOPT = {"adopt": True}


def foreign(shop: Shop, name: str = "app", **metadata: object) -> Json:
    data = encoded(password="kt-canary-theirs", other="kt-canary-other")
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": shop.namespace, **metadata}}
    return shop.api.create({**head, "type": "Opaque", "data": data})


def version(shop: Shop, name: str = "app") -> str:
    return str(shop.secret(name)["metadata"]["resourceVersion"])


@pytest.mark.parametrize("policy", ["Owner", "Orphan"])
def test_a_foreign_secret_is_not_touched(shop: Shop, policy: str) -> None:
    shop.source(password=shop.value())
    before = foreign(shop)["metadata"]["resourceVersion"]
    shop.order("app", target={"creationPolicy": policy})
    ready = shop.wait("app", "TargetNotOwned")
    assert ready["status"] == "False"
    assert "target.adopt" in ready["message"]
    shop.request_sync("app")
    always(lambda: version(shop) == before, 2, "the foreign Secret was touched")
    assert shop.reasons("app") == ["TargetNotOwned"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"keyturn.dev/managed": "true", "app.kubernetes.io/managed-by": "keyturn"}},
        {"labels": {"keyturn.dev/managed": "true"}, "annotations": {"keyturn.dev/owner": "app"}},
        {"labels": {"keyturn.dev/managed": "true"}, "annotations": {"keyturn.dev/owner": "nobody"}},
    ],
    ids=["our-labels", "our-mark-without-our-fields", "the-mark-of-one-that-is-gone"],
)
def test_marks_that_anyone_can_set_make_it_not_ours(shop: Shop, metadata: Json) -> None:
    shop.source(password=shop.value())
    before = foreign(shop, **metadata)["metadata"]["resourceVersion"]
    shop.order("app")
    shop.wait("app", "TargetNotOwned")
    assert version(shop) == before


def test_with_adopt_it_is_taken_over_and_its_other_keys_stay(shop: Shop) -> None:
    shop.source(password=(value := shop.value()))
    uid = foreign(shop, labels={"their": "label"})["metadata"]["uid"]
    shop.order("app", target=ADOPT)
    shop.wait("app")
    secret = shop.secret("app")
    assert secret["metadata"]["uid"] == uid
    assert secret["metadata"]["labels"]["their"] == "label"
    assert shop.data("app") == {"password": value, "other": "kt-canary-other"}
    [adopted] = eventually(lambda: [e for e in shop.events("app") if e["reason"] == "Adopted"])
    assert adopted["type"] == "Normal"
    assert "Orphan would keep it" in adopted["note"]


def test_adopt_after_a_refusal_heals_it(shop: Shop) -> None:
    shop.source(password=(value := shop.value()))
    foreign(shop)
    shop.order("app")
    shop.wait("app", "TargetNotOwned")
    shop.change("app", target=ADOPT)
    shop.wait("app")
    assert shop.data("app")["password"] == value


def test_so_does_the_end_of_the_foreign_secret(shop: Shop) -> None:
    shop.source(password=(value := shop.value()))
    foreign(shop)
    shop.order("app")
    shop.wait("app", "TargetNotOwned")
    shop.api.delete("Secret", shop.namespace, "app")
    shop.resync("app")
    eventually(lambda: shop.data("app") == {"password": value})


def test_what_another_controls_is_not_adopted(shop: Shop) -> None:
    """As External Secrets Operator leaves it: Orphan has to be set there first."""
    owner = shop.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "external", "namespace": shop.namespace}})
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "external", "uid": owner["metadata"]["uid"], "controller": True}
    before = foreign(shop, ownerReferences=[reference])["metadata"]["resourceVersion"]
    shop.source(password=(value := shop.value()))
    shop.order("app", target=ADOPT)
    ready = shop.wait("app", "TargetNotOwned")
    assert "Secret external" in ready["message"]
    assert "release it first" in ready["message"]
    assert version(shop) == before
    shop.edit("app", metadata={"ownerReferences": []})
    shop.resync("app")
    eventually(lambda: shop.data("app")["password"] == value)


def test_the_secret_of_another_managed_secret_is_a_conflict_also_with_adopt(shop: Shop) -> None:
    shop.source(password=(value := shop.value()), other=shop.value())
    shop.synced("first", target={"name": "app"})
    before = version(shop)
    shop.order("second", {"password": "other"}, target={"name": "app", **ADOPT})
    ready = shop.wait("second", "TargetConflict")
    assert "first" in ready["message"]
    assert version(shop) == before
    assert shop.data("app") == {"password": value}


@pytest.mark.usefixtures("collector")
def test_the_loser_gets_it_when_the_winner_goes(shop: Shop) -> None:
    shop.source(password=shop.value(), other=(value := shop.value()))
    shop.synced("first", target={"name": "app"})
    shop.order("second", {"password": "other"}, target={"name": "app"})
    shop.wait("second", "TargetConflict")
    shop.remove("first", propagationPolicy="Background")
    eventually(lambda: shop.data("app") == {"password": value})


def test_one_made_anew_takes_over_what_an_orphan_left(shop: Shop) -> None:
    shop.source(password=shop.value())
    uid = shop.synced("app", target={"creationPolicy": "Orphan"})["metadata"]["uid"]
    shop.remove("app", propagationPolicy="Background")
    shop.source(password=(value := shop.value()))
    shop.order("app", target={"creationPolicy": "Orphan"})
    shop.wait("app")
    assert shop.secret("app")["metadata"]["uid"] == uid
    assert shop.data("app") == {"password": value}


def test_an_apply_of_another_to_our_secret_is_taken_back_until_it_is_a_conflict(shop: Shop) -> None:
    """Another that will not give in: after some rounds a pause instead of a hot loop."""
    shop.source(password=(value := shop.value()))
    shop.synced("app")
    body: Json = {}
    for n in range(5):
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app"}, "data": encoded(password=f"kt-canary-{n}")}
        shop.api.call("PATCH", path_of("Secret", shop.namespace, "app"), body, APPLY, fieldManager="stubborn", force="true")
        eventually(lambda: shop.data("app") == {"password": value})
    body["data"] = encoded(password="kt-canary-last")
    shop.api.call("PATCH", path_of("Secret", shop.namespace, "app"), body, APPLY, fieldManager="stubborn", force="true")
    ready = shop.wait("app", "TargetConflict")
    assert ready["status"] == "False"
    assert "password" in ready["message"]
    before = version(shop)
    always(lambda: version(shop) == before, 2, "it is fought over all the same")
    eventually(lambda: "Conflict" in shop.reasons("app"))
