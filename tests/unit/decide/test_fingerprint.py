"""Revisions: opaque, keyed, framed, and stable."""

import pytest

from builders import secret
from keyturn.decide.fingerprint import KEY_BYTES, FingerprintKey, is_key_changed, key_id
from keyturn.model.sensitive import Sensitive
from keyturn.testing.world import KEY, OTHER_KEY


def test_the_same_data_have_the_same_revision_in_whatever_order_they_come() -> None:
    one = KEY.revision({"a": secret("kt-canary-1"), "b": secret("kt-canary-2")})
    assert one == KEY.revision({"b": secret("kt-canary-2"), "a": secret("kt-canary-1")})


def test_a_revision_carries_the_id_of_its_key() -> None:
    assert key_id(KEY.revision({"a": secret()})) == KEY.id


def test_another_key_gives_another_id_and_another_revision() -> None:
    data = {"a": secret()}
    assert KEY.id != OTHER_KEY.id
    assert KEY.revision(data).split("-")[1] != OTHER_KEY.revision(data).split("-")[1]


def test_a_key_made_again_from_the_same_bytes_is_the_same_key() -> None:
    assert FingerprintKey.of(Sensitive(KEY.secret.reveal())).revision({"a": secret()}) == KEY.revision({"a": secret()})


def test_neither_revision_nor_id_shows_value_or_key() -> None:
    revision = KEY.revision({"a": secret("kt-canary-1")})
    assert "kt-canary" not in revision
    assert KEY.secret.reveal().hex() not in revision


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"a": "b=c"}, {"a=b": "c"}, id="separator"),
        pytest.param({"a": "", "b": "x"}, {"a": "x", "b": ""}, id="empty values"),
        pytest.param({"ab": "c"}, {"a": "bc"}, id="border between key and value"),
        pytest.param({"a": "b", "c": "d"}, {"a": "bcd"}, id="pairs run together"),
        pytest.param({"a": "1"}, {"a": "1\n"}, id="trailing newline"),
        pytest.param({}, {"": ""}, id="nothing and an empty pair"),
    ],
)
def test_data_that_differ_have_different_revisions(one: dict[str, str], other: dict[str, str]) -> None:
    assert KEY.revision({k: secret(v) for k, v in one.items()}) != KEY.revision({k: secret(v) for k, v in other.items()})


@pytest.mark.parametrize("length", [0, 16, KEY_BYTES - 1, KEY_BYTES + 1])
def test_a_key_of_another_length_is_refused_without_being_shown(length: int) -> None:
    with pytest.raises(ValueError, match=str(length)) as caught:
        FingerprintKey.of(Sensitive(b"k" * length))
    assert "kkkk" not in str(caught.value)


@pytest.mark.parametrize(("revision", "found"), [("12345678-abc", "12345678"), ("", ""), ("nodash", "")])
def test_the_key_id_of_a_revision_is_what_stands_before_the_dash(revision: str, found: str) -> None:
    assert key_id(revision) == found


@pytest.mark.parametrize(
    ("ours", "others", "unmarked", "changed"),
    [
        pytest.param(0, 9, 0, False, id="nine others are too few"),
        pytest.param(0, 10, 0, True, id="ten of ten"),
        pytest.param(39, 11, 0, True, id="more than a fifth"),
        pytest.param(40, 10, 0, False, id="exactly a fifth"),
        pytest.param(1000, 100, 0, False, id="a tenth"),
        pytest.param(0, 0, 50, False, id="without a revision"),
    ],
)
def test_the_key_counts_as_changed_above_a_fifth_and_ten_objects(ours: int, others: int, unmarked: int, *, changed: bool) -> None:
    revisions = [f"{KEY.id}-x"] * ours + [f"{OTHER_KEY.id}-x"] * others + [""] * unmarked
    assert is_key_changed(revisions, KEY.id) is changed
