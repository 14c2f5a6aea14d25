"""Who works: expiry by what was seen, never by the record's own times."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.decide.leading import Sighting, Step, claimed, dies_in_s, is_ours, next_step, released, sight
from keyturn.model.lease import Lease, Terms

TERMS = Terms()
OTHERS = Lease(
    holder="b", renewed="2026-03-01T00:00:00Z", acquired="2026-02-01T00:00:00Z", transitions=4, duration_s=10, resource_version="7"
)
MINE = replace(OTHERS, holder="a")


@pytest.mark.parametrize(
    ("lease", "since", "epoch", "step"),
    [
        pytest.param(Lease(), 100, None, Step.ACQUIRE, id="there is none yet"),
        pytest.param(released(OTHERS), 100, None, Step.ACQUIRE, id="it was released"),
        pytest.param(OTHERS, 100, None, Step.WAIT, id="seen just now"),
        pytest.param(OTHERS, 90.1, None, Step.WAIT, id="nearly as long as it promised"),
        pytest.param(OTHERS, 90, None, Step.ACQUIRE, id="as long as it promised"),
        pytest.param(OTHERS, 90, 3, Step.ACQUIRE, id="the same for one that led before"),
        pytest.param(replace(OTHERS, duration_s=30), 90, None, Step.WAIT, id="its own promise counts, not ours"),
        pytest.param(replace(OTHERS, duration_s=0), 90.1, None, Step.WAIT, id="without a promise ours counts"),
        pytest.param(replace(OTHERS, renewed="1999-01-01T00:00:00Z"), 100, None, Step.WAIT, id="a holder's clock that is behind"),
        pytest.param(replace(OTHERS, renewed="2199-01-01T00:00:00Z"), 90, None, Step.ACQUIRE, id="a holder's clock that is ahead"),
        pytest.param(MINE, 100, None, Step.ACQUIRE, id="a restarted container has its own back at once"),
        pytest.param(MINE, 100, 4, Step.RENEW, id="our term"),
        pytest.param(MINE, 50, 4, Step.RENEW, id="our term that lapsed and that nobody took"),
        pytest.param(MINE, 100, 3, Step.WAIT, id="a second process of our name"),
        pytest.param(MINE, 90, 3, Step.ACQUIRE, id="a second process of our name that died"),
    ],
)
def test_what_to_do_about_a_record(lease: Lease, since: float, epoch: int | None, step: Step) -> None:
    assert next_step(Sighting(lease, since), "a", epoch, 100, TERMS) is step


def test_a_record_that_did_not_change_keeps_the_moment_of_its_first_sight() -> None:
    first = sight(None, OTHERS, 10)
    assert sight(first, OTHERS, 15) == first
    assert sight(first, replace(OTHERS, resource_version="8"), 15).since == 15


def test_a_new_term_has_a_new_epoch_and_a_renewal_has_not() -> None:
    taken = claimed(Sighting(OTHERS, 0), Step.ACQUIRE, "a", None, "2026-03-02T00:00:00Z", TERMS)
    assert (taken.holder, taken.transitions, taken.acquired, taken.resource_version) == ("a", 5, "2026-03-02T00:00:00Z", "7")
    kept = claimed(Sighting(taken, 0), Step.RENEW, "a", 5, "2026-03-03T00:00:00Z", TERMS)
    assert (kept.transitions, kept.acquired, kept.renewed) == (5, taken.acquired, "2026-03-03T00:00:00Z")


def test_an_epoch_never_goes_back_even_where_the_record_was_deleted() -> None:
    assert claimed(Sighting(Lease(), 0), Step.ACQUIRE, "a", 7, "", TERMS).transitions == 8


def test_a_promise_is_never_shorter_than_the_term_that_its_holder_counts_on() -> None:
    terms = Terms(duration_s=10.5)
    assert claimed(Sighting(Lease(), 0), Step.ACQUIRE, "a", None, "", terms).duration_s == 11


def test_a_released_record_keeps_its_epoch() -> None:
    assert released(OTHERS).transitions == OTHERS.transitions
    assert not is_ours(released(MINE), "a", 4)


@given(
    renewed=st.floats(0, 1e6),
    seen_after=st.floats(0, 100),
    duration=st.floats(9, 60),
    looked_after=st.floats(0, 200),
)
def test_a_waiting_replica_acts_only_after_the_holder_stopped_to(
    renewed: float, seen_after: float, duration: float, looked_after: float
) -> None:
    """The holder counts from before it sent its renewal, who waits from after it saw it: no overlap whatever the delay."""
    terms = Terms(duration_s=duration)
    record = claimed(Sighting(OTHERS, 0), Step.RENEW, "b", 4, "", terms)
    seen = Sighting(record, renewed + seen_after)
    now = seen.since + looked_after
    holder_may_act = now < renewed + duration
    if next_step(seen, "a", None, now, terms) is Step.ACQUIRE:
        assert not holder_may_act
    assert dies_in_s(seen, now, terms) >= renewed + duration - now
