"""Surveys pass all that reads pass."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from contract.sources import PACE, A, Clock, Source
from keyturn.model.errors import AccessDenied, Invalid, Unavailable
from keyturn.model.material import SourceRef, Survey
from keyturn.providers.guard import Guard


@dataclass
class Surveyed(Source):
    """A source that makes surveys."""

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        await self._pass()
        return Survey(dict.fromkeys(refs, "1"), len(refs))


async def test_a_survey_is_the_providers_own_and_is_observed():
    seen: list[tuple[str, str]] = []
    guard = Guard(Surveyed(), PACE, observe=lambda call, result, _: seen.append((call, result)))
    assert await guard.survey([A]) == Survey({A: "1"}, 1)
    assert seen == [("survey", "OK")]
    await guard.close()
    with pytest.raises(Unavailable):
        await guard.survey([A])


async def test_surveys_that_fail_open_the_breaker_for_reads_too():
    source = Surveyed(failure=Unavailable("no answer"))
    guard = Guard(source, PACE, clock=Clock())
    for _ in range(PACE.threshold):
        with pytest.raises(Unavailable):
            await guard.survey([A])
    assert isinstance((await guard.get_many([A]))[A], Unavailable)
    assert source.calls == []
    await guard.close()


async def test_a_refused_survey_opens_no_breaker():
    source = Surveyed(failure=AccessDenied("403"))
    guard = Guard(source, PACE, clock=Clock())
    for _ in range(2 * PACE.threshold):
        with pytest.raises(AccessDenied):
            await guard.survey([A])
    source.failure = None
    assert await guard.survey([A])
    await guard.close()


async def test_a_survey_has_a_deadline():
    source = Surveyed()
    guard = Guard(source, replace(PACE, deadline_s=0.01))
    source.gate.clear()
    with pytest.raises(Unavailable):
        await guard.survey([A])
    source.gate.set()
    await guard.close()


async def test_a_provider_without_surveys_is_not_asked():
    guard = Guard(Source(), PACE)
    with pytest.raises(Invalid, match="makes no surveys"):
        await guard.survey([A])
    await guard.close()
