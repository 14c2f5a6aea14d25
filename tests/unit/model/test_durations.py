"""Durations are read as Go reads them, and refused with a remedy."""

import pytest

from keyturn.model.durations import LONGEST_S, seconds


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("720h", 2_592_000),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("3us", 3e-6),
        ("3\u00b5s", 3e-6),
        ("3\u03bcs", 3e-6),
        ("7ns", 7e-9),
        ("30m1h", 5400),
        ("1h0m0s", 3600),
        ("0", 0),
        ("0s", 0),
        (0, 0),
        ("87600h", LONGEST_S),
    ],
)
def test_a_go_duration_is_read_in_seconds(duration: object, expected: float) -> None:
    assert seconds(duration) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("duration", "remedy"),
    [
        ("", "write a Go duration such as 90s"),
        ("90", "write a Go duration such as 90s"),
        ("1 h", "write a Go duration such as 90s"),
        ("-1h", "write a Go duration such as 90s"),
        ("1d", "write a Go duration such as 90s"),
        ("1h\n", "write a Go duration such as 90s"),
        ("\u0661h", "write a Go duration such as 90s"),
        ("1h" * 7, "write a Go duration such as 90s"),
        (90, "a bare number has no unit; write a Go duration"),
        (True, "write a Go duration such as 90s"),
        (False, "write a Go duration such as 90s"),
        (0.0, "write a Go duration such as 90s"),
        (None, "write a Go duration such as 90s"),
        (["1h"], "write a Go duration such as 90s"),
        ("87601h", "write at most 87600h"),
        ("999999999h", "write at most 87600h"),
    ],
)
def test_anything_else_is_refused_with_a_remedy(duration: object, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        seconds(duration)
