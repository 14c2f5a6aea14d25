"""Back-off, rate and breaker under any history."""

from hypothesis import given
from hypothesis import strategies as st

from keyturn.decide.retry import Backoff, Breaker, Bucket

chances = st.floats(0, 1, exclude_max=True)
gaps = st.floats(0, 100)
pauses = st.none() | st.floats(-10, 1e6)
backoffs = st.builds(Backoff, base_s=st.floats(0.01, 10), cap_s=st.floats(10, 1000))


@given(backoffs, st.integers(-5, 10**6), chances, pauses)
def test_a_delay_is_within_its_ceiling_or_what_was_asked_for(backoff: Backoff, attempt: int, chance: float, retry_after_s: float | None):
    delay_s = backoff.delay_s(attempt, chance, retry_after_s)
    asked_s = min(max(retry_after_s or 0.0, 0.0), backoff.retry_after_cap_s)
    assert asked_s <= delay_s <= max(backoff.ceiling_s(attempt), asked_s)
    assert backoff.ceiling_s(attempt) <= backoff.ceiling_s(attempt + 1) <= backoff.cap_s


@given(st.floats(0.1, 100), st.floats(1, 50), st.lists(gaps, min_size=1, max_size=100))
def test_no_window_of_time_sees_more_than_burst_and_rate(rate_per_s: float, burst: float, waits: list[float]):
    bucket, now_s, begins = Bucket.full(rate_per_s, burst, 0.0), 0.0, []
    for gap in waits:
        now_s += gap / 50
        bucket, wait_s = bucket.take(now_s)
        begins.append(now_s + wait_s)
    assert begins == sorted(begins)
    for first, begin in enumerate(begins):
        for last in range(first, len(begins)):
            assert last - first + 1 <= burst + rate_per_s * (begins[last] - begin) + 1e-6 * len(begins) + 1


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[float, str, float, float | None]]:
    event = st.tuples(gaps, st.sampled_from(["fail", "succeed", "abandon"]), chances, pauses)
    return draw(st.lists(event, max_size=60))


@given(st.integers(1, 5), backoffs, histories())
def test_an_open_breaker_always_opens_to_a_probe_in_time_and_to_one_only(
    threshold: int, backoff: Backoff, history: list[tuple[float, str, float, float | None]]
):
    breaker, now_s = Breaker(threshold, backoff), 0.0
    for gap_s, event, chance, retry_after_s in history:
        now_s += gap_s
        breaker, hold_back_s = breaker.admit(now_s)
        assert 0.0 <= hold_back_s <= max(backoff.cap_s, backoff.retry_after_cap_s)
        if hold_back_s:
            continue
        if breaker.is_probing:
            assert breaker.admit(now_s)[1] > 0.0
        match event:
            case "fail":
                breaker = breaker.fail(now_s, chance, retry_after_s)
                if retry_after_s and retry_after_s > 0.001:  # less is lost in the clock's rounding
                    assert breaker.admit(now_s)[1] > 0.0
            case "succeed":
                breaker = breaker.succeed()
                assert breaker == Breaker(threshold, backoff)
            case _:
                breaker = breaker.abandon()
        assert not breaker.is_probing
    assert breaker.admit(now_s + max(backoff.cap_s, backoff.retry_after_cap_s))[1] == 0.0
