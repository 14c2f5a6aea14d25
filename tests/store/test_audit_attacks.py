"""Any change of any row of the trail or of its checkpoints is found and named, by SQL, with triggers dropped, without the keys.

The auditor has the public key and the newest checkpoint, as the cluster keeps it; the master key for what came since.
"""

import random
from collections.abc import Callable
from typing import Final

import pytest
from sqlalchemy import text

from effort import SEED, effort
from evidence import counted
from keyturn.decide.auditrow import COLUMNS
from keyturn.decide.checkpoint import text_of
from keyturn.decide.hashchain import Walk
from keyturn.model.checkpoint import Signed
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_tables import checkpoints, log
from keyturn.store.proof import prove
from store.checkpointed import signer, told
from store.places import Place
from store.test_audit import KEY, forger, row
from store.test_checkpoints import filled, unlocked

ROWS: Final = 15
SIGNED: Final = (5, 10, 15)
_LOGGED: Final = ", ".join(each.name for each in log.c if each.name != "seq")
_NOTED: Final = ("at", "seq", "key_id", "note")


def copied(come_from: int, to: int) -> str:
    return f"INSERT INTO {log} (seq, {_LOGGED}) SELECT {to}, {_LOGGED} FROM {log} WHERE seq = {come_from}"


def of_a_row(lot: random.Random) -> list[str]:
    seq, other = lot.sample(range(1, ROWS + 1), 2)
    column, removed = lot.choice(COLUMNS), f"DELETE FROM {log} WHERE seq = {seq}"
    return lot.choice(
        [
            [f"UPDATE {log} SET {column} = {column} || ' ' WHERE seq = {seq}"],
            [f"UPDATE {log} SET {column} = 'forged' WHERE seq = {seq}"],
            [f"UPDATE {log} SET entry = hash WHERE seq = {seq}"],
            [f"UPDATE {log} SET hash = entry WHERE seq = {seq}"],
            [removed],
            [removed, *(f"UPDATE {log} SET seq = {later - 1} WHERE seq = {later}" for later in range(seq + 1, ROWS + 1))],
            [removed, copied(other, seq)],
            [f"UPDATE {log} SET seq = {to} WHERE seq = {at}" for at, to in ((seq, 10**6), (other, seq), (10**6, other))],
            [copied(seq, ROWS + 1)],
            [f"DELETE FROM {log} WHERE seq >= {seq}"],
            [f"DELETE FROM {log} WHERE seq >= {seq}", f"DELETE FROM {checkpoints} WHERE seq >= {seq}"],
        ]
    )


def of_a_checkpoint(lot: random.Random) -> list[str]:
    seq, other = lot.sample(SIGNED, 2)
    column = lot.choice(_NOTED)
    changed = "seq + 1" if column == "seq" else f"{column} || ' '"
    note = f"SELECT note FROM {checkpoints} WHERE seq"
    return lot.choice(
        [
            [f"UPDATE {checkpoints} SET {column} = {changed} WHERE seq = {seq}"],
            [f"UPDATE {checkpoints} SET {column} = {'1' if column == 'seq' else repr('forged')} WHERE seq = {seq}"],
            [f"UPDATE {checkpoints} SET note = replace(note, 'previous', 'Previous') WHERE seq = {seq}"],
            [f"UPDATE {checkpoints} SET note = note || note WHERE seq = {seq}"],
            [f"DELETE FROM {checkpoints} WHERE seq = {seq}"],
            [f"DELETE FROM {checkpoints} WHERE seq >= {seq}"],
            [f"DELETE FROM {checkpoints}"],
            [f"UPDATE {checkpoints} SET note = ({note} = {other}) WHERE seq = {seq}"],
            [f"INSERT INTO {checkpoints} SELECT at || ' ', seq, key_id, note FROM {checkpoints} WHERE seq = {seq}"],
        ]
    )


def forged(newest: Signed, lot: random.Random) -> list[str]:
    """A checkpoint that follows the newest as it should, by a key of somebody else."""
    key = signer(f"another {lot.random()}")
    note = key.sign(text_of(newest.checkpoint).replace(newest.checkpoint.key, key.verifier.id.hex()))
    return [f"UPDATE {checkpoints} SET key_id = '{key.verifier.id.hex()}', note = '{note}' WHERE seq = {newest.checkpoint.head.seq}"]


