"""What is kept of a Secret's metadata, however much others put there."""

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from keyturn.kube.client import Client
from keyturn.kube.metadata import FOREIGN_FIELDS, FOREIGN_NAMES, HELD_NAMES, Metadata, is_wide, live_of, partial
from keyturn.kube.secrets import SecretCache
from keyturn.model.ids import OWNER_ANNOTATION, SecretRef
from keyturn.model.plan import Leftover

REF = SecretRef("shop", "app")


def fields(manager: str, *data: str, **metadata: tuple[str, ...]) -> dict[str, Any]:
    held = {f"f:{sort}": {".": {}} | {f"f:{name}": {} for name in names} for sort, names in metadata.items()}
    return {"manager": manager, "operation": "Apply", "fieldsV1": {"f:data": {f"f:{key}": {} for key in data}, "f:metadata": held}}


def found(*managed: Mapping[str, Any], version: str = "1", **more: Any) -> Metadata:
    metadata = {"namespace": REF.namespace, "name": REF.name, "uid": "u", "resourceVersion": version, "managedFields": managed}
    return partial.decode(json.dumps({"metadata": metadata | more}).encode()).metadata


def many(count: int, prefix: str = "k") -> tuple[str, ...]:
    return tuple(f"{prefix}{n}" for n in range(count))


def test_what_others_hold_is_known_by_its_data_keys() -> None:
    live = live_of(found(fields("keyturn/app", "a", labels=("x",)), fields("kubectl", "b", labels=("y",))))
    assert not live.is_cut
    assert live.fields_of("keyturn/app").labels == {"x"}
    assert live.holders("b", "keyturn/app") == ["kubectl"]
    assert live.fields_of("kubectl").labels == frozenset()


@pytest.mark.parametrize("managers", [1, 100])
def test_of_wide_fields_of_others_little_is_kept_and_ours_whole(managers: int) -> None:
    wide = [fields(f"m{n}", *many(100_000 // managers)) for n in range(managers)]
    live = live_of(found(*wide, fields("keyturn/app", "a", labels=("x",))))
    assert live.is_cut
    assert live.fields_of("keyturn/app").data == {"a"}
    assert len(live.standing_keys) < FOREIGN_FIELDS / 10 + 1
    assert not is_wide(live)


def test_of_many_labels_and_annotations_ours_are_kept() -> None:
    labels = dict.fromkeys((*many(100_000), "ours"), "v")
    annotations = dict.fromkeys(many(100_000), "v") | {OWNER_ANNOTATION: "app", "ours": "v"}
    live = live_of(found(fields("keyturn/app", labels=("ours",), annotations=("ours",)), labels=labels, annotations=annotations))
    assert live.is_cut
    assert live.labels["ours"] == live.annotations["ours"] == "v"
    assert live.marked_owner == "app"
    assert len(live.labels) + len(live.annotations) <= 2 * FOREIGN_NAMES + 3


def test_what_is_not_seen_of_a_cut_secret_may_stand() -> None:
    once = Leftover(frozenset({"old"}), frozenset({"tier"}), frozenset({"note"}))
    assert not once.standing_in(live_of(found(fields("kubectl", "b"))))
    assert once.standing_in(live_of(found(fields("kubectl", *many(100_000))))) == once


def test_a_secret_that_is_too_wide_is_told_of_and_not_held() -> None:
    told: list[SecretRef] = []
    cache = SecretCache(cast("Client", None), told.append)  # nothing is asked over it
    cache.put(found(fields("keyturn/app", "a")))
    assert cache.seen(REF) is not None
    wide = found(fields("keyturn/app", *many(HELD_NAMES + 1)), version="2")
    cache.put(wide)
    cache.put(wide)
    assert told == [REF, REF], "once for each version"
    assert cache.seen(REF) is None
    cache.put(found(fields("keyturn/app", "a"), version="1"))
    assert cache.seen(REF) is None, "older news"
    cache.put(found(fields("keyturn/app", "a"), version="3"))
    assert cache.seen(REF) is not None
    cache.put(found(fields("keyturn/app", *many(HELD_NAMES + 1)), version="4"))
    cache.drop(("shop", "app"), "u")
    cache.put(found(fields("keyturn/app", "a"), version="1"))
    assert cache.seen(REF) is not None, "it went, and what comes is another"
