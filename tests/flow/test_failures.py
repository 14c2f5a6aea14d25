"""Failures that come again and again cost nothing that stays."""

import pytest

from builders import entry, managed, msec, order, staged
from keyturn.model.errors import AccessDenied, Forbidden, Invalid, KeyturnError, NotFound, ObjectGone, Rejected
from keyturn.testing.world import Stage

APP = msec()


def depth(error: BaseException) -> int:
    count, trace = 0, error.__traceback__
    while trace is not None:
        count, trace = count + 1, trace.tb_next
    return count


@pytest.mark.parametrize("error", [Rejected("spec.data: empty"), Invalid("no JSON")], ids=["of the spec", "of a shared answer"])
@staged
async def test_a_failure_that_comes_again_does_not_grow(stage: Stage, error: KeyturnError) -> None:
    if isinstance(error, Rejected):
        stage.cluster.put(managed("app-db", error))
    elif isinstance(error, Invalid):
        stage.source().values["password"] = error
        stage.cluster.put(managed())
    depths = []
    for _ in range(20):
        await stage.settle(APP)
        depths.append(depth(error))
    assert len(set(depths[1:])) == 1


@staged
async def test_a_source_that_stays_away_is_told_once_in_the_providers_words(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    for request in range(20):
        stage.source().values["password"] = NotFound("Vault does not have the key password", request_id=f"r-{request}")
        await stage.passes(60)
    ready = stage.status(APP).condition("Ready")
    assert ready is not None
    assert ready.message == (
        "not at the provider: password (Vault does not have the key password). "
        "Create the secret at the provider, or correct key and property."
    )
    assert len(stage.tape.only("fetch")) > 5
    assert len(stage.tape.only("status")) == 1


@staged
async def test_all_that_is_to_be_mended_is_told_at_once_and_once(stage: Stage) -> None:
    stage.source().values |= {"a": AccessDenied("no right to a"), "c": "kt-canary-no-json"}
    stage.cluster.put(managed("app-db", order("a", "b", entry("c", property="x"))))
    stage.start()
    await stage.passes(1200)
    ready = stage.status(APP).condition("Ready")
    assert ready is not None
    assert ready.reason == "AccessDenied"
    assert all(part in ready.message for part in ("a (no right to a)", "b (there is no b)", "c (c: a property is asked for")), ready.message
    assert len(stage.tape.only("status")) == 2, "and once as Stalled"


@pytest.mark.parametrize("gone_wrong", [None, NotFound("x")], ids=["after a sync", "after a failure"])
@pytest.mark.parametrize("refusal", [ObjectGone("x", status=404), Forbidden("x", status=403)], ids=["404", "403"])
@staged
async def test_a_status_that_is_never_taken_is_offered_ever_more_rarely(
    stage: Stage, refusal: KeyturnError, gone_wrong: NotFound | None
) -> None:
    if gone_wrong is not None:
        stage.source().values["password"] = gone_wrong
    stage.cluster.put(managed())
    stage.cluster.fail("status", refusal, times=10_000)
    stage.start()
    await stage.passes(600)
    assert 3 <= len(stage.tape.only("status")) <= 20
    assert stage.events.reasons == (["SourceNotFound"] if gone_wrong else [])
