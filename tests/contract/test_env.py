"""The env provider."""

import os

import pytest

from keyturn.model.errors import Invalid, NotFound
from keyturn.model.material import Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.env import EnvProvider

ENVIRON = {
    b"KEYTURN_SECRET_token": b"kt-canary-env",
    b"KEYTURN_SECRET_TOKEN": b"kt-canary-ENV",
    b"KEYTURN_SECRET_raw": b"kt-canary-\xff\n",
    b"KEYTURN_SECRET_empty": b"",
    b"KEYTURN_SECRET_": b"kt-canary-nameless",
    b"PATH": b"/bin",
}


async def read(provider: EnvProvider, key: str, version: str = "") -> object:
    ref = SourceRef(key, version)
    answers = await provider.get_many([ref])
    assert set(answers) == {ref}
    return answers[ref]


@pytest.mark.parametrize(
    ("key", "expected"), [("token", b"kt-canary-env"), ("TOKEN", b"kt-canary-ENV"), ("raw", b"kt-canary-\xff\n"), ("empty", b"")]
)
async def test_a_key_is_read_as_it_is_written_and_so_are_its_bytes(key: str, expected: bytes):
    assert await read(EnvProvider("KEYTURN_SECRET_", ENVIRON), key) == Value(Sensitive(expected))


@pytest.mark.parametrize("key", ["Token", "PATH", "missing", "token ", "tøken"])
async def test_a_variable_that_is_not_there_is_not_found_and_named(key: str):
    answer = await read(EnvProvider("KEYTURN_SECRET_", ENVIRON), key)
    assert isinstance(answer, NotFound)
    assert str(answer).endswith(f"KEYTURN_SECRET_{key}")


@pytest.mark.parametrize("key", ["", "a=b", "=", "a\0"])
async def test_a_key_that_no_variable_can_have_is_invalid(key: str):
    assert isinstance(await read(EnvProvider("KEYTURN_SECRET_", ENVIRON), key), Invalid)


async def test_a_pinned_version_is_invalid_since_there_are_none():
    answer = await read(EnvProvider("KEYTURN_SECRET_", ENVIRON), "token", "7")
    assert isinstance(answer, Invalid)
    assert "no versions" in str(answer)


async def test_the_environment_is_what_the_process_was_started_with(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KEYTURN_SECRET_X", "kt-canary-before")
    provider = EnvProvider("KEYTURN_SECRET_")
    monkeypatch.setenv("KEYTURN_SECRET_X", "kt-canary-after")
    assert await read(provider, "X") == Value(Sensitive(b"kt-canary-before"))
    assert os.environ["KEYTURN_SECRET_X"] == "kt-canary-after"


async def test_an_empty_prefix_reads_any_variable_as_the_library_wants():
    assert await read(EnvProvider("", ENVIRON), "PATH") == Value(Sensitive(b"/bin"))


async def test_a_list_names_the_keys_with_a_fingerprint_that_stays():
    provider = EnvProvider("KEYTURN_SECRET_", ENVIRON)
    first = [meta async for meta in provider.list()]
    assert {meta.key for meta in first} == {"token", "TOKEN", "raw", "empty"}
    assert first == [meta async for meta in provider.list()]
    assert [meta.key async for meta in provider.list("to")] == ["token"]
    assert all(isinstance(meta, Meta) and meta.fingerprint for meta in first)
