"""No regular expression that is let in can be made to run for long by the name that it is tried on."""

import math
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keyturn.model.tries import LONGEST_NAME, MOST, tries


@pytest.mark.parametrize(
    "pattern",
    [
        "^shop-",
        "-prod$",
        "^(dev|test|stage)-[a-z]+-[0-9]+$",
        "^team-[a-z0-9-]*$",
        "^(?:foo-)?bar$",
        "^a{3}-(b{2})$",
        r"^[\])*+]x\+\(",
        "^(ab)+$",
        "",
    ],
)
def test_what_people_write_is_let_in(pattern: str) -> None:
    re.compile(pattern)
    assert tries(pattern) <= MOST


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*$",
        "(a?){60}a{60}",
        "((a*)b?)*",
        "a*a*a*a*$",
        "^a*a*a*a*b",
        "(a|b|ab)" * 20,
        "a?" * 30,
        r"^(a*)\1$",
        "^(?=a*)b",
        "(?i)a",
        "^a{1,60}a{1,60}a{0,60}a{,60}$",
        "(a*){2}(a*){2}",
    ],
)
def test_what_could_run_for_long_is_not(pattern: str) -> None:
    re.compile(pattern)
    assert tries(pattern) > MOST


def test_a_reference_to_what_was_matched_can_take_any_time() -> None:
    assert tries(r"(a)\1") == math.inf


ATOMS = st.sampled_from(["a", "b", "[ab]", ".", "ab", r"\w"])
PARTS = st.tuples(ATOMS, st.sampled_from(["", "*", "+", "?", "{2}", "{1,9}", "*?"])).map("".join)
PATTERNS = st.recursive(
    PARTS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=6).map("".join),
        st.tuples(st.lists(inner, min_size=1, max_size=3).map("|".join), st.sampled_from(["", "*", "?", "+"])).map(
            lambda p: f"({p[0]}){p[1]}"
        ),
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(PATTERNS, st.sampled_from(["", "^"]))
@example("(a|a)" * 14, "^")
@example("(a|ab)(a|ab)(a|ab)(a|ab)a*[ab]*", "^")
def test_what_is_let_in_is_soon_through(pattern: str, start: str) -> None:
    pattern = f"{start}{pattern}$"
    if tries(pattern) > MOST:
        return
    began = time.process_time()
    re.search(pattern, "a" * (LONGEST_NAME - 2) + "c")
    assert time.process_time() - began < 5
