"""What somebody with SQL can write into the audit trail, once its triggers and constraints are gone: each such row is named."""

import tracemalloc
from collections.abc import Sequence

import pytest

from keyturn.decide.hashchain import Walk
from keyturn.model.audit import Head
from keyturn.store.audit_reading import LARGEST
from store.chains import all_rows, verified
from store.places import Place
from store.test_audit import KEY, filled, unlocked

LOG = "secret_access_log"
ROWS = 20
_MORE = "event, at, actor, action, subject, target, trigger, keys, details, attempt, settles, outcome, reason, entry, hash, seal, seal_key"


async def loosened(place: Place) -> None:
    """As a database's administrator: columns may hold anything that the database can."""
    await unlocked(place)
    if place.server is None:
        await place.execute(f"CREATE TABLE loose AS SELECT * FROM {LOG}")
        await place.execute(f"DROP TABLE {LOG}")
        await place.execute(f"ALTER TABLE loose RENAME TO {LOG}")
        return
    await place.execute(f"ALTER TABLE {LOG} DROP CONSTRAINT pk_{LOG}")
    for column in ("seq", *(each.strip() for each in _MORE.split(","))):
        await place.execute(f"ALTER TABLE {LOG} ALTER COLUMN {column} DROP NOT NULL")


def put(seq: str, come_from: int = 7) -> str:
    """A row more, like another one."""
    return f"INSERT INTO {LOG} (seq, {_MORE}) SELECT {seq}, {_MORE} FROM {LOG} WHERE seq = {come_from}"


def set_(assignment: str) -> str:
    return f"UPDATE {LOG} SET {assignment} WHERE seq = 7"


EVERYWHERE = {
    "no text": (set_("actor = NULL"), "row 7: a column of it that is never empty has nothing in it"),
    "no bytes": (set_("entry = NULL"), "row 7: a column of it that is never empty has nothing in it"),
    "no hash": (set_("hash = NULL"), "row 7: a column of it that is never empty has nothing in it"),
    "no name of a key": (set_("seal_key = NULL"), "row 7: a column of it that is never empty has nothing in it"),
    "a negative number": (put("-5"), "row -5: it stands before row 1"),
    "row 0": (put("0"), "row 0: it stands before row 1"),
    "the largest number": (put(f"{2**63 - 1}"), f"row {ROWS + 1}: is missing"),
    "a row twice": (put("7"), "row 8: is there twice"),
    "the last row twice": (put(f"{ROWS}", ROWS), f"row {ROWS + 1}: is there twice"),
    "bytes that are none": (set_("entry = hash"), "row 7: its columns are not what was written"),
    "empty bytes": (set_("hash = CAST('' AS BYTEA)"), "row 7: it does not follow"),
    "empty keys": (set_("keys = ''"), "row 7: its columns are not what was written"),
}
SQLITE = {
    "no number": (set_("seq = NULL"), "row 1: in its place is a row whose number is none: None"),
    "text that is no UTF-8": (set_("actor = CAST(x'ff' AS TEXT)"), "row 7: it cannot be read: it holds what is no text"),
    "half of a character": (set_("reason = CAST(x'eda080' AS TEXT)"), "row 7: it cannot be read: it holds what is no text"),
    "bytes for a text": (set_("actor = CAST(actor AS BLOB)"), "row 7: it holds what is no text"),
    "bytes for the name of a key": (set_("seal_key = x'00'"), "row 7: it holds what is of another kind"),
    "a number for a text": (set_("details = 5"), "row 7: it"),
    "a number for bytes": (set_("entry = 1000000000000"), "row 7: it holds what is of another kind"),
    "a number for a hash": (set_("hash = -1"), "row 7: it holds what is of another kind"),
    "a text for a hash": (set_("hash = 'x'"), "row 7: it holds what is of another kind"),
    "a text for a seal": (set_("seal = 'ü'"), "row 7: it holds what is of another kind"),
    "a text for a number": (put("'many'"), f"row {ROWS + 1}: in its place is a row whose number is none: 'many'"),
    "bytes for a number": (put("x'ff'"), f"row {ROWS + 1}: in its place is a row whose number is none: b'\\xff'"),
    "half a number": (put("7.5"), "row 8: in its place is a row whose number is none: 7.5"),
    "an endless number": (put("9e999"), f"row {ROWS + 1}: in its place is a row whose number is none: inf"),
}


@pytest.mark.parametrize("what", [*EVERYWHERE, *SQLITE])
async def test_a_row_of_any_shape_is_named(place: Place, what: str) -> None:
    if what in SQLITE and place.server is not None:
        return  # its columns hold nothing else
    statement, told = (EVERYWHERE | SQLITE)[what]
    made = await filled(place, ROWS)
    await loosened(place)
    if place.server is None:
        statement = statement.replace("BYTEA", "BLOB")
    await place.execute(statement)
    assert (await verified(made, Walk(lambda _: KEY))).startswith(told)


async def test_rows_before_an_odd_one_are_followed_first(place: Place) -> None:
    made = await filled(place, ROWS)
    await loosened(place)
    await place.execute(set_("actor = NULL"))
    await place.execute(f"UPDATE {LOG} SET actor = 'forged' WHERE seq = 6")
    assert (await verified(made, Walk(lambda _: KEY))).startswith("row 6: its columns")


LARGE = 100 << 20


@pytest.mark.parametrize("column", ["actor", "entry"])
async def test_a_row_of_any_size_is_named_and_not_read(place: Place, column: str) -> None:
    made = await filled(place, ROWS)
    await loosened(place)
    long = {"actor": ("hex(zeroblob({}))", "repeat('00', {})"), "entry": ("zeroblob({0} * 2)", "decode(repeat('00', {0} * 2), 'hex')")}
    await place.execute(set_(f"{column} = {long[column][place.server is not None].format(LARGE // 2)}"))
    tracemalloc.start()
    try:
        told = await verified(made, Walk(lambda _: KEY))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert told.startswith(f"row 7: it has {LARGE // 100}"[:-5])
    assert told.endswith("more than any row that is written here")
    assert most < LARGEST


async def test_many_large_rows_are_read_in_parts_that_fit(place: Place) -> None:
    """Each could be one of ours, but not all at once."""
    made = await filled(place, ROWS)
    await loosened(place)
    padding = ("hex(zeroblob({}))", "repeat('00', {})")[place.server is not None].format(LARGEST // 5)
    await place.execute(f"UPDATE {LOG} SET reason = {padding} WHERE seq > 3")
    parts: list[Sequence[int]] = [[each.seq for each in part] async for part in all_rows(made)]
    assert [seq for part in parts for seq in part] == list(range(1, ROWS + 1))
    assert max(map(len, parts)) <= 5
    assert (await verified(made, Walk(lambda _: KEY))).startswith("row 4: its columns")


async def test_a_trail_that_is_not_there_is_no_row_s_fault(place: Place) -> None:
    from keyturn.model.errors import ProviderError

    made = await filled(place, ROWS)
    await unlocked(place)
    await place.execute(f"DROP TABLE {LOG}")
    with pytest.raises(ProviderError):
        await verified(made, Walk(lambda _: KEY, anchor=Head(3, bytes(32))))