class Bench:
    """One database whose tables are put back after each attack."""

    def __init__(self, place: Place, made: AuditTrail, newest: Signed) -> None:
        self.place, self.made, self.newest = place, made, newest
        # One for all: each has connections of its own.
        self.database, self._owner = place.database(), place.database(place.owner_url)

    async def execute(self, *statements: str) -> None:
        async with self._owner.writing() as connection:
            for statement in statements:
                await connection.execute(text(statement))

    async def found(self, statements: list[str]) -> str:
        """What an auditor without a secret is told after it."""
        tables = (log, checkpoints)
        await self.execute(*(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}" for table in tables), *statements)
        problem = (await told(self.place, self.made, self.database, kept={"kept": self.newest.note})).problem
        back = ([f"DELETE FROM {t}", f"INSERT INTO {t} SELECT * FROM kept_{t}", f"DROP TABLE kept_{t}"] for t in tables)
        await self.execute(*(statement for each in back for statement in each))
        return problem


@pytest.fixture
async def bench(place: Place) -> Bench:
    made, signed = await filled(place)
    await unlocked(place)
    if place.server is None:  # a table that is put back is not inserted in the order of its rows
        await place.execute("DROP TRIGGER IF EXISTS secret_access_log_insert")
    return Bench(place, made, signed[-1])


ATTACKS: dict[str, Callable[[random.Random, Signed], list[str]]] = {
    "rows": lambda lot, _: of_a_row(lot),
    "checkpoints": lambda lot, newest: lot.choice([of_a_checkpoint, of_a_checkpoint, lambda lot: forged(newest, lot)])(lot),
}


@pytest.mark.parametrize("what", ATTACKS)
async def test_any_change_is_found_and_named_by_the_public_key_alone(bench: Bench, request: pytest.FixtureRequest, what: str) -> None:
    lot = random.Random(SEED)
    for _ in range(counted(request, effort(30, 300), 300, f"changes of {what}")):
        statements = ATTACKS[what](lot, bench.newest)
        assert (await bench.found(statements)).startswith("row "), statements
    assert await bench.found([]) == ""


async def test_a_chain_that_is_made_anew_from_any_row_on_is_found_and_named(bench: Bench, request: pytest.FixtureRequest) -> None:
    """Every hash fits: by somebody with our code. What is left of the checkpoints, or the one that was kept, tells."""
    lot, made = random.Random(SEED), forger(bench.place)
    for _ in range(counted(request, effort(5, 50), 50, "chains made anew")):
        since = lot.randrange(1, ROWS + 1)
        await bench.execute("CREATE TABLE kept_rows AS SELECT * FROM secret_access_log", f"DELETE FROM {log} WHERE seq >= {since}")
        await made.append([row(f"forged-{seq}", actor="somebody/else") for seq in range(since, ROWS + 1)])
        problem = (await told(bench.place, made, bench.database, kept={"kept": bench.newest.note})).problem
        assert problem.startswith(f"row {next(seq for seq in SIGNED if seq >= since)}: "), since
        await bench.execute(f"DELETE FROM {log}", f"INSERT INTO {log} SELECT * FROM kept_rows", "DROP TABLE kept_rows")
    assert await bench.found([]) == ""


async def test_what_was_changed_since_the_last_checkpoint_is_found_by_the_seals(place: Place, request: pytest.FixtureRequest) -> None:
    """In the last hour too: whoever lacks the master key makes no seal."""
    made, signed = await filled(place, 1)
    await made.append([row(f"new-{n}") for n in range(10)])
    await unlocked(place)
    bench, other = Bench(place, made, signed[0]), forger(place, Sensitive(bytes(32)))
    lot, whole = random.Random(SEED), await made.head()
    for _ in range(counted(request, effort(5, 50), 50, "chains made anew")):
        since = lot.randrange(6, whole.seq + 1)
        await bench.execute("CREATE TABLE kept_rows AS SELECT * FROM secret_access_log", f"DELETE FROM {log} WHERE seq >= {since}")
        await other.append([row(f"forged-{seq}") for seq in range(since, whole.seq + 1)])
        known, kept = [signer().verifier], {"kept": signed[-1].note}
        proof = await prove(bench.database, Walk(lambda _: KEY, anchor=whole), known, kept)
        assert proof.problem.startswith("row 15: "), since
        await bench.execute(f"DELETE FROM {log}", f"INSERT INTO {log} SELECT * FROM kept_rows", "DROP TABLE kept_rows")
