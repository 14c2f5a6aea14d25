"""How a pass learns what changed: which way is cheaper, and what a survey may vouch for."""

import pytest

from keyturn.decide.refresh import ASSUMED_SIZE, FULL_READ_S, Mode, Surveys, cheapest, is_surveyable

NOW = 1_000_000.0
READ, SURVEY = Mode.READ, Mode.SURVEY


@pytest.mark.parametrize(
    ("wanted", "known", "mode"),
    [
        pytest.param(0, Surveys(), READ, id="nothing to vouch for"),
        pytest.param(1, Surveys(size=1), READ, id="one value is one read"),
        pytest.param(2, Surveys(size=2), SURVEY, id="two of two"),
        pytest.param(6, Surveys(), READ, id="a handful is not worth the first try"),
        pytest.param(7, Surveys(), SURVEY, id="more than a handful is"),
        pytest.param(1000, Surveys(), SURVEY, id="a thousand before the first try"),
        pytest.param(1000, Surveys(size=1000), SURVEY, id="a thousand of a thousand"),
        pytest.param(1000, Surveys(size=10_000), SURVEY, id="a thousand of ten thousand"),
        pytest.param(3, Surveys(size=50_000), READ, id="three of fifty thousand"),
        pytest.param(2500, Surveys(size=50_000), READ, id="just too few of fifty thousand"),
        pytest.param(2502, Surveys(size=50_000), SURVEY, id="just enough of fifty thousand"),
        pytest.param(10, Surveys(size=20, calls=9), READ, id="ten in nine engines"),
        pytest.param(11, Surveys(size=20, calls=9), SURVEY, id="eleven in nine engines"),
        pytest.param(1000, Surveys(failures=1, not_before_s=NOW + 1), READ, id="a failure rests"),
        pytest.param(1000, Surveys(failures=1, not_before_s=NOW), SURVEY, id="a failure has rested"),
    ],
)
def test_the_cheaper_way(wanted: int, known: Surveys, mode: Mode) -> None:
    assert cheapest(wanted, known, NOW) is mode


@pytest.mark.parametrize(
    ("fingerprint", "age_s", "full_read_s", "is_so"),
    [
        pytest.param("1 of then", 0.0, FULL_READ_S, True, id="just read"),
        pytest.param("1 of then", FULL_READ_S - 1, FULL_READ_S, True, id="read hours ago"),
        pytest.param("1 of then", FULL_READ_S, FULL_READ_S, False, id="read too long ago"),
        pytest.param("1 of then", 3600.0, 60.0, False, id="an interval beyond the period of full reads"),
        pytest.param("1 of then", -1.0, FULL_READ_S, False, id="read in the future: the clock was set back"),
        pytest.param("", 0.0, FULL_READ_S, False, id="without a fingerprint"),
    ],
)
def test_what_a_survey_may_vouch_for(*, fingerprint: str, age_s: float, full_read_s: float, is_so: bool) -> None:
    assert is_surveyable(fingerprint, NOW - age_s, NOW, full_read_s) is is_so


def test_failures_in_a_row_rest_ever_longer_up_to_an_hour() -> None:
    known, rests = Surveys(size=7, calls=2), []
    for _ in range(2000):
        known = known.fail(NOW)
        rests.append(known.not_before_s - NOW)
    assert rests[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert set(rests[8:]) == {3600}
    assert (known.size, known.calls) == (7, 2)


def test_a_success_ends_the_rest_and_tells_the_cost() -> None:
    known = Surveys().fail(NOW).succeed(50_000, 2)
    assert known == Surveys(50_000, 2)
    assert cheapest(ASSUMED_SIZE, known, NOW) is READ
