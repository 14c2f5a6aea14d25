"""Many writers at once: each change happens once, and one after the other."""

import asyncio

import pytest

from effort import effort
from evidence import counted
from keyturn.model.errors import Conflict, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store import engine
from keyturn.store.values import SqlValues
from store.places import Place, token

WRITERS, PROCESSES = 100, 4


@pytest.fixture
async def many(place: Place) -> list[SqlValues]:
    """As several processes have them: each with connections and keys of its own."""
    return [await place.values() for _ in range(PROCESSES)]


@pytest.mark.timeout(1800)  # at full effort, on a busy machine
async def test_of_a_hundred_writers_that_expect_the_same_version_one_wins(many: list[SqlValues], request: pytest.FixtureRequest) -> None:
    rounds = counted(request, effort(10, 100), 100, "rounds of 100 writers")
    current = ""
    for number in range(rounds):

        async def write(writer: int, expect: str = current, number: int = number) -> str:
            value = Sensitive.of(f"kt-canary-{number}-{writer}")
            return await many[writer % PROCESSES].put("db", value, token=token(), expect=expect)

        answers = await asyncio.gather(*(write(writer) for writer in range(WRITERS)), return_exceptions=True)
        won = [(writer, answer) for writer, answer in enumerate(answers) if isinstance(answer, str)]
        assert len(won) == 1
        assert {type(answer) for answer in answers if not isinstance(answer, str)} == {Conflict}
        [(winner, current)] = won
        assert current == str(number + 1)
        found = (await many[0].get_many([SourceRef("db")]))[SourceRef("db")]
        assert isinstance(found, Value)
        assert found.data == Sensitive.of(f"kt-canary-{number}-{winner}")
    assert len(await many[0].versions("db")) == rounds


async def test_the_same_put_from_everywhere_is_one(many: list[SqlValues]) -> None:
    value, same = Sensitive.of("kt-canary-one"), token()
    answers = await asyncio.gather(*(many[at % PROCESSES].put("db", value, token=same, expect="") for at in range(20)))
    assert set(answers) == {"1"}
    assert len(await many[0].versions("db")) == 1


async def test_every_change_has_a_number_of_its_own(many: list[SqlValues], place: Place) -> None:
    value = Sensitive.of("kt-canary-one")
    await asyncio.gather(*(many[at % PROCESSES].put(f"s{at}", value, token=token()) for at in range(40)))
    numbers = [row[0] for row in await place.execute("SELECT change_seq FROM application_secrets ORDER BY change_seq")]
    assert numbers == list(range(1, 41))


async def test_a_writer_that_was_given_up_leaves_nothing_and_holds_nobody_up(many: list[SqlValues]) -> None:
    value = Sensitive.of("kt-canary-one")
    for number in range(20):
        writing = asyncio.ensure_future(many[0].put(f"s{number}", value, token=token()))
        for _ in range(number):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    async with asyncio.timeout(30):
        assert await many[1].put("db", value, token=token()) == "1"
        assert await many[0].put("db", value, token=token()) == "2"


async def test_a_writer_that_is_silent_in_its_transaction_is_ended_by_the_server(
    many: list[SqlValues], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was frozen there. A file has one operator, and its lock is gone with the process."""
    if place.server is None:
        return
    monkeypatch.setattr(engine, "IDLE_S", 1)
    with pytest.raises(Unavailable):
        async with place.database().writing(), asyncio.timeout(60):
            assert await many[0].put("db", Sensitive.of("kt-canary-one"), token=token()) == "1"
