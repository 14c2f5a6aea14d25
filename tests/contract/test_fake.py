"""The fake provider."""

import pytest

from keyturn.model.errors import NotFound
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.fake import FakeProvider

PROVIDER = FakeProvider(
    {
        SourceRef("plain"): Sensitive.of("kt-canary-plain"),
        SourceRef("many", "1"): Sensitive.of("kt-canary-1"),
        SourceRef("many", "2"): Sensitive.of("kt-canary-2"),
        SourceRef("both"): Sensitive.of("kt-canary-newest"),
        SourceRef("both", "1"): Sensitive.of("kt-canary-old"),
    }
)


@pytest.mark.parametrize(
    ("ref", "text", "version"),
    [
        (SourceRef("plain"), "kt-canary-plain", ""),
        (SourceRef("many"), "kt-canary-2", "2"),
        (SourceRef("many", "1"), "kt-canary-1", "1"),
        (SourceRef("both"), "kt-canary-newest", ""),
        (SourceRef("both", "1"), "kt-canary-old", "1"),
    ],
)
async def test_the_newest_is_the_entry_without_version_or_else_the_last(ref: SourceRef, text: str, version: str):
    assert await PROVIDER.get_many([ref]) == {ref: Value(Sensitive.of(text), version)}


@pytest.mark.parametrize("ref", [SourceRef("none"), SourceRef("plain", "1"), SourceRef("many", "3"), SourceRef("")])
async def test_what_is_not_in_the_object_is_not_found(ref: SourceRef):
    assert isinstance((await PROVIDER.get_many([ref]))[ref], NotFound)


async def test_a_list_has_each_key_once_and_its_newest_version_as_fingerprint():
    listed = [(meta.key, meta.fingerprint) async for meta in PROVIDER.list()]
    assert sorted(listed) == [("both", "v"), ("many", "v2"), ("plain", "v")]
