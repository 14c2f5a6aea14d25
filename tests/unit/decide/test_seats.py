"""Seats that are fewer than those who want one go round by namespace."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.decide.seats import giver


@pytest.mark.parametrize(
    ("held", "taker", "gives"),
    [
        pytest.param({}, "a", "", id="nobody has any"),
        pytest.param({"crowd": 200}, "a", "crowd", id="a newcomer gets one of the crowd's"),
        pytest.param({"crowd": 2}, "a", "crowd", id="also of two"),
        pytest.param({"b": 1}, "a", "", id="nobody gives his only one"),
        pytest.param({"b": 2, "a": 1}, "a", "", id="one more is no difference that a move would mend"),
        pytest.param({"b": 3, "a": 1}, "a", "b", id="two more is"),
        pytest.param({"b": 5, "c": 7, "a": 1}, "a", "c", id="who has most gives first"),
        pytest.param({"c": 5, "b": 5}, "a", "b", id="of equals the first by name"),
        pytest.param({"crowd": 200}, "crowd", "", id="not to itself"),
        pytest.param({"crowd": 200, "a": 0}, "a", "crowd", id="who has none yet"),
    ],
)
def test_who_has_most_gives(held: dict[str, int], taker: str, gives: str) -> None:
    assert giver(held, taker) == gives


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 40)), st.sampled_from("abcde"))
def test_giving_ends_and_leaves_nobody_with_two_more(start: dict[str, int], taker: str) -> None:
    held = Counter(start)
    for _ in range(sum(start.values()) + 1):
        gives = giver(held, taker)
        if not gives:
            break
        held[gives] -= 1
        held[taker] += 1
    else:
        pytest.fail("it goes on for ever")
    assert max(held.values(), default=0) <= held[taker] + 1
    assert held.total() == sum(start.values())
