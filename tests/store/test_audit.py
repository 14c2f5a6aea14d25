"""The audit trail in a database: one chain over all who write, nothing in it is ever changed, and whatever is changed is found."""

import asyncio
import json
import random
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from effort import SEED, effort
from evidence import counted
from keyturn.decide.auditrow import COLUMNS, LONGEST, canonical, row_of, texts_of
from keyturn.decide.hashchain import START, Walk
from keyturn.model.audit import AuditRow, Outcome
from keyturn.model.errors import ProviderError
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_tables import log
from store.chains import all_rows, verified
from store.places import Place

KEY = Sensitive(bytes(range(32)))
AT = datetime(2026, 11, 30, 12, 0, 0, 5, tzinfo=UTC)


def row(event: str, **more: object) -> AuditRow:
    told = {"at": AT, "actor": "operator/a", "action": "secret.create", "subject": "ManagedSecret/shop/app", "target": "Secret/shop/app"}
    return AuditRow(event, **{**told, **more})  # type: ignore[arg-type]  # as each test has it


def trail(place: Place, key: Sensitive | None = KEY) -> AuditTrail:
    return AuditTrail(place.database(), lambda: ("k1" if key else "", key), lambda _: key)


def forger(place: Place, key: Sensitive | None = None) -> AuditTrail:
    """As somebody who has the database, and no mind to look what is there."""
    return AuditTrail(place.database(), lambda: ("k1" if key else "", key))


def walk(key: Sensitive | None = KEY) -> Walk:
    return Walk(lambda _: key)


def nth(n: int) -> AuditRow:
    return row(f"e{n}", keys=("password", "ünï"), details={"uid": str(n)})


async def filled(place: Place, count: int = 20) -> AuditTrail:
    made = trail(place)
    for begin in range(0, count, 5):
        await made.append([nth(n) for n in range(begin, begin + 5)])
    return made


async def read(made: AuditTrail) -> list[AuditRow]:
    return [row_of(each.texts) async for part in all_rows(made) for each in part]


async def test_rows_come_back_as_they_were_written_and_the_chain_holds(place: Place) -> None:
    made = trail(place)
    wanted = [row("intent"), row("settled", settles="intent", outcome=Outcome.FAILURE, reason="Conflict", attempt="t1", trigger="drift")]
    await made.append(wanted)
    assert await read(made) == wanted
    follow = walk()
    assert await verified(made, follow) == ""
    assert (follow.at, follow.sealed_to) == (await made.head(), 2)


async def test_an_empty_trail_is_whole(place: Place) -> None:
    made = trail(place)
    assert await made.head() == START
    assert await verified(made, walk()) == ""


async def test_what_was_added_already_is_not_added_again(place: Place) -> None:
    made = await filled(place, 5)
    await made.append([nth(3), nth(4), row("new")])
    assert [each.event for each in await read(made)] == ["e0", "e1", "e2", "e3", "e4", "new"]


async def test_many_writers_make_one_chain_without_a_gap(place: Place) -> None:
    writers = [trail(place) for _ in range(3)]
    await asyncio.gather(*(each.append([row(f"w{n}-{k}") for k in range(3)]) for n in range(10) for each in writers[n % 3 :][:1]))
    assert await verified(writers[0], walk()) == ""
    assert (await writers[0].head()).seq == 30


async def test_text_that_no_database_takes_is_spelled_out_and_bounded(place: Place) -> None:
    made = trail(place)
    await made.append([row("odd", subject="a\x00b\ud800c\n", reason="x" * 5000, details={"\x01": "\udfff"})])
    [found] = await read(made)
    assert (found.subject, found.details) == ("a\\u0000b\\ud800c\\u000a", {"\\u0001": "\\udfff"})
    assert len(found.reason) == LONGEST
    assert await verified(made, walk()) == ""


async def test_intents_that_nobody_settled_are_known(place: Place) -> None:
    made = trail(place)
    records = [row("user.d"), row("o.e", outcome=Outcome.DENIED)]
    await made.append([row("o.a"), row("o.b"), row("o.c", settles="o.a", outcome=Outcome.SUCCESS), *records])
    assert [each.event for each in (await made.open_intents("o.", 0)).values()] == ["o.b"]
    assert await made.open_intents("o.", 2) == {}


