"""A row in the middle of the trail that somebody changed: nothing is signed until it is as it was, and docs/audit.md says how."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.model.checkpoint import AuditTampered
from keyturn.model.errors import ProviderError
from keyturn.store.audit import AuditTrail
from pages import ROOT, blocks
from store.checkpointed import book, told
from store.places import Place
from store.test_audit import KEY, row
from store.test_checkpoints import LATER, filled

[MEND] = [each for each in blocks(ROOT / "docs" / "audit.md", "sql") if each.startswith("-- SQLite")]
ROW = 17
"""It comes after the last checkpoint, which is of row 15."""
WAYS = ["actor = 'nobody'", "actor = 'nobody', keys = '[]', entry = hash, hash = entry, seal = NULL"]


async def update(place: Place, sql: str) -> None:
    """As whoever has the database, and leaves no trace in its triggers."""
    if place.server is not None:
        off, on = (f"ALTER TABLE secret_access_log {each} TRIGGER secret_access_log_change" for each in ("DISABLE", "ENABLE"))
    else:
        [(on,)] = await place.execute("SELECT sql FROM sqlite_master WHERE name = 'secret_access_log_update'")
        off = "DROP TRIGGER secret_access_log_update"
    for statement in (off, sql, on):
        await place.execute(statement)


def copied(file: Path, to: Path) -> None:
    with closing(sqlite3.connect(file)) as opened, closing(sqlite3.connect(to)) as copy:
        opened.backup(copy)


async def spoilt(place: Place, made: AuditTrail, change: str) -> None:
    await update(place, f"UPDATE secret_access_log SET {change} WHERE seq = {ROW}")
    with pytest.raises(AuditTampered, match=f"row {ROW}: "):
        await book(place, made, KEY).write(LATER)
    assert (await made.append([row("later")])).seq == 19, "changes go on"


async def is_whole(place: Place, made: AuditTrail) -> None:
    signed = await book(place, made, KEY).write(LATER)
    assert signed is not None
    proof = await told(place, made)
    assert (signed.checkpoint.head.seq, proof.problem, proof.walk.signed_to) == (19, "", 19)


@pytest.mark.parametrize("change", WAYS, ids=["its columns", "all of it"])
async def test_the_row_of_a_backup_makes_the_trail_whole_again_and_nothing_is_lost(place: Place, change: str) -> None:
    made, _ = await filled(place)
    await made.append([row(name) for name in ("b", "c", "d")])
    if place.file is None:
        await place.execute("CREATE TABLE kept AS SELECT * FROM secret_access_log")
        await spoilt(place, made, change)
        statement = MEND.partition("UPDATE")[2].partition(";")[0].replace("backup.secret_access_log AS kept", "kept")
        await update(place, f"UPDATE{statement.replace('362', str(ROW))}")
    else:
        backup = place.file.with_name("backup.db")
        copied(place.file, backup)
        await spoilt(place, made, change)
        script = MEND.replace("/var/lib/keyturn/backup.db", str(backup)).replace("362", str(ROW))
        with closing(sqlite3.connect(place.file, isolation_level=None)) as opened:
            opened.executescript(script)
    await is_whole(place, made)
    with pytest.raises(ProviderError):
        await place.execute("UPDATE secret_access_log SET actor = 'nobody'")


async def test_columns_are_set_right_from_the_bytes_that_were_hashed(place: Place) -> None:
    made, _ = await filled(place)
    await made.append([row(name) for name in ("b", "c", "d")])
    await spoilt(place, made, "actor = 'nobody'")
    told_there = "json_extract(CAST(entry AS TEXT), '$.actor')" if place.file else "convert_from(entry, 'UTF8')::json ->> 'actor'"
    assert place.file is None or told_there in (ROOT / "docs" / "audit.md").read_text()
    await update(place, f"UPDATE secret_access_log SET actor = {told_there} WHERE seq = {ROW}")
    await is_whole(place, made)
