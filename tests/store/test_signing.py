"""Signed notes, held against the published examples of the form, and against everything that can be wrong with one."""

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.decide.note import split
from keyturn.model.keys import KeyTooWeak
from keyturn.model.note import KeyMalformed, NoteRefused, UnknownSigner, VerifierKey
from keyturn.model.sensitive import Sensitive
from keyturn.store.signing import NAME, SigningKey, check, verifiers

# The example of the package note of golang.org/x/mod, whose form C2SP wrote down: its key, its text, and the note.
EXAMPLE_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE_SEED = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
EXAMPLE_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
EXAMPLE_LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
EXAMPLE = f"{EXAMPLE_TEXT}\n{EXAMPLE_LINE}"
SECOND_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
SECOND_LINE = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
SEED = Sensitive(base64.b64encode(hashlib.sha256(b"a seed for tests").digest()))


def example_key() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(base64.b64decode(EXAMPLE_SEED)[1:]), "PeterNeumann")


def key() -> SigningKey:
    return SigningKey.of(SEED, "a test")


def test_the_published_example_is_made_to_the_byte() -> None:
    assert example_key().sign(EXAMPLE_TEXT) == EXAMPLE
    assert str(example_key().verifier) == EXAMPLE_VKEY


def test_the_published_examples_are_good() -> None:
    known = [VerifierKey.parse(EXAMPLE_VKEY), VerifierKey.parse(SECOND_VKEY)]
    assert check(EXAMPLE, known) == EXAMPLE_TEXT
    assert check(EXAMPLE + SECOND_LINE, known) == EXAMPLE_TEXT
    assert check(EXAMPLE + SECOND_LINE, known[1:]) == EXAMPLE_TEXT, "signatures of unknown keys are passed over"


def test_who_knows_no_key_of_it_learns_which_one_it_would_take() -> None:
    with pytest.raises(UnknownSigner, match=r"PeterNeumann\+c74f20a3"):
        check(EXAMPLE, [VerifierKey.parse(SECOND_VKEY)])


def test_a_bad_signature_of_a_known_key_spoils_the_note_beside_a_good_one() -> None:
    known = [VerifierKey.parse(EXAMPLE_VKEY), VerifierKey.parse(SECOND_VKEY)]
    with pytest.raises(NoteRefused, match="EnochRoot"):
        check(EXAMPLE + SECOND_LINE.replace("CpDck", "CpDcl"), known)


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_no_bit_of_a_note_can_be_changed(place: int, bit: int) -> None:
    note = bytearray(key().sign("keyturn.dev/audit/1\n7\nhash\ntime now\n").encode())
    note[place % len(note)] ^= 1 << bit
    if place % len(note) == len(note) - 1:
        return  # the last line's end is no part of what is signed
    with pytest.raises(NoteRefused):
        check(note.decode("utf-8", "surrogateescape"), [key().verifier])


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        "text\n",
        f"text\n\n{EXAMPLE_LINE}x",
        f"{EXAMPLE_TEXT}\r\n{EXAMPLE_LINE}",
        f"\n\n{EXAMPLE_LINE}",
        f"{EXAMPLE}\x00",
        "\n" * 99,
    ],
    ids=repr,
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(NoteRefused):
        check(note, [VerifierKey.parse(EXAMPLE_VKEY)])


def test_a_second_implementation_finds_the_signature_good() -> None:
    """By hand, from the words of the specification."""
    text, line = key().sign("one\ntwo\n").split("\n\n")
    dash, name, coded = line.rstrip("\n").split(" ")
    raw = base64.b64decode(coded)
    public = base64.b64decode(str(key().verifier).split("+", 2)[2])[1:]
    assert (dash, name) == ("—", NAME)
    assert raw[:4] == hashlib.sha256(NAME.encode() + b"\x0a\x01" + public).digest()[:4]
    Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], f"{text}\n".encode())


def test_openssl_s_key_and_its_seed_are_one(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True, capture_output=True)
    der = subprocess.run(["openssl", "pkey", "-in", file, "-outform", "DER"], check=True, capture_output=True).stdout
    from_pem = SigningKey.of(Sensitive(file.read_bytes()), "a file")
    from_seed = SigningKey.of(Sensitive(base64.b64encode(der[-32:])), "a seed")
    assert from_pem.verifier == from_seed.verifier
    assert list(verifiers(Sensitive(file.read_bytes()), "a file")) == [from_pem.verifier]


def test_public_keys_come_as_words_and_from_private_ones() -> None:
    given = Sensitive(f"{EXAMPLE_VKEY}, {SECOND_VKEY}\n".encode() + SEED.reveal())
    assert [found.name for found in verifiers(given, "a test")] == ["PeterNeumann", "EnochRoot", NAME]
    assert split(key().sign("x\n"))[1][0].id == list(verifiers(given, "a test"))[2].id


@pytest.mark.parametrize("wrong", ["", "c2hvcnQ=", base64.b64encode(bytes(33)).decode(), "-----BEGIN PRIVATE KEY-----\nx", "å"])
def test_what_is_no_key_is_refused_without_a_word_of_it(wrong: str) -> None:
    with pytest.raises(KeyMalformed) as refused:
        SigningKey.of(Sensitive(wrong.encode()), "AUDIT_SIGNING_KEY")
    assert str(refused.value).startswith("AUDIT_SIGNING_KEY ")
    assert wrong == "" or wrong not in str(refused.value)


def test_a_key_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(KeyTooWeak):
        SigningKey.of(Sensitive(base64.b64encode(b"password" * 4)), "AUDIT_SIGNING_KEY")


@pytest.mark.parametrize("sign", range(len("PeterNeumann+"), len(EXAMPLE_VKEY)))
def test_a_public_key_with_a_wrong_sign_is_refused(sign: int) -> None:
    other = "A" if EXAMPLE_VKEY[sign] != "A" else "B"
    with pytest.raises(KeyMalformed):
        VerifierKey.parse(EXAMPLE_VKEY[:sign] + other + EXAMPLE_VKEY[sign + 1 :])
