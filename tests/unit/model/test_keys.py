"""Which master keys are taken, and what is said of the others: never a word of them."""

import base64
import math
import random
import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effort import SEED
from keyturn.model.keys import LEAST_BITS, KeysRefused, KeyTooWeak, MasterKeys, estimated_bits
from keyturn.model.sensitive import Sensitive

ONE, TWO = "kt-canary-9fK2xWq7Lr0Zt5Vb8Yp3Nd6Hs1Jm4Gc", "kt-canary-Qz7Xc4Vb1Nm8Lk5Jh2Gf9Ds6Ap3Wo0"

REGULAR = {
    "one sign": "kt-canary" + "a" * 64,
    "a period": "kt-canary-" * 8,
    "the alphabet": "abcdefghijklmnopqrstuvwxyz0123456789",
    "the keyboard": "qwertyuiopasdfghjklzxcvbnm1234567890",
    "digits": "1234567890" * 5,
    "two signs": "".join("01"[ord(sign) % 2] for sign in string.printable),
    "a password, often": "Password123!" * 4,
    "words": "correct horse battery staple and more of it please",
    "a placeholder": "your-secret-key-here-change-me-please-1234",
    "words in humps": "MySecretKeyForTheProductionDatabaseOfTheShop",
    "words without gaps": "thisismysuperlongsecretkeyforproduction",
    "a framework's default": "django-insecure-change-me-0123456789abcdef",
    "letters that are not ASCII": "é" * 40,
}


@pytest.mark.parametrize("words", REGULAR.values(), ids=REGULAR)
def test_a_key_that_people_would_guess_is_refused_with_the_remedy(words: str) -> None:
    with pytest.raises(KeyTooWeak, match=r"SECRET_KEY could be guessed.*openssl rand -base64 48") as refused:
        MasterKeys.of({"SECRET_KEY": words})
    assert words not in str(refused.value)


@pytest.mark.parametrize("length", [1, 16, 31])
def test_a_short_key_is_refused_with_the_remedy(length: int) -> None:
    words = ONE[-length:]
    with pytest.raises(KeyTooWeak, match=r"SECRET_KEY is shorter than 32 bytes.*openssl rand -base64 48") as refused:
        MasterKeys.of({"SECRET_KEY": words})
    assert length < 4 or words not in str(refused.value)


MADE = {
    "hex of 16 bytes": lambda chance: chance.randbytes(16).hex(),
    "hex of 32 bytes": lambda chance: chance.randbytes(32).hex().upper(),
    "base64 of 48 bytes": lambda chance: base64.b64encode(chance.randbytes(48)).decode(),
    "base64 of 32 bytes": lambda chance: base64.urlsafe_b64encode(chance.randbytes(32)).decode(),
    "32 small letters": lambda chance: "".join(chance.choices(string.ascii_lowercase, k=32)),
    "bytes": lambda chance: (b"x" + chance.randbytes(40) + b"x").replace(b"\0", b"1").decode("utf-8", "surrogateescape"),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_key_that_a_machine_made_is_taken(make) -> None:  # type: ignore[no-untyped-def]  # a lambda
    chance = random.Random(f"{SEED} keys")
    for _ in range(200):
        words = make(chance)
        assert MasterKeys.of({"SECRET_KEY": words}).wanted.words.reveal() == words.encode("utf-8", "surrogateescape")


@given(st.binary(min_size=1, max_size=100), st.integers(2, 20))
def test_to_repeat_a_text_adds_next_to_nothing(text: bytes, times: int) -> None:
    """Each piece that was there before is twice as long as the last."""
    twice = estimated_bits(Sensitive(text * 2))
    assert 0 <= estimated_bits(Sensitive(text * 2 * times)) <= twice + 8 * len(text) + 20 * math.log2(2 * times)


def test_a_long_key_is_weighed_quickly_and_by_its_beginning() -> None:
    assert estimated_bits(Sensitive.of("a" * 5000 + secrets.token_hex(64))) < LEAST_BITS


def test_the_wanted_key_comes_first_and_the_previous_one_second() -> None:
    keys = MasterKeys.of({"SECRET_KEY": f" {ONE}\n", "SECRET_KEY_PREVIOUS": TWO})
    assert [(key.words.reveal().decode(), key.origin, key.id) for key in keys.keys] == [
        (ONE, "SECRET_KEY", ""),
        (TWO, "SECRET_KEY_PREVIOUS", ""),
    ]
    assert keys.wanted is keys.keys[0]


def test_a_file_gives_keys_with_ids_in_its_order() -> None:
    keys = MasterKeys.of({}, f"# of 2026\n\nk2: {ONE}\r\n  k1 :{TWO}  \n")
    assert [(key.id, key.words.reveal().decode()) for key in keys.keys] == [("k2", ONE), ("k1", TWO)]


REFUSED = {
    "nothing": ({}, None, "set SECRET_KEY or SECRET_KEYS_FILE"),
    "empty": ({"SECRET_KEY": "  "}, None, "set SECRET_KEY or SECRET_KEYS_FILE"),
    "the previous one alone": ({"SECRET_KEY_PREVIOUS": ONE}, None, "set SECRET_KEY or SECRET_KEYS_FILE"),
    "twice the same": ({"SECRET_KEY": ONE, "SECRET_KEY_PREVIOUS": ONE}, None, "SECRET_KEY and SECRET_KEY_PREVIOUS are the same key"),
    "both ways": ({"SECRET_KEY": ONE}, f"k1: {TWO}", "SECRET_KEYS_FILE holds all keys: unset SECRET_KEY"),
    "an empty file": ({}, "\n# none\n", "holds no key; write lines of the form 'id: key'"),
    "a line without an id": ({}, f"k1: {ONE}\n{TWO}\n", "line 2 of SECRET_KEYS_FILE must be 'id: key'"),
    "a strange id": ({}, f"K 1: {ONE}", "line 1 of SECRET_KEYS_FILE must be 'id: key'"),
    "one id twice": ({}, f"k1: {ONE}\nk1: {TWO}", "line 1 of SECRET_KEYS_FILE and line 2 of SECRET_KEYS_FILE have the same id"),
    "one key twice": ({}, f"k1: {ONE}\nk2: {ONE}", "line 1 of SECRET_KEYS_FILE and line 2 of SECRET_KEYS_FILE are the same key"),
    "a weak line": ({}, f"k1: {ONE}\nk2: {'a' * 64}", "line 2 of SECRET_KEYS_FILE could be guessed"),
}


@pytest.mark.parametrize(("environment", "text", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_given_wrongly_is_refused_and_not_repeated(environment: dict[str, str], text: str | None, told: str) -> None:
    with pytest.raises(KeysRefused) as refused:
        MasterKeys.of(environment, text)
    assert told in str(refused.value)
    assert not any(words[10:] in str(refused.value) for words in (ONE, TWO))


def test_nothing_of_a_key_is_in_its_repr() -> None:
    assert ONE[10:] not in repr(MasterKeys.of({"SECRET_KEY": ONE}))


def test_a_key_is_tried_under_its_own_id_and_without_one_under_any_that_has_none() -> None:
    keys = MasterKeys.of({}, f"k2: {ONE}\nk1: {TWO}")
    assert [key.id for key in keys.candidates("k1", frozenset({"k1"}))] == ["k1"]
    assert [key.id for key in keys.candidates("k-0f", frozenset({"k1", "k-0f"}))] == ["k2"]
    unnamed = MasterKeys.of({"SECRET_KEY": ONE, "SECRET_KEY_PREVIOUS": TWO})
    assert unnamed.candidates("k1", frozenset({"k1"})) == unnamed.keys
