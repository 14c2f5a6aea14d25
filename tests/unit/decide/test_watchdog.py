"""What has stood still, and how watches are run so that a healthy one is never taken for it."""

import pytest

from keyturn.decide.watchdog import BOOKMARK_S, Pulse, stalled, watching

LOOP = Pulse("the loop stands still", 99.0, 5.0)


@pytest.mark.parametrize(
    ("beat_s", "limit_s", "is_stalled"),
    [
        (None, 10.0, False),  # nothing is expected
        (100.0, 10.0, False),
        (101.0, 10.0, False),  # ahead: something is due later
        (90.0, 10.0, False),  # just in time
        (89.9, 10.0, True),
        (0.0, 100.0, False),
        (0.0, 99.0, True),
    ],
)
def test_a_part_is_stalled_after_its_limit(*, beat_s: float | None, limit_s: float, is_stalled: bool) -> None:
    assert Pulse("it stands still", beat_s, limit_s).is_stalled(100.0) is is_stalled


def test_what_stands_still_is_named_with_its_time() -> None:
    found = stalled(LOOP, [Pulse("one", 80.0, 10.0), Pulse("two", 95.0, 10.0), Pulse("three", 0.0, 60.0)], 100.0)
    assert [pulse.told(100.0) for pulse in found] == ["one for 20 s", "three for 100 s"]


def test_while_the_loop_stands_still_only_that_is_told() -> None:
    assert stalled(Pulse("loop", 90.0, 5.0), [Pulse("one", 0.0, 10.0)], 100.0) == [Pulse("loop", 90.0, 5.0)]


def test_a_pulse_that_is_not_expected_is_silent_for_no_time() -> None:
    assert Pulse("it", None, 1.0).told(50.0) == "it for 0 s"


@pytest.mark.parametrize("limit_s", [4.0, 10.0, 45.0, 89.0, 90.0, 120.0, 600.0])
def test_within_the_limit_a_healthy_watch_speaks_and_a_dead_one_is_replaced(limit_s: float) -> None:
    times = watching(limit_s)
    says_something_s = min(BOOKMARK_S, times.runs_s)
    assert says_something_s < times.silent_s < limit_s


def test_watches_run_for_five_minutes_by_default() -> None:
    assert (watching(120.0).runs_s, watching(120.0).silent_s) == (300, 70)
    assert watching(1.0).runs_s == 1
