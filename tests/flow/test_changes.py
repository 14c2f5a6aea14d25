"""A pass over a provider that makes surveys reads what they do not vouch for, and nothing else."""

from collections.abc import Sequence

import pytest

from builders import entry, managed, msec, order, sprov, staged, target_ref
from keyturn.decide.refresh import FULL_READ_S
from keyturn.model.audit import Outcome
from keyturn.model.errors import AccessDenied, AuthFailed, NotFound, ProviderError, Unavailable
from keyturn.model.material import SourceRef, Survey
from keyturn.model.objects import ProviderObject
from keyturn.providers.guard import Guard
from keyturn.testing.sources import FakeSource
from keyturn.testing.world import Stage

COUNT, HOUR = 20, 3600.0
LOOKS = ("provider.list", "provider.read")


def app(n: int) -> str:
    return f"app-{n:03}"


def key(n: int) -> str:
    return f"key-{n:03}"


def vault_of(stage: Stage) -> ProviderObject:
    found = stage.cluster.objects[sprov()]
    assert isinstance(found, ProviderObject)
    return found


async def stand(stage: Stage, interval_s: float = HOUR, count: int = COUNT) -> FakeSource:
    """So many objects, each with a value of its own, synced; what happened until then is forgotten."""
    source = stage.source(**{key(n): f"kt-canary-{n}" for n in range(count)})
    source.is_surveyed = True
    for n in range(count):
        stage.cluster.put(managed(app(n), order(entry("password", key(n)), target=app(n), interval_s=interval_s)))
    stage.start()
    await stage.quiet()
    forget(stage)
    return source


def forget(stage: Stage) -> None:
    stage.tape.rewind()
    stage.source().calls.clear()
    stage.source().surveys.clear()
    stage.audit.entries.clear()


def read(source: FakeSource) -> list[str]:
    return sorted(str(ref) for call in source.calls for ref in call)


@staged
async def test_a_pass_over_unchanged_values_is_one_survey(stage: Stage) -> None:
    source = await stand(stage)
    await stage.passes(3 * HOUR)
    assert [len(asked) for asked in source.surveys] == [COUNT] * 3
    assert source.calls == []
    assert stage.tape.only("create", "apply", "strip", "delete", "status", "event") == []


@staged
async def test_a_changed_value_is_read_alone_and_written(stage: Stage) -> None:
    source = await stand(stage)
    stage.source(**{key(3): "kt-canary-new"})
    await stage.passes(HOUR)
    assert read(source) == [key(3)]
    assert stage.tape.only("apply") == [f"apply Secret/shop/{app(3)}"]
    assert stage.data(target_ref(app(3))) == {"password": "kt-canary-new"}
    forget(stage)
    await stage.passes(HOUR)
    assert (len(source.surveys), source.calls) == (1, [])


@staged
async def test_what_a_survey_leaves_out_is_read_and_not_taken_for_gone(stage: Stage) -> None:
    source = await stand(stage)
    source.unlisted = {key(n) for n in range(5)}
    await stage.passes(HOUR)
    assert read(source) == sorted(source.unlisted)
    assert stage.tape.only("apply", "delete", "status", "event") == []


@staged
async def test_a_deleted_value_is_confirmed_by_a_read_and_comes_back(stage: Stage) -> None:
    source = await stand(stage)
    kept = source.values[key(1)]
    source.values[key(1)] = NotFound(f"{key(1)} is deleted")
    await stage.passes(HOUR)
    assert set(read(source)) == {key(1)}
    assert stage.reason(msec(app(1))) == "SourceDeleted"
    source.values[key(1)] = kept
    await stage.passes(HOUR)
    assert stage.reason(msec(app(1))) == "Synced"
    forget(stage)
    await stage.passes(HOUR)
    assert source.calls == []


@staged
async def test_a_pinned_version_is_surveyed_like_any_other(stage: Stage) -> None:
    source = await stand(stage)
    source.values[f"{key(0)}@1"] = "kt-canary-first"
    stage.cluster.put(managed("pinned", order(entry("password", key(0), version="1"), target="pinned")))
    await stage.quiet()
    forget(stage)
    stage.source(**{key(0): "kt-canary-newer"})
    await stage.passes(HOUR)
    assert read(source) == [key(0)]
    source.values[f"{key(0)}@1"] = NotFound("it is destroyed")
    await stage.passes(HOUR)
    assert stage.reason(msec("pinned")) == "SourceDeleted"


@pytest.mark.parametrize("error", [AccessDenied("403"), Unavailable("too long"), AuthFailed("403")], ids=lambda e: type(e).__name__)
@staged
async def test_where_a_survey_fails_all_is_read_quietly_and_it_is_tried_again_ever_more_rarely(stage: Stage, error: ProviderError) -> None:
    source = await stand(stage, interval_s=60.0)
    source.denied = error
    await stage.passes(600)
    assert len(source.calls) == 10
    assert read(source) == sorted([key(n) for n in range(COUNT)] * 10)
    assert len(source.surveys) == 4  # at once, and after 1, 2 and 4 minutes
    assert stage.tape.only("apply", "status", "event") == []
    source.denied = None
    await stage.passes(HOUR)
    forget(stage)
    await stage.passes(600)
    assert (len(source.surveys), source.calls) == (10, [])


@staged
async def test_a_change_is_seen_also_where_the_survey_fails(stage: Stage) -> None:
    source = await stand(stage)
    source.denied = AccessDenied("403")
    stage.source(**{key(3): "kt-canary-new"})
    await stage.passes(HOUR)
    assert stage.data(target_ref(app(3))) == {"password": "kt-canary-new"}


