"""Back-off, rate and breaker as tables."""

import pytest

from keyturn.decide.retry import Backoff, Breaker, Bucket


@pytest.mark.parametrize(
    ("attempt", "chance", "retry_after_s", "delay_s"),
    [
        (0, 0.0, None, 0.0),
        (0, 0.5, None, 0.5),
        (1, 0.5, None, 1.0),
        (3, 0.5, None, 4.0),
        (10, 0.5, None, 30.0),
        (10**9, 0.5, None, 30.0),
        (-1, 0.5, None, 0.5),
        (0, 0.5, 7.0, 7.0),
        (10, 0.5, 7.0, 30.0),
        (0, 0.5, -7.0, 0.5),
        (0, 0.5, 1e9, 3600.0),
    ],
)
def test_a_delay_doubles_up_to_its_cap_and_honours_what_the_provider_asked(
    attempt: int, chance: float, retry_after_s: float | None, delay_s: float
):
    assert Backoff(base_s=1.0, cap_s=60.0).delay_s(attempt, chance, retry_after_s) == delay_s


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate():
    bucket = Bucket.full(rate_per_s=2.0, burst=3.0, now_s=100.0)
    waits = []
    for _ in range(6):
        bucket, wait_s = bucket.take(100.0)
        waits.append(wait_s)
    assert waits == [0.0, 0.0, 0.0, 0.5, 1.0, 1.5]


def test_a_bucket_fills_with_time_and_never_beyond_its_burst():
    bucket, _ = Bucket.full(2.0, 3.0, 0.0).take(0.0)
    bucket, wait_s = bucket.take(1000.0)
    assert (bucket.tokens, wait_s) == (2.0, 0.0)


def test_a_clock_that_steps_back_gives_nothing_away():
    bucket, _ = Bucket.full(2.0, 1.0, 10.0).take(10.0)
    assert bucket.take(5.0)[1] == 0.5


def test_what_was_taken_in_vain_is_given_back():
    bucket, _ = Bucket.full(1.0, 1.0, 0.0).take(0.0)
    lent, _ = bucket.take(0.0)
    assert lent.give_back() == bucket


def opened(breaker: Breaker, now_s: float = 0.0, chance: float = 0.5) -> Breaker:
    for _ in range(breaker.threshold):
        breaker = breaker.fail(now_s, chance)
    return breaker


BREAKER = Breaker(threshold=3, backoff=Backoff(base_s=10.0, cap_s=60.0))


def test_a_breaker_lets_calls_pass_until_failures_in_a_row_reach_the_threshold():
    breaker = BREAKER.fail(0.0, 0.5).fail(0.0, 0.5)
    assert breaker.admit(0.0) == (breaker, 0.0)
    assert breaker.succeed() == BREAKER
    breaker = breaker.fail(0.0, 0.5)
    assert breaker.admit(0.0) == (breaker, 5.0)
    assert breaker.admit(4.0) == (breaker, 1.0)


def test_an_open_breaker_lets_one_probe_pass_when_its_time_is_over():
    breaker, hold_back_s = opened(BREAKER).admit(5.0)
    assert hold_back_s == 0.0
    assert breaker.admit(5.0)[1] == 10.0
    assert breaker.succeed() == BREAKER


def test_a_failed_probe_opens_the_breaker_for_longer():
    breaker, _ = opened(BREAKER).admit(5.0)
    breaker = breaker.fail(5.0, 0.5)
    assert breaker.admit(5.0)[1] == 10.0
    breaker, _ = breaker.admit(15.0)
    assert breaker.fail(15.0, 0.5).admit(15.0)[1] == 20.0


def test_a_probe_that_was_called_off_leaves_the_place_to_the_next():
    breaker, _ = opened(BREAKER).admit(5.0)
    assert breaker.abandon().admit(5.0)[1] == 0.0


def test_a_provider_that_asks_for_a_pause_gets_it_at_the_first_failure():
    breaker = BREAKER.fail(0.0, 0.0, retry_after_s=30.0)
    assert breaker.admit(29.0)[1] == 1.0
    assert breaker.admit(30.0)[1] == 0.0


def test_failures_of_calls_that_began_before_it_opened_neither_count_nor_shorten():
    breaker = opened(BREAKER)
    late = breaker.fail(1.0, 0.9)
    assert (late.open_until_s, late.trips) == (breaker.open_until_s, breaker.trips)
    assert late.fail(1.0, 0.0, retry_after_s=100.0).admit(1.0)[1] == 100.0
