"""What left the spec leaves the Secret, whoever else laid hands on it meanwhile: an old credential must never stay."""

from collections.abc import Callable

import pytest

from cluster.api import APPLY, Json, path_of
from cluster.process import Operator
from cluster.shop import Shop, encoded
from cluster.waiting import eventually

BOTH = {"kept": "kept", "old": "old"}
TEMPLATE = {"template": {"metadata": {"labels": {"kept": "yes", "old": "label"}, "annotations": {"kept": "yes", "old": "annotation"}}}}
SHORTER = {"template": {"metadata": {"labels": {"kept": "yes", "old": None}, "annotations": {"kept": "yes", "old": None}}}}


def untouched(shop: Shop) -> None:
    """Nobody was there."""


def edited(shop: Shop) -> None:
    metadata = {"labels": {"old": "edited"}, "annotations": {"old": "edited"}}
    shop.edit("app", data=encoded(old="edited"), metadata=metadata)


def co_owned(shop: Shop) -> None:
    """Another applies the very same values, so that both hold each field."""
    secret = shop.secret("app")
    metadata: Json = {"name": "app", "labels": {"old": "label"}, "annotations": {"old": "annotation"}}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"old": secret["data"]["old"]}}
    shop.api.call("PATCH", path_of("Secret", shop.namespace, "app"), body, APPLY, fieldManager="somebody", force="true")


def applied_by_another(shop: Shop) -> None:
    """Another forces other values, and holds the fields alone."""
    metadata: Json = {"name": "app", "labels": {"old": "taken"}, "annotations": {"old": "taken"}}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded(old="taken")}
    shop.api.call("PATCH", path_of("Secret", shop.namespace, "app"), body, APPLY, fieldManager="somebody", force="true")


def stripped(shop: Shop) -> None:
    """Nobody is known to hold anything any more."""
    answer = shop.edit("app", metadata={"managedFields": [{}]})
    assert not answer["metadata"].get("managedFields")


def edited_and_stripped(shop: Shop) -> None:
    edited(shop)
    stripped(shop)


MEDDLERS = [untouched, edited, co_owned, applied_by_another, stripped, edited_and_stripped]


@pytest.mark.parametrize("meddle", MEDDLERS)
def test_what_left_the_spec_while_the_operator_was_down_is_gone_after_its_start(
    shop: Shop, operator: Operator, meddle: Callable[[Shop], None]
) -> None:
    shop.source(kept=(value := shop.value()), old=shop.value("old"))
    shop.synced("app", BOTH, target=TEMPLATE)
    shop.edit("app", metadata={"labels": {"their": "label"}}, data=encoded(theirs="kt-canary-theirs"))
    assert operator.stop() == 0
    meddle(shop)
    _shorten(shop)
    operator.start()
    shop.wait("app")
    _assert_gone(shop, value)


@pytest.mark.parametrize("meddle", MEDDLERS)
def test_so_is_what_leaves_it_while_the_operator_runs(shop: Shop, meddle: Callable[[Shop], None]) -> None:
    shop.source(kept=(value := shop.value()), old=shop.value("old"))
    shop.synced("app", BOTH, target=TEMPLATE)
    shop.edit("app", metadata={"labels": {"their": "label"}}, data=encoded(theirs="kt-canary-theirs"))
    meddle(shop)
    _shorten(shop)
    shop.wait("app")
    _assert_gone(shop, value)


def test_a_renamed_target_takes_the_old_secret_along(shop: Shop, operator: Operator) -> None:
    shop.source(password=(value := shop.value()))
    shop.synced("app", target={"name": "first"})
    shop.change("app", target={"name": "second"})
    shop.wait("app")
    assert shop.data("second") == {"password": value}
    eventually(lambda: shop.find("first") is None)
    assert operator.stop() == 0
    shop.change("app", target={"name": "third"})
    operator.start()
    shop.wait("app")
    assert shop.data("third") == {"password": value}
    eventually(lambda: shop.find("second") is None)


def test_a_renamed_target_leaves_an_orphan_where_it_is(shop: Shop) -> None:
    shop.source(password=(value := shop.value()))
    shop.synced("app", target={"name": "first", "creationPolicy": "Orphan"})
    shop.change("app", target={"name": "second"})
    shop.wait("app")
    assert shop.data("first") == {"password": value} == shop.data("second")


def test_a_change_to_orphan_takes_the_owner_reference_away_and_a_change_back_restores_it(shop: Shop) -> None:
    shop.source(password=shop.value())
    shop.synced("app")
    shop.change("app", target={"creationPolicy": "Orphan"})
    shop.wait("app")
    assert "ownerReferences" not in shop.secret("app")["metadata"]
    shop.change("app", target={"creationPolicy": "Owner"})
    shop.wait("app")
    assert [o["name"] for o in shop.secret("app")["metadata"]["ownerReferences"]] == ["app"]


def _shorten(shop: Shop) -> None:
    shop.change("app", data=[{"secretKey": "kept", "remoteRef": {"key": "kept"}}], target=SHORTER)


def _assert_gone(shop: Shop, value: str) -> None:
    secret = shop.secret("app")
    assert shop.data("app") == {"kept": value, "theirs": "kt-canary-theirs"}
    assert secret["metadata"]["labels"].get("kept") == "yes"
    assert secret["metadata"]["labels"].get("their") == "label"
    assert "old" not in secret["metadata"]["labels"]
    assert "old" not in secret["metadata"]["annotations"]
    assert set(shop.status("app")["target"]["keys"]) == {"kept"}