@staged
async def test_a_few_values_among_very_many_are_read_once_that_is_known(stage: Stage) -> None:
    source = await stand(stage)
    source.others[key(0)] = 50_000
    await stage.passes(3 * HOUR)
    assert len(source.surveys) == 1
    assert len(source.calls) == 2


@staged
async def test_a_few_among_very_many_are_no_reason_to_read_those_of_another_interval(stage: Stage) -> None:
    source = await stand(stage)
    for n in range(COUNT, 2 * COUNT):
        source.values[key(n)] = f"kt-canary-{n}"
        stage.cluster.put(managed(app(n), order(entry("password", key(n)), target=app(n), interval_s=HOUR / 2)))
    await stage.quiet()
    forget(stage)
    source.others[key(COUNT)] = 50_000
    await stage.passes(2 * HOUR)
    forget(stage)
    await stage.passes(2 * HOUR)
    assert {ref for asked in source.surveys for ref in asked} == {SourceRef(key(n)) for n in range(COUNT)}
    assert {ref for call in source.calls for ref in call} == {SourceRef(key(n)) for n in range(COUNT, 2 * COUNT)}


@staged
async def test_a_handful_of_values_is_read(stage: Stage) -> None:
    source = await stand(stage, count=3)
    await stage.passes(2 * HOUR)
    assert source.surveys == []
    assert len(source.calls) == 2


@staged
async def test_every_few_hours_all_is_read_whatever_surveys_say(stage: Stage) -> None:
    source = stage.source()
    source.prints = {key(n): "always the same" for n in range(COUNT)}
    source = await stand(stage)
    stage.source(**{key(3): "kt-canary-new"})
    await stage.passes(FULL_READ_S - HOUR)
    assert source.calls == []
    await stage.passes(2 * HOUR)
    assert read(source) == [key(n) for n in range(COUNT)]
    assert stage.data(target_ref(app(3))) == {"password": "kt-canary-new"}


@staged
async def test_what_is_vouched_for_is_fresh_and_the_provider_did_well(stage: Stage) -> None:
    source = await stand(stage)
    before = stage.clock.now()
    await stage.passes(HOUR)
    last = stage.world.refresher.last_good(sprov())
    assert last
    assert before < last <= stage.clock.now()
    answers = await stage.world.refresher.fetch(
        vault_of(stage),
        list(source.surveys[0]),
        max_age_s=(stage.clock.now() - last).total_seconds() + 1,
        who=msec(app(0)),
    )
    assert len(answers) == COUNT
    assert source.calls == []


@staged
async def test_what_another_read_during_the_survey_is_not_judged_by_it(stage: Stage) -> None:
    class Overtaken(Guard):
        """Its answer is on the way while a value changes and somebody reads it."""

        async def survey(self, refs: Sequence[SourceRef]) -> Survey:
            told = await super().survey(refs)
            stage.source(**{key(3): "kt-canary-new"})
            await stage.world.refresher.fetch(vault_of(stage), [SourceRef(key(3))], max_age_s=0.0, who=msec("other"))
            return told

    stage.providers.wrap = Overtaken
    source = await stand(stage)
    await stage.passes(HOUR)
    assert read(source) == [key(3)] * 2, "by the other, and by the pass"
    assert stage.data(target_ref(app(3))) == {"password": "kt-canary-new"}


@staged
async def test_the_trail_tells_of_the_survey_and_of_what_was_read(stage: Stage) -> None:
    source = await stand(stage)
    stage.source(**{key(3): "kt-canary-new"})
    await stage.passes(HOUR)
    source.denied = AccessDenied("403")
    await stage.passes(HOUR)
    told = [(e.action, e.details["count"], outcome) for e, outcome, _ in stage.audit.entries if e.action in LOOKS]
    assert told == [
        ("provider.list", str(COUNT), Outcome.SUCCESS),
        ("provider.read", "1", Outcome.SUCCESS),
        ("provider.list", str(COUNT), Outcome.DENIED),
        ("provider.read", str(COUNT), Outcome.SUCCESS),
    ]
    assert stage.audit.open_intents == []


@staged
async def test_without_audit_there_is_no_survey(stage: Stage) -> None:
    source = await stand(stage)
    stage.audit.is_down = True
    await stage.passes(HOUR)
    assert (source.surveys, source.calls) == ([], [])
    assert stage.reason(msec(app(0))) == "Synced"


@staged
async def test_a_provider_that_was_down_is_followed_again(stage: Stage) -> None:
    source = await stand(stage)
    source.down = Unavailable("no answer")
    await stage.passes(HOUR)
    assert source.calls, "what a survey could not tell is asked for"
    assert stage.reason(msec(app(0))) == "Synced"
    source.down = None
    stage.source(**{key(3): "kt-canary-new"})
    await stage.passes(HOUR)
    assert stage.data(target_ref(app(3))) == {"password": "kt-canary-new"}


@staged
async def test_behind_the_guard_it_is_the_same(stage: Stage) -> None:
    stage.providers.wrap = Guard
    source = await stand(stage)
    stage.source(**{key(3): "kt-canary-new"})
    await stage.passes(HOUR)
    assert len(source.surveys) == 1
    assert read(source) == [key(3)]


@staged
async def test_values_that_left_the_cache_are_vouched_for_too(stage: Stage) -> None:
    stage.world.refresher._space._left = 50
    source = await stand(stage)
    await stage.passes(2 * HOUR)
    assert (len(source.surveys), source.calls) == (2, [])
    stage.source(**{key(3): "kt-canary-new"})
    await stage.passes(HOUR)
    assert stage.data(target_ref(app(3))) == {"password": "kt-canary-new"}
