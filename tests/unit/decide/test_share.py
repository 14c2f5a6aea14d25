"""How much one may hold of what many share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.decide.share import may_draw, may_take


@pytest.mark.parametrize(
    ("held", "free", "more", "may"),
    [
        pytest.param(0, 0, 1, False, id="nothing is free"),
        pytest.param(0, 1, 1, True, id="the last goes to one who has nothing"),
        pytest.param(1, 1, 1, False, id="and to nobody who has something"),
        pytest.param(7, 9, 1, True, id="a half is his"),
        pytest.param(8, 8, 1, False, id="more than a half is not"),
        pytest.param(3, 5, 1, True, id="half of what is free beside another's half"),
        pytest.param(0, 3, 4, False, id="more than there is"),
        pytest.param(0, 4, 4, True, id="all of it, where he has nothing"),
        pytest.param(2, 8, 3, True, id="several at once"),
        pytest.param(2, 8, 4, False, id="too many at once"),
    ],
)
def test_nobody_takes_more_than_he_leaves(held: int, free: int, more: int, *, may: bool) -> None:
    assert may_take(held, free, more) is may


@given(st.integers(1, 64), st.integers(1, 12))
def test_however_many_take_what_they_can_each_gets_something(places: int, takers: int) -> None:
    """While there are places for as many as there are takers, in whatever order they come."""
    held = [0] * takers
    for taker in range(takers):
        while may_take(held[taker], places - sum(held)):
            held[taker] += 1
    assert sum(held) <= places
    assert all(held) or sum(held) == places
    assert held == sorted(held, reverse=True)


@pytest.mark.parametrize(
    ("held", "own", "free", "may"),
    [
        pytest.param(8, 8, 8, False, id="who has his half there gets no more"),
        pytest.param(8, 0, 8, True, id="another comes in beside him"),
        pytest.param(9, 1, 7, False, id="once"),
        pytest.param(11, 0, 5, True, id="many others, once each"),
        pytest.param(12, 0, 4, False, id="until a quarter is left for other providers"),
        pytest.param(0, 0, 1, True, id="the last worker"),
        pytest.param(0, 0, 0, False, id="no worker"),
        pytest.param(1, 0, 1, False, id="the last worker is not for a provider that holds one"),
    ],
)
def test_a_provider_is_open_to_newcomers_for_longer(held: int, own: int, free: int, *, may: bool) -> None:
    assert may_draw(held, own, free) is may
