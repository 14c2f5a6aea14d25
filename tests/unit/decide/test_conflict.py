"""How often an edit is taken back (cluster rule 6)."""

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.decide.conflict import LIMIT, WINDOW_S, Takes, is_contested, taken

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def taken_at(*seconds: float, field: str = "password") -> Takes:
    takes: Takes = {}
    for second in seconds:
        takes = taken(takes, {field: "kubectl"}, NOW + timedelta(seconds=second))
    return takes


@pytest.mark.parametrize(
    ("seconds", "now", "contested"),
    [
        pytest.param((0, 1, 2, 3), 4, "", id="four are no war"),
        pytest.param((0, 1, 2, 3, 4), 5, "password", id="five are"),
        pytest.param((0, 1, 2, 3, 4), 599, "password", id="within ten minutes"),
        pytest.param((0, 1, 2, 3, 4), 601, "", id="the first left the window"),
        pytest.param((0, 200, 400, 600, 800), 801, "", id="slower than the limit"),
    ],
)
def test_five_take_backs_in_ten_minutes_are_a_conflict(seconds: tuple[float, ...], now: float, contested: str) -> None:
    assert is_contested(taken_at(*seconds), NOW + timedelta(seconds=now)) == contested


def test_each_field_counts_for_itself() -> None:
    takes = taken_at(0, 1, 2)
    for second in range(3):
        takes = taken(takes, {"user": "kubectl"}, NOW + timedelta(seconds=second))
    assert not is_contested(takes, NOW + timedelta(seconds=3))


def test_what_left_the_window_is_forgotten() -> None:
    assert taken(taken_at(0, 1), {}, NOW + timedelta(seconds=WINDOW_S + 2)) == {}


def test_the_record_does_not_grow() -> None:
    assert len(taken_at(*range(500))["password"]) <= LIMIT + 1
