"""The times of the lease are held together."""

import pytest

from keyturn.model.lease import MARGIN_S, Terms


@pytest.mark.parametrize(
    ("times", "message"),
    [
        pytest.param((10, 7, 7), "retry period must be shorter", id="no second try"),
        pytest.param((10, 8.5, 2), "at least 2s before", id="no margin for what is under way"),
        pytest.param((5, 7, 2), "at least 2s before", id="a deadline after the end"),
    ],
)
def test_times_that_contradict_are_refused(times: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Terms(*times)


def test_the_defaults_leave_time_for_a_second_try_and_for_what_is_under_way() -> None:
    terms = Terms()
    assert terms.retry_s * 2 < terms.renew_deadline_s
    assert terms.renew_deadline_s + MARGIN_S < terms.duration_s
    assert terms.told_s == terms.duration_s
