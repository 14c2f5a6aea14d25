"""Paths into JSON."""

import pytest

from keyturn.decide.jsontext import Json
from keyturn.decide.paths import find, split
from keyturn.model.errors import Rejected


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a.0.b", ("a", "0", "b")),
        (r"a\.b", ("a.b",)),
        (r"a\.b.c", ("a.b", "c")),
        (r"a\\.b", ("a\\", "b")),
        (r"\a", ("a",)),
        ("a..b", ("a", "", "b")),
        (".", ("", "")),
        ("", ("",)),
    ],
)
def test_a_path_is_cut_at_dots_unless_escaped(path: str, names: tuple[str, ...]):
    assert split(path) == names


def test_a_lone_backslash_at_the_end_is_rejected():
    with pytest.raises(Rejected, match="lone backslash"):
        split("a\\")


DOCUMENT: Json = {"a": {"b": ["x", {"c": "y"}], "0": "zero", "": "empty"}, "n": None}


@pytest.mark.parametrize(
    ("path", "found"),
    [("a.b.0", "x"), ("a.b.1.c", "y"), ("a.0", "zero"), ("a.", "empty"), ("n", None), ("a.b", ["x", {"c": "y"}])],
)
def test_a_path_finds_its_value(path: str, found: Json):
    assert find(DOCUMENT, split(path)) == found


@pytest.mark.parametrize("path", ["b", "a.b.2", "a.b.-1", "a.b.00", "a.b.01", "a.b.x", "a.b.0.x", "n.x", "a.b.٠", "a.b." + "9" * 5000, "A"])
def test_a_path_that_leads_nowhere_is_a_lookup_error(path: str):
    with pytest.raises(LookupError):
        find(DOCUMENT, split(path))
