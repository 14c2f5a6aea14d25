"""When a log-in's token is used, renewed or replaced."""

import math

import pytest

from keyturn.decide.tokenlife import FOREVER, Care, Life, care, grant, is_worn


@pytest.mark.parametrize(
    ("is_renewable", "at_s", "expected"),
    [
        (True, 0, Care.NONE),
        (True, 599, Care.NONE),
        (True, 600, Care.RENEWAL),
        (True, 899, Care.RENEWAL),
        (True, 900, Care.REPLACEMENT),
        (True, 10_000, Care.REPLACEMENT),
        (False, 809, Care.NONE),
        (False, 810, Care.REPLACEMENT),
        (False, 900, Care.REPLACEMENT),
    ],
)
def test_a_token_of_900_seconds(*, is_renewable: bool, at_s: float, expected: Care) -> None:
    assert care(grant(50, 900, is_renewable=is_renewable, chance=0), 50 + at_s) is expected


@pytest.mark.parametrize("chance", [0, 0.25, 0.5, 0.999])
def test_chance_brings_it_forward_by_a_tenth_at_most(chance: float) -> None:
    due_s = grant(0, 900, is_renewable=True, chance=chance).due_at_s
    assert 540 <= due_s <= 600
    assert due_s == pytest.approx(600 - 60 * chance)


@pytest.mark.parametrize("length_s", [0, -1])
def test_a_token_without_an_end_needs_nothing_ever(length_s: float) -> None:
    life = grant(0, length_s, is_renewable=True, chance=0)
    assert life == FOREVER
    assert care(life, math.nextafter(math.inf, 0)) is Care.NONE


@pytest.mark.parametrize(("length_s", "expected"), [(900, False), (901, False), (899, True), (1, True), (0, False)])
def test_a_renewal_that_gives_less_than_before_shows_the_end(*, length_s: float, expected: bool) -> None:
    assert is_worn(Life(900, True, 600, 900), length_s) is expected
