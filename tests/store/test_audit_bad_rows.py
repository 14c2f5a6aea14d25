"""Rows that a database does not take: what can be spelled out is, and what cannot be keeps no other row from the trail."""

import asyncio
import random
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from keyturn.decide.hashchain import Walk
from keyturn.flow.audit_queue import MOST, UNREADABLE, AuditQueue
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import AuditUnavailable, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit import AuditTrail
from keyturn.store.engine import Database
from keyturn.testing.clock import FakeClock
from store.chains import verified
from store.places import Place, sqlite_place
from store.test_audit import row

KEY = Sensitive(bytes(range(32)))
LARGEST = 1500
"""Bytes that the database holds, in these tests alone."""


async def narrow(place: Place, database: Database) -> None:
    """Sets the database's own limit low, so that it refuses what is longer by itself."""
    if place.server is not None:
        await place.execute(f"ALTER TABLE secret_access_log ALTER COLUMN details TYPE varchar({LARGEST})")
        return

    @event.listens_for(database.engine, "connect")
    def limit(connection: Any, _: object) -> None:
        connection.run_async(lambda own: own._execute(own._conn.setlimit, sqlite3.SQLITE_LIMIT_LENGTH, 2 * LARGEST))


async def test_of_500_rows_an_odd_one_is_cleaned_and_the_one_that_is_refused_keeps_no_other_from_the_trail(place: Place) -> None:
    trail = AuditTrail(database := place.database(), lambda: ("k1", KEY))
    await narrow(place, database)

    async def opened() -> AuditTrail:
        return trail

    entries = [AuditEntry("secret.create", "ManagedSecret/shop/app", f"Secret/shop/{number}") for number in range(MOST)]
    entries[123] = AuditEntry("secret.create", "ManagedSecret/shop/a\x00b\ud800c", "Secret/shop/\x00", details={"\udfff": "\x00"})
    entries[321] = AuditEntry("secret.create", "ManagedSecret/shop/app", "Secret/shop/huge", details={f"{n}": "x" * 1000 for n in range(3)})
    queue = AuditQueue(opened, FakeClock(), "operator", "a")
    asked = [asyncio.create_task(queue.intend(entry)) for entry in entries]
    await asyncio.sleep(0)  # all are there before the first is written: one group
    writing = asyncio.create_task(queue.run())
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = {number: answer for number, answer in enumerate(answers) if isinstance(answer, BaseException)}
    assert list(refused) == [321]
    assert isinstance(refused[321], AuditUnavailable)
    assert str(refused[321]) == UNREADABLE
    for answer in answers:
        if isinstance(answer, str):
            await queue.settle(answer, Outcome.SUCCESS)
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
    await queue.close()
    assert await verified(trail, walk := Walk(lambda _: KEY)) == ""
    assert walk.at.seq == 2 * (MOST - 1)
    assert await trail.open_intents("", 0) == {}
    [(subject, target, details)] = await place.execute(
        "SELECT subject, target, details FROM secret_access_log WHERE event = :event", event=answers[123]
    )
    assert (subject, target, details) == ("ManagedSecret/shop/a\\u0000b\\ud800c", "Secret/shop/\\u0000", '{"\\\\udfff":"\\\\u0000"}')


@pytest.mark.parametrize("first", [0x41, 0x400, 0x4E00, 0x20000])
async def test_the_longest_texts_that_are_kept_fit_into_every_database(place: Place, first: int) -> None:
    """An index of PostgreSQL's takes 2,704 bytes that cannot be pressed together."""
    lot, trail = random.Random(1), AuditTrail(place.database(), lambda: ("k1", KEY))
    text = "".join(chr(first + lot.randrange(first // 3)) for _ in range(5000))
    await trail.append([row(text, subject=text, target=text, settles=text, keys=(text,) * 300, details={text: text})])
    assert await verified(trail, Walk(lambda _: KEY)) == ""


async def test_whoever_is_called_off_while_rows_are_added_may_add_them_again(place: Place) -> None:
    trail = AuditTrail(place.database(), lambda: ("k1", KEY))
    rows = [row(f"e{number}") for number in range(100)]
    for moment in range(30):
        adding = asyncio.create_task(trail.append(rows[: 10 + moment]))
        for _ in range(moment):
            await asyncio.sleep(0)
        adding.cancel()
        with suppress(asyncio.CancelledError):
            await adding
    assert (await trail.append(rows)).seq == len(rows)
    assert await verified(trail, Walk(lambda _: KEY)) == ""


async def test_a_file_that_is_no_longer_the_same_takes_no_row(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path) as place:
        await place.migrate()
        trail = AuditTrail(place.database(), lambda: ("k1", KEY))
        await trail.append([row("before")])
        assert place.file is not None
        shutil.copy(place.file, tmp_path / "other")
        (tmp_path / "other").replace(place.file)
        for _ in range(2):
            with pytest.raises(Unavailable, match="taken away or replaced"):
                await trail.append([row("after")])
        assert b"after" not in place.bytes()
