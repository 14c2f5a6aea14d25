"""Ten thousand secrets: a list and a look at what changed are one query each, and what they tell is true."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store import tables
from keyturn.store.rows import sealed, with_secret_mac
from keyturn.store.values import SqlValues
from store.places import Place, counting, token

MANY = 10_000


@pytest.fixture
async def values(place: Place) -> SqlValues:
    """As many as that, written as `put` would, in one transaction."""
    values, now = await place.values(), datetime.now(UTC)
    ring, secrets, versions = values._holder.ring, [], []
    for number in range(1, MANY + 1):
        secret = {"id": number, "store": "default", "name": f"team-{number % 10}/s{number:05}", "secret_type": "", "current_version": 1}
        secret |= {"last_version": 1, "tags": {}, "created_at": now, "updated_at": now, "change_seq": number}
        secrets.append(with_secret_mac(ring, secret | dict.fromkeys(("expires_at", "deleted_at", "purged_at"))))
        version = {"secret_id": number, "version": 1, "stage": "current", "put_token": token(), "enabled": True}
        version |= {"created_at": now, "change_seq": number}
        versions.append(sealed(ring, "default", secrets[-1]["name"], version, Sensitive.of(f"kt-canary-{number}")))
    async with place.database(place.owner_url).writing() as connection:
        await connection.execute(insert(tables.secrets), secrets)
        await connection.execute(insert(tables.versions), versions)
    if place.own is not None:
        await place.execute("SELECT setval(pg_get_serial_sequence('application_secrets', 'id'), 10000)")
    return values


async def test_ten_thousand_secrets_are_listed_and_one_that_changed_is_found_by_one_query(values: SqlValues) -> None:
    asked = counting(values._database)
    before = {meta.key: meta.fingerprint async for meta in values.list()}
    assert (len(before), len(asked)) == (MANY, 1)
    await values.put("team-7/s00007", Sensitive.of("kt-canary-new"), token=token())
    asked.clear()
    after = {meta.key: meta.fingerprint async for meta in values.list()}
    assert {key for key in after if after[key] != before[key]} == {"team-7/s00007"}
    assert len(asked) == 1
    asked.clear()
    refs = [SourceRef(key) for key in before]
    survey = await values.survey(refs)
    assert {ref.key for ref in refs if survey.fingerprints[ref] != before[ref.key]} == {"team-7/s00007"}
    assert len(asked) == survey.calls == 1

    asked.clear()
    found = [meta.key async for meta in values.list("team-3/")]
    assert len(found) == MANY // 10
    assert all(key.startswith("team-3/") for key in found)
    assert len(asked) == 1


async def test_a_name_is_used_again_by_as_many_statements_however_many_versions_it_had(place: Place) -> None:
    """All other writers wait for them."""
    values = await place.values()
    asked, counts = counting(values._database), []
    for name, count in (("few", 2), ("many", 30)):
        for _ in range(count):
            await values.put(name, Sensitive.of("kt-canary-old"), token=token())
        await values.delete(name)
        asked.clear()
        await values.put(name, Sensitive.of("kt-canary-new"), token=token())
        counts.append(len(asked))
        told = await values.versions(name)
        assert [version.is_readable for version in told] == [True] + [False] * count
        assert {len(version.stages) for version in told[1:]} == {0}
    assert counts[0] == counts[1]


async def test_a_thousand_are_read_by_one_query_while_the_loop_goes_on(values: SqlValues) -> None:
    refs = [SourceRef(f"team-{number % 10}/s{number:05}") for number in range(1, 1001)]
    await values.get_many(refs[:2])
    asked, done = counting(values._database), asyncio.Event()
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not done.is_set():
            await asyncio.sleep(0)
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()

    beating = asyncio.create_task(beat())
    began = time.perf_counter()
    answers = await values.get_many(refs)
    took = time.perf_counter() - began
    done.set()
    await beating
    assert len(asked) == 1
    assert all(isinstance(answers[ref], Value) for ref in refs)
    print(f"1,000 values took {took * 1000:.0f} ms; the loop stood still for {longest * 1000:.1f} ms at most")