async def test_an_intent_is_settled_once(place: Place) -> None:
    made = trail(place)
    await made.append([row("a"), row("b", settles="a", outcome=Outcome.UNKNOWN)])
    await made.append([row("c", settles="a", outcome=Outcome.SUCCESS)])
    assert [each.event for each in await read(made)] == ["a", "b"]


async def test_it_is_known_which_rows_arrived(place: Place) -> None:
    made = await filled(place, 5)
    assert set(await made.known(["e1", "lost", "e4"])) == {"e1", "e4"}
    assert set(await made.known([])) == set()


# -- append only -------------------------------------------------------------------------------------------------------------------

FORBIDDEN = [
    "UPDATE secret_access_log SET actor = 'nobody' WHERE seq = 3",
    "DELETE FROM secret_access_log WHERE seq = 20",
    "INSERT INTO secret_access_log SELECT * FROM secret_access_log WHERE seq = 3",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_nobody_changes_what_is_there(place: Place, statement: str) -> None:
    made = await filled(place)
    with pytest.raises(ProviderError):
        await place.execute(statement)
    assert await verified(made, walk()) == ""
    assert (await made.head()).seq == 20


async def test_neither_or_replace_nor_the_rights_of_run_time_get_around_it(place: Place) -> None:
    made = await filled(place)
    columns = "event, at, actor, action, subject, target, trigger, keys, details, attempt, settles, outcome, reason, entry, hash, seal"
    if place.server is None:
        tries = [f"INSERT OR REPLACE INTO secret_access_log SELECT 3, {columns}, seal_key FROM secret_access_log WHERE seq = 4"]
        user = place
    else:
        tries = [
            "TRUNCATE secret_access_log",
            "ALTER TABLE secret_access_log DISABLE TRIGGER ALL",
            "DROP TABLE secret_access_log",
            "DROP TRIGGER secret_access_log_change ON secret_access_log",
            "UPDATE secret_access_log SET actor = ''",
        ]
        user = Place(place.url, place.url)
    for statement in tries:
        with pytest.raises(ProviderError):
            await user.execute(statement)
    if user is not place:
        await user.close()
    assert await verified(made, walk()) == ""


# -- tampering, by somebody who has the database and not the keys ------------------------------------------------------------------


async def unlocked(place: Place) -> None:
    """As a database's administrator: without triggers."""
    if place.server is None:
        for name in ("insert", "update", "delete"):
            await place.execute(f"DROP TRIGGER secret_access_log_{name}")
    else:
        await place.execute("ALTER TABLE secret_access_log DISABLE TRIGGER ALL")


TAMPERED = {
    "a column": ("UPDATE secret_access_log SET actor = 'nobody' WHERE seq = 7", "row 7: its columns"),
    "a time": ("UPDATE secret_access_log SET at = '2026-11-30T12:00:00.000006Z' WHERE seq = 7", "row 7: its columns"),
    "a time in other words": ("UPDATE secret_access_log SET at = '2026-11-30T12:00:00.0000050Z' WHERE seq = 7", "row 7: its columns"),
    "details in other words": ('UPDATE secret_access_log SET details = \'{"uid": "6"}\' WHERE seq = 7', "row 7: its columns"),
    "a name": ("UPDATE secret_access_log SET keys = '[]' WHERE seq = 7", "row 7: its columns"),
    "a hash": ("UPDATE secret_access_log SET hash = entry WHERE seq = 7", "row 7: it does not follow"),
    "a row taken away": ("DELETE FROM secret_access_log WHERE seq = 7", "row 7: is missing"),
    "the first taken away": ("DELETE FROM secret_access_log WHERE seq = 1", "row 1: is missing"),
    "a seal": ("UPDATE secret_access_log SET seal = hash WHERE seq = 10", "row 10: its seal is not ours"),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_a_changed_row_is_found_and_named(place: Place, what: str) -> None:
    statement, told = TAMPERED[what]
    made = await filled(place)
    await unlocked(place)
    await place.execute(statement)
    assert (await verified(made, walk())).startswith(told)


def attack(lot: random.Random, count: int) -> list[str]:
    """One change of one row, as SQL."""
    seq, other = lot.sample(range(1, count + 1), 2)
    column = lot.choice(COLUMNS)
    columns = ", ".join(each.name for each in log.c if each.name != "seq")

    def copied(come_from: int, to: int) -> str:
        return f"INSERT INTO {log} (seq, {columns}) SELECT {to}, {columns} FROM {log} WHERE seq = {come_from}"

    removed = f"DELETE FROM {log} WHERE seq = {seq}"
    return lot.choice(
        [
            [f"UPDATE {log} SET {column} = {column} || ' ' WHERE seq = {seq}"],
            [f"UPDATE {log} SET {column} = 'forged' WHERE seq = {seq}"],
            [f"UPDATE {log} SET entry = hash WHERE seq = {seq}"],
            [removed],
            [removed, *(f"UPDATE {log} SET seq = {later - 1} WHERE seq = {later}" for later in range(seq + 1, count + 1))],
            [removed, copied(other, seq)],
            [f"UPDATE {log} SET seq = {to} WHERE seq = {at}" for at, to in ((seq, 10**6), (other, seq), (10**6, other))],
            [copied(seq, count + 1)],
            [f"DELETE FROM {log} WHERE seq >= {seq}"],
        ]
    )


async def test_any_change_of_any_row_is_found(place: Place, request: pytest.FixtureRequest) -> None:
    """By somebody who has the database and no key; what is taken from the end, by whoever kept that end."""
    made, lot = await filled(place), random.Random(SEED)
    head = await made.head()
    await unlocked(place)
    owner = place.database(place.owner_url)  # one for all: each has connections of its own

    async def execute(*statements: str) -> None:
        async with owner.writing() as connection:
            for statement in statements:
                await connection.execute(text(statement))

    for _ in range(counted(request, effort(30, 300), 300, "changes")):
        statements = attack(lot, head.seq)
        await execute(f"CREATE TABLE kept AS SELECT * FROM {log}", *statements)
        assert (await verified(made, Walk(lambda _: KEY, anchor=head))).startswith("row "), statements
        await execute(f"DELETE FROM {log}", f"INSERT INTO {log} SELECT * FROM kept ORDER BY seq", "DROP TABLE kept")
    assert await verified(made, Walk(lambda _: KEY, anchor=head)) == ""


async def test_two_rows_that_changed_places_are_found(place: Place) -> None:
    made = await filled(place)
    await unlocked(place)
    for come_from, to in ((7, 100), (8, 7), (100, 8)):
        await place.execute(f"UPDATE secret_access_log SET seq = {to} WHERE seq = {come_from}")
    assert (await verified(made, walk())).startswith("row 7: ")


async def test_who_makes_the_chain_anew_lacks_the_key_of_its_seals(place: Place) -> None:
    """As somebody with our code and the database, and another key or none."""
    made = await filled(place)
    rows: Sequence[AuditRow] = await read(made)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 11")
    other = forger(place, Sensitive(secrets.token_bytes(32)))
    await other.append([*rows[11:18], row("forged")])
    assert (await verified(made, walk())).startswith("row 19: its seal is not ours")
    follow = walk(None)
    assert await verified(made, follow) == ""
    assert follow.unchecked > 0


async def test_rows_without_a_seal_at_the_end_are_told_from_those_under_one(place: Place) -> None:
    made = await filled(place)
    await unlocked(place)
    await forger(place).append([row("forged")])
    follow = walk()
    assert await verified(made, follow) == ""
    assert (follow.sealed_to, follow.at.seq, list(follow.bare)) == (20, 21, [(21, 21)])


texts = st.text(st.characters(codec=None), max_size=40)


@given(st.lists(st.tuples(texts, texts, st.lists(texts, max_size=3), st.dictionaries(texts, texts, max_size=3)), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_any_text_leads_to_a_chain_that_holds(told: list[tuple[str, str, list[str], dict[str, str]]]) -> None:
    from keyturn.decide.hashchain import chained

    rows = [row(f"e{n}", actor=a, target=b, keys=tuple(keys), details=details) for n, (a, b, keys, details) in enumerate(told)]
    made = chained(rows, START, KEY, "k1")
    assert walk().follow(made) is None
    for each in made:
        # Canonical by RFC 8785: what any other maker of such JSON would write of the same facts.
        facts = json.loads(each.entry)
        assert json.dumps(facts, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() == each.entry
        assert texts_of(row_of(each.texts)) == each.texts
        assert canonical(each.seq, each.texts) == each.entry
