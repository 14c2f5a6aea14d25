"""No value, and nothing that is made of one without a key, lies in the database; nothing of it is in errors or logs."""

import hashlib
import logging
import os
import stat
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from canary.birds import Canary
from keyturn.model.errors import KeyturnError, ProviderError
from keyturn.model.material import PENDING, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store.engine import open_database
from keyturn.store.failures import DatabaseRefused
from store.places import Place, sqlite_place, token

HASHES: tuple[Callable[[bytes], "hashlib._Hash"], ...] = (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512, hashlib.blake2b)


def traces(value: bytes) -> Iterator[bytes]:
    """Hashes of a value that anybody can take, as bytes and as text."""
    for make in HASHES:
        digest = make(value).digest()
        yield digest
        yield digest.hex().encode()


async def test_no_value_and_no_plain_hash_of_one_lies_on_the_disk(place: Place, canary: Canary) -> None:
    values = await place.values()
    given = [canary(f"value {number}") for number in range(12)]
    for number, text in enumerate(given[:8]):
        await values.put(f"s{number % 4}", Sensitive.of(text), token=token())
    waiting = await values.put("s0", Sensitive.of(given[8]), token=token(), stage=PENDING)
    await values.promote("s0", waiting)
    await values.delete("s1")
    await values.put("s1", Sensitive.of(given[9]), token=token())
    await values.put("s2", Sensitive.of(given[10]), token=token())
    await values.delete("s2", purge=True)
    await values.put("s3", Sensitive(given[11].encode() + bytes(range(256)) * 2000), token=token())
    lying = place.bytes()
    assert b"application_secret_versions" in lying
    assert [*canary.leaks([("the database", lying.decode("latin-1"))])] == []
    # A dump spells bytes in hex.
    assert [trace for text in given for trace in traces(text.encode()) if trace in lying or trace.hex().encode() in lying] == []
    found = (await values.get_many([SourceRef("s0")]))[SourceRef("s0")]
    assert isinstance(found, Value)
    assert found.data == Sensitive.of(given[8])


async def test_a_failure_tells_no_statement_no_value_and_no_url(place: Place, canary: Canary, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    values = await place.values()
    secret = canary("put")
    await place.execute("DROP TABLE application_secret_versions")
    told = []
    for call in (
        values.put("db", Sensitive.of(secret), token=token()),
        values.get_many([SourceRef("db")]),
        values.versions("db"),
        values.delete("db", purge=True),
    ):
        try:
            await call
        except ProviderError as error:
            told.append("".join(traceback.format_exception(error)))
    everything = "\n".join((*told, caplog.text))
    assert len(told) >= 2
    for word in ("INSERT", "SELECT", "put_token", "gAAAA", secret, place.url):
        assert word not in everything, word


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root:{}@127.0.0.1/db",
        "postgresql://u:{}@127.0.0.1:x/db",
        "postgresql://u:{}@[::1/db",
        "{}",
        "sqlite:///:memory:?password={}",
        "sqlite://",
        "oracle+{}://",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str, canary: Canary) -> None:
    with pytest.raises(KeyturnError) as refused:
        open_database(Sensitive.of(url.format(canary("password"))))
    assert "database" in str(refused.value)
    assert "kt-canary" not in "".join(traceback.format_exception(refused.value))


async def test_a_database_in_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    former = os.umask(0o022)
    try:
        async with sqlite_place(tmp_path) as place:
            await place.migrate()
            values = await place.values()
            await values.put("db", Sensitive.of("kt-canary-db"), token=token())
            assert {stat.S_IMODE(file.stat().st_mode) for file in os.scandir(tmp_path)} == {0o600}
    finally:
        os.umask(former)


def test_a_url_that_names_a_plugin_is_refused() -> None:
    with pytest.raises(DatabaseRefused, match="plugin"):
        open_database(Sensitive.of("postgresql://h/d?plugin=kt"))
