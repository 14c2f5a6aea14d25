"""Three processes write the trail of one database under load, and one of them, or the server, is killed, again and again."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import insert

from effort import SEED, effort
from evidence import counted
from keyturn.decide.hashchain import START, Walk, chained
from keyturn.model.audit import Outcome
from keyturn.model.errors import ProviderError
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_tables import log
from store import audit_writer
from store.chains import all_rows, verified
from store.places import Place
from store.test_audit import row

KILLS = 100
WRITERS = 3
LIMIT_S = 60.0
LONGEST_S = 0.4
MOSTLY = 0.8


@dataclass(slots=True)
class Writer:
    """One of them, over all its lives. ``acknowledged`` are its rows that it was told are written."""

    place: Place
    name: str
    effects_file: Path
    acknowledged: list[str] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _reading: asyncio.Task[None] | None = None
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "SEED")}
        environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "DATABASE_URL": self.place.url}
        argv = [sys.executable, "-m", "store.audit_writer", self.name, str(self.effects_file)]
        self._process = await asyncio.create_subprocess_exec(
            *argv, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        self._told.clear()
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.acknowledged.append(line.decode().strip())
            self._told.set()

    async def end(self, how: int) -> int:
        """The return code, once all that it said is read."""
        assert self._process is not None
        assert self._reading is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(how)
        async with asyncio.timeout(LIMIT_S):
            code = await self._process.wait()
            await self._reading
        return code

    async def at_work(self) -> None:
        """Waits until something more is acknowledged."""
        self._told.clear()
        async with asyncio.timeout(LIMIT_S):
            await self._told.wait()

    def effects(self) -> list[str]:
        """Each stands behind an intent."""
        return self.effects_file.read_text().splitlines() if self.effects_file.exists() else []


@pytest.fixture
async def writers(place: Place, tmp_path: Path) -> AsyncIterator[list[Writer]]:
    made = [Writer(place, f"writer{number}", tmp_path / f"effects-{number}") for number in range(WRITERS)]
    for each in made:
        await each.start()
    yield made
    for each in made:
        await each.end(signal.SIGKILL)


@dataclass(slots=True)
class Reader:
    """Somebody who reads the trail beside its writers, and goes on where he was: whole and without a gap, else `look` fails."""

    trail: AuditTrail
    writers: list[Writer]
    walk: Walk = field(default_factory=lambda: Walk(lambda _: Sensitive(audit_writer.KEY)))
    events: set[str] = field(default_factory=set)
    intents: set[str] = field(default_factory=set)
    settled: dict[str, tuple[str, str]] = field(default_factory=dict)

    async def look(self) -> None:
        """All that was acknowledged, or done, before we looked is there, and nothing is twice."""
        acknowledged = {event for each in self.writers for event in each.acknowledged}
        done = [event for each in self.writers for event in each.effects()]
        await self._read_on()
        assert acknowledged <= self.intents, f"acknowledged, and not there: {acknowledged - self.intents}"
        assert set(done) <= self.intents, f"done, and not there: {set(done) - self.intents}"
        assert len(done) == len(set(done)), "done twice"

    async def _read_on(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not await self._is_read():  # noqa: ASYNC110  # a server tells nobody when it is back
                await asyncio.sleep(0.01)

    async def _is_read(self) -> bool:
        try:
            async for part in all_rows(self.trail, self.walk.at.seq):
                assert self.walk.follow(part) is None
                for each in part:
                    self._note(each.texts)
        except ProviderError:
            return False
        return True

    def _note(self, row: Mapping[str, str]) -> None:
        assert row["event"] not in self.events, "a row is there twice"
        self.events.add(row["event"])
        if row["settles"]:
            assert row["settles"] not in self.settled, "an intent is settled twice"
            self.settled[row["settles"]] = (row["outcome"], row["reason"])
        elif not row["outcome"]:
            self.intents.add(row["event"])


async def _kill(place: Place, writers: list[Writer], lot: random.Random) -> str:
    """Ends one of those who take part as a power cut would; what was hit."""
    hit = lot.choice(["writer", "writer", "backend", "server"] if place.server else ["writer"])
    if place.server is None or hit == "writer":
        victim = lot.choice(writers)
        await victim.end(signal.SIGKILL)
        await victim.start()
    elif hit == "backend":
        # All others of the server's go with it, since what they share may be broken.
        user = place.own.user if place.own else ""
        found = await asyncio.to_thread(place.server.execute, f"SELECT pid FROM pg_stat_activity WHERE usename = '{user}'")
        os.kill(lot.choice([pid for (pid,) in found]), signal.SIGKILL)
    else:
        await asyncio.to_thread(place.server.kill)
        await asyncio.to_thread(place.server.start)
    return hit


@pytest.mark.timeout(2400)
async def test_no_kill_loses_an_acknowledged_row_or_leaves_an_effect_without_its_intent(
    place: Place, writers: list[Writer], request: pytest.FixtureRequest
) -> None:
    kills, lot, hits = counted(request, effort(10, KILLS), KILLS, "kills"), random.Random(f"{SEED} audit kills"), Counter[str]()
    reader = Reader(AuditTrail(place.database(), lambda: ("", None)), writers)
    for _ in range(kills):
        if lot.random() < MOSTLY:  # else it may be killed while it starts
            await asyncio.gather(*(each.at_work() for each in writers))
        await asyncio.sleep(lot.uniform(0, LONGEST_S))  # the moment of the cut, and no wait for anything
        hits[await _kill(place, writers, lot)] += 1
        await reader.look()
    await asyncio.gather(*(each.at_work() for each in writers))
    assert [await each.end(signal.SIGTERM) for each in writers] == [0] * WRITERS
    await reader.look()
    # Each of them has closed, in its last life at the latest, what it left open when it was killed.
    assert reader.intents == set(reader.settled)
    done = {event for each in writers for event in each.effects()}
    assert {event for event, (outcome, _) in reader.settled.items() if outcome == Outcome.SUCCESS} <= done
    undone = {event for event, (outcome, _) in reader.settled.items() if outcome == Outcome.FAILURE}
    assert not undone & done, "said to be undone, and done"
    assert {reason for _, reason in reader.settled.values()} >= {"ProcessEnded"}
    assert await verified(reader.trail, Walk(lambda _: Sensitive(audit_writer.KEY))) == ""
    told = Counter(f"{outcome} {reason}".strip() for outcome, reason in reader.settled.values())
    print(f"kills {dict(hits)}, {len(reader.events)} rows, settled {dict(told)}")


async def test_what_a_writer_sent_off_before_it_ended_is_waited_for(place: Place) -> None:
    """A server carries a COMMIT out whose answer nobody waits for: so its rows come after whoever looks at once."""
    trail, database = AuditTrail(place.database(), lambda: ("", None)), place.database()
    async with database.writing() as connection:
        [made] = chained([row("late")], START, None, "")
        await connection.execute(insert(log), {**made.texts, "seq": 1, "entry": made.entry, "hash": made.hash, "seal_key": ""})
        looking = [asyncio.create_task(trail.open_intents("", 0)), asyncio.create_task(trail.known(["late"]))]
        done, _ = await asyncio.wait(looking, timeout=0.1)
        assert not done
    [intent] = (await looking[0]).values()
    assert (intent.event, await looking[1]) == ("late", {"late"})
