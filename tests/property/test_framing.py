"""No two different data share the bytes that a revision is taken over."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from keyturn.decide.fingerprint import _framed
from keyturn.model.sensitive import Sensitive
from keyturn.testing.world import KEY

BYTES = st.binary(max_size=20)
DATA = st.dictionaries(st.text(max_size=8), BYTES, max_size=4)


def framed(data: dict[str, bytes]) -> bytes:
    pairs = chain.from_iterable((key.encode("utf-8", "surrogatepass"), data[key]) for key in sorted(data))
    return b"".join(_framed(iter(pairs)))


@given(st.lists(BYTES, max_size=6), st.lists(BYTES, max_size=6))
def test_different_parts_have_different_bytes(one: list[bytes], other: list[bytes]) -> None:
    assert (b"".join(_framed(iter(one))) == b"".join(_framed(iter(other)))) is (one == other)


@given(DATA, DATA)
def test_different_data_have_different_bytes(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (framed(one) == framed(other)) is (one == other)


@given(BYTES, BYTES, st.integers(0, 20))
def test_moving_the_border_between_key_and_value_changes_the_bytes(key: bytes, value: bytes, at: int) -> None:
    joined = key + value
    cut = (joined[:at], joined[at:])
    if cut != (key, value):
        assert b"".join(_framed(iter((key, value)))) != b"".join(_framed(iter(cut)))


@given(st.dictionaries(st.sampled_from("abcd"), BYTES, max_size=4), st.randoms(use_true_random=False))
def test_a_revision_does_not_depend_on_the_order_of_keys(data: dict[str, bytes], chance) -> None:  # type: ignore[no-untyped-def]  # a Random
    keys = list(data)
    chance.shuffle(keys)
    values = {key: Sensitive(data[key]) for key in data}
    assert KEY.revision(values) == KEY.revision({key: values[key] for key in keys})
