"""A long audit trail is followed quickly, by one process or by several, and a changed row in it is found wherever it is."""

import random
import resource
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from effort import SEED, effort
from evidence import counted
from keyturn.decide.auditrow import COLUMNS
from keyturn.decide.hashchain import START, Walk, chained
from keyturn.model.audit import AuditRow, Head
from keyturn.model.sensitive import Sensitive
from keyturn.store import audit_walk
from keyturn.store.audit import AuditTrail
from store import chains
from store.places import Place, sqlite_place

KEY = Sensitive(bytes(range(32)))
MOST = 1_000_000
AT = datetime(2026, 11, 30, 12, 0, 0, 5, tzinfo=UTC)
BUDGET_US = 20
MARGIN = 5
STRETCH = 1500
NAMES = ("seq", *COLUMNS, "entry", "hash", "seal", "seal_key")


def story(number: int) -> AuditRow:
    """An intent, or the settlement of the one before it, as long as those of an operator."""
    event, is_intent = f"1f0c7d3e5a9b2468-{number}", number % 2 == 1
    return AuditRow(
        event,
        AT + timedelta(milliseconds=number),
        "operator/keyturn-7d9c5b6f4-x2x9z",
        "secret.change",
        f"ManagedSecret/shop-{number % 50}/app-{number % 700}",
        f"Secret/shop-{number % 50}/app-{number % 700}",
        "refresh",
        ("password", "username"),
        {"revision": "3f2a9c7d51e0b864", "uid": "7d1f0a52-93c4-4be1-8a77-0c5f3d2e1b96"},
        f"{number // 2:016x}",
        "" if is_intent else f"1f0c7d3e5a9b2468-{number - 1}",
        "" if is_intent else "success",
    )


def fill(file: Path, count: int) -> Head:
    """A true chain, put there without the way through the operator: that takes three times as long."""
    head = START
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for begin in range(1, count + 1, 500):
            made = chained(map(story, range(begin, min(begin + 500, count + 1))), head, KEY, "k1")
            rows = [(e.seq, *(e.texts[name] for name in COLUMNS), e.entry, e.hash, e.seal, e.seal_key) for e in made]
            connection.executemany(f"INSERT INTO secret_access_log ({', '.join(NAMES)}) VALUES ({', '.join('?' * len(NAMES))})", rows)
            head = Head(made[-1].seq, made[-1].hash)
        connection.commit()
    return head


def cpu() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


async def verified(place: Place, jobs: int, anchor: Head | None = None) -> tuple[str, Walk]:
    walk = Walk(lambda _: KEY, anchor=anchor)
    trail = AuditTrail(place.database(), lambda: ("", None))
    return await chains.verified(trail, walk, audit_walk.Pace(Sensitive.of(place.url), jobs)), walk


def change(place: Place, *statements: str) -> None:
    assert place.file is not None
    with closing(sqlite3.connect(place.file)) as connection:
        for name in ("insert", "update", "delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS secret_access_log_{name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.mark.timeout(1200)
async def test_a_million_rows_are_followed_in_little_time(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = counted(request, effort(50_000, MOST), MOST, "rows")
    async with sqlite_place(tmp_path) as place:
        await place.migrate()
        assert place.file is not None
        head = fill(place.file, rows)
        for jobs in (1, 2):
            begun, used = time.monotonic(), cpu()
            problem, walk = await verified(place, jobs, head)
            seconds, each = time.monotonic() - begun, (cpu() - used) / rows * 1e6
            assert (problem, walk.at, walk.sealed_to, walk.unchecked) == ("", head, rows, 0)
            with capsys.disabled():
                print(f"\n{rows} rows by {jobs}: {each:.1f} µs of CPU a row, {rows / seconds:.0f} rows a second")
            # Short of a million, what it takes to start processes counts as much as the rows.
            assert each < BUDGET_US * MARGIN


@pytest.mark.timeout(300)
async def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is: at the ends of what each of them follows, too."""
    monkeypatch.setattr(audit_walk, "STRETCH", STRETCH)
    lot, rows, log = random.Random(f"{SEED} stretches"), 3 * STRETCH + 10, "secret_access_log"
    async with sqlite_place(tmp_path) as place:
        await place.migrate()
        assert place.file is not None
        head = fill(place.file, rows)
        place.file.rename(kept := tmp_path / "kept")
        odd = Head(STRETCH + 5, bytes(32))
        for number, (statements, anchor) in enumerate(
            [
                ((), head),
                ((), odd),
                ((), Head(rows + 1, bytes(32))),
                ((f"UPDATE {log} SET actor = 'nobody' WHERE seq = {lot.randrange(1, rows)}",), head),
                ((f"UPDATE {log} SET hash = entry WHERE seq = {STRETCH}",), head),
                ((f"DELETE FROM {log} WHERE seq = {STRETCH}",), head),
                ((f"DELETE FROM {log} WHERE seq > {2 * STRETCH}",), head),
                ((f"UPDATE {log} SET seal = zeroblob(32) WHERE seq = {2 * STRETCH}",), head),
                ((f"UPDATE {log} SET actor = CAST(x'ff' AS TEXT) WHERE seq = {lot.randrange(STRETCH, rows)}",), head),
            ]
        ):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "keyturn.db").write_bytes(kept.read_bytes())
            async with sqlite_place(folder) as copy:
                change(copy, *statements)
                alone, shared = [await verified(copy, jobs, anchor) for jobs in (1, 2)]
                assert shared[0] == alone[0]
                assert bool(alone[0]) == (anchor != head or bool(statements))
                assert (shared[1].at, shared[1].sealed_to) == (alone[1].at, alone[1].sealed_to)
