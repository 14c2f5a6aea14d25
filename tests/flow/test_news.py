"""What an event of ours is news of: an echo is none, and nothing that anybody else did passes for one."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, cast

import pytest

from builders import msec, staged
from keyturn.flow.workqueue import WorkQueue
from keyturn.handlers.news import News
from keyturn.kube.client import Client
from keyturn.kube.objects import ObjectCache, is_echo, managed_from, provider_from
from keyturn.model.errors import Rejected
from keyturn.model.ids import RECONCILE_ANNOTATION, Kind, ObjectRef
from keyturn.model.objects import Cached
from keyturn.testing.world import Stage

Raw = dict[str, Any]
APP, FILES = msec(), ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "", "files")
READY = {"type": "Ready", "status": "True", "reason": "Synced", "message": "", "lastTransitionTime": "", "observedGeneration": 1}
SPECS: Mapping[Kind, Mapping[str, Any]] = {
    Kind.MANAGED_SECRET: {
        "providerRef": {"kind": "SecretProvider", "name": "vault"},
        "data": [{"secretKey": "password", "remoteRef": {"key": "password"}}],
    },
    Kind.CLUSTER_SECRET_PROVIDER: {"provider": {"file": {"path": "/srv/values.json", "format": "JSON"}}},
}
OTHER_SPECS: Mapping[Kind, Mapping[str, Any]] = {
    Kind.MANAGED_SECRET: {
        "providerRef": {"kind": "SecretProvider", "name": "vault"},
        "data": [{"secretKey": "user", "remoteRef": {"key": "user"}}],
    },
    Kind.CLUSTER_SECRET_PROVIDER: {"provider": {"file": {"path": "/srv/others.json", "format": "JSON"}}},
}
both = pytest.mark.parametrize("ref", [APP, FILES], ids=lambda ref: ref.kind)


def raw_of(ref: ObjectRef) -> Raw:
    meta = {"namespace": ref.namespace, "name": ref.name, "uid": "uid-1", "generation": 1, "resourceVersion": "100"}
    return {"metadata": meta, "spec": deepcopy(SPECS[ref.kind]), "status": {"observedGeneration": 1, "conditions": [dict(READY)]}}


def parsed(ref: ObjectRef, raw: Raw) -> Cached:
    """All of it read anew."""
    return managed_from(raw) if ref.kind is Kind.MANAGED_SECRET else provider_from(ref.kind, raw)


class Desk:
    """News on a cache of its own, and whether the last of them was any."""

    def __init__(self, stage: Stage) -> None:
        # Nothing is asked over the client: all that is known comes from events.
        self.cache = ObjectCache(cast("Client", None))
        self._queue = stage.world.queue = WorkQueue()
        self.news = News(self.cache, stage.world)

    async def hear(self, ref: ObjectRef, event: str | None, raw: Raw) -> bool:
        """Whether the object is looked at because of it."""
        before = len(self._queue)
        self.news.hear(ref.kind, event, raw)
        if len(self._queue) == before:
            return False
        self._queue.done(await self._queue.get())
        return True

    def held(self, ref: ObjectRef) -> Cached:
        found = self.cache.held(ref)
        assert found is not None
        return found


@both
@staged
async def test_an_echo_is_no_news_and_is_not_read_again(stage: Stage, ref: ObjectRef) -> None:
    desk = Desk(stage)
    assert await desk.hear(ref, "ADDED", raw_of(ref))
    known = desk.held(ref)
    assert not await desk.hear(ref, "MODIFIED", raw_of(ref))
    assert desk.held(ref) is known


def _label(raw: Raw) -> None:
    raw["metadata"]["labels"] = {"their": "label"}


def _status(raw: Raw) -> None:
    raw["status"]["conditions"][0]["status"] = "False"


def _no_status(raw: Raw) -> None:
    del raw["status"]


def _spec(raw: Raw) -> None:
    raw["metadata"]["generation"] += 1
    raw["spec"] = deepcopy(OTHER_SPECS[Kind.CLUSTER_SECRET_PROVIDER if "provider" in raw["spec"] else Kind.MANAGED_SECRET])


def _bad_spec(raw: Raw) -> None:
    raw["metadata"]["generation"] += 1
    raw["spec"] = {}


def _deletion(raw: Raw) -> None:
    raw["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "generation": raw["metadata"]["generation"] + 1}


def _unmoved_deletion(raw: Raw) -> None:
    raw["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def _successor(raw: Raw) -> None:
    raw["metadata"]["uid"] = "uid-2"
    raw["spec"] = deepcopy(OTHER_SPECS[Kind.CLUSTER_SECRET_PROVIDER if "provider" in raw["spec"] else Kind.MANAGED_SECRET])


@both
@pytest.mark.parametrize(
    ("change", "is_news", "is_same_order"),
    [
        (_label, False, True),
        (_status, True, True),
        (_no_status, True, True),
        (_spec, True, False),
        (_bad_spec, True, False),
        (_deletion, True, False),
        (_unmoved_deletion, True, True),
        (_successor, True, False),
    ],
    ids=lambda change: change.__name__.strip("_") if callable(change) else "",
)
@staged
async def test_what_changed_is_seen_and_the_order_read_only_where_it_may_have(
    stage: Stage, ref: ObjectRef, change: Callable[[Raw], None], *, is_news: bool, is_same_order: bool
) -> None:
    desk = Desk(stage)
    await desk.hear(ref, "ADDED", raw_of(ref))
    order = desk.held(ref).order
    changed = raw_of(ref)
    change(changed)
    changed["metadata"]["resourceVersion"] = "101"
    assert await desk.hear(ref, "MODIFIED", changed) is is_news
    assert (desk.held(ref).order is order) is is_same_order
    found, expected = desk.held(ref), parsed(ref, changed)
    assert (found.resource_version, found.generation, found.uid, found.deleting, found.status) == (
        expected.resource_version,
        expected.generation,
        expected.uid,
        expected.deleting,
        expected.status,
    )
    assert isinstance(found.order, Rejected) if isinstance(expected.order, Rejected) else found.order == expected.order
    assert not await desk.hear(ref, "MODIFIED", changed), "its echo"


@staged
async def test_a_request_by_annotation_is_news_of_the_same_order(stage: Stage) -> None:
    desk = Desk(stage)
    await desk.hear(APP, "ADDED", raw_of(APP))
    order = desk.held(APP).order
    asked = raw_of(APP)
    asked["metadata"] |= {"resourceVersion": "101", "annotations": {RECONCILE_ANNOTATION: "now"}}
    assert await desk.hear(APP, "MODIFIED", asked)
    assert desk.held(APP).order is order
    assert managed_from(asked, desk.held(APP)).reconcile_token == "now"


@both
@staged
async def test_what_is_older_undoes_nothing(stage: Stage, ref: ObjectRef) -> None:
    desk = Desk(stage)
    await desk.hear(ref, "ADDED", raw_of(ref))
    newer = raw_of(ref)
    _spec(newer)
    newer["metadata"]["resourceVersion"] = "101"
    await desk.hear(ref, "MODIFIED", newer)
    known = desk.held(ref)
    assert not await desk.hear(ref, "MODIFIED", raw_of(ref))
    assert desk.held(ref) is known


@both
@staged
async def test_a_successor_under_the_very_version_and_generation_is_no_echo(stage: Stage, ref: ObjectRef) -> None:
    desk = Desk(stage)
    await desk.hear(ref, "ADDED", raw_of(ref))
    successor = raw_of(ref)
    _successor(successor)
    assert await desk.hear(ref, "MODIFIED", successor)
    assert desk.held(ref) == parsed(ref, successor)


@both
@staged
async def test_a_list_rouses_suspicion_and_is_read_in_full(stage: Stage, ref: ObjectRef) -> None:
    """Another schema may have other defaults, and a spec then reads otherwise under the same version."""
    desk = Desk(stage)
    await desk.hear(ref, None, raw_of(ref))
    assert ref.kind not in desk.news.suspicious, "it was not known before"
    defaulted = raw_of(ref)
    defaulted["spec"] = deepcopy(OTHER_SPECS[ref.kind])
    assert not await desk.hear(ref, None, defaulted)
    assert desk.news.suspicious[ref.kind].is_set()
    assert desk.held(ref) == parsed(ref, defaulted)


@both
@staged
async def test_after_its_end_the_same_event_is_news_again(stage: Stage, ref: ObjectRef) -> None:
    desk = Desk(stage)
    await desk.hear(ref, "ADDED", raw_of(ref))
    await desk.hear(ref, "DELETED", raw_of(ref))
    assert desk.cache.held(ref) is None
    assert await desk.hear(ref, "ADDED", raw_of(ref))


@both
@pytest.mark.parametrize("less", ["generation", "resourceVersion"])
def test_an_object_without_either_number_is_never_an_echo(ref: ObjectRef, less: str) -> None:
    raw = raw_of(ref)
    del raw["metadata"][less]
    known = parsed(ref, raw)
    assert not is_echo(raw, known)
    assert not is_echo(raw, None)


@both
def test_an_order_goes_over_to_no_other_kind(ref: ObjectRef) -> None:
    other = FILES if ref is APP else APP
    stranger = parsed(other, raw_of(other))
    if ref is APP:
        assert managed_from(raw_of(ref), stranger) == parsed(ref, raw_of(ref))
    else:
        assert provider_from(ref.kind, raw_of(ref), stranger) == parsed(ref, raw_of(ref))
