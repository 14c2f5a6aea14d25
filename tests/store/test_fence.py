"""The fence: who acts in an office is told by the database, and whoever another one followed adds no intent any more."""

import asyncio

import pytest

from keyturn.flow import audit_patience
from keyturn.flow.audit_patience import in_time
from keyturn.model.audit import Outcome, Term
from keyturn.model.errors import Fenced, Unavailable
from keyturn.store import fence
from keyturn.store.audit import AuditTrail
from store.places import Place
from store.test_audit import AT, KEY, row, trail

OFFICE = "keyturn-system/keyturn"


async def settled_to(place: Place) -> int:
    [[found]] = await place.execute("SELECT settled_to FROM fence")
    return int(found)


async def test_each_term_has_a_number_of_its_own_and_each_office_counts_by_itself(place: Place) -> None:
    made = [trail(place) for _ in range(4)]
    begun = await asyncio.gather(*(each.begin(OFFICE, f"holder-{n}", AT) for n, each in enumerate(made)))
    assert sorted(term.epoch for term in begun) == [1, 2, 3, 4]
    assert await made[0].begin("keyturn-system/keyturn-gpu", "other", AT) == Term("keyturn-system/keyturn-gpu", 1)


async def test_an_older_term_adds_nothing_that_somebody_would_act_upon(place: Place) -> None:
    old, new = trail(place), trail(place)
    former = await old.begin(OFFICE, "a", AT)
    await old.append([row("intent")], former)
    later = await new.begin(OFFICE, "b", AT)
    with pytest.raises(Fenced, match=f"'b' acts as {OFFICE} in the database since"):
        await old.append([row("late"), row("settled", settles="intent", outcome=Outcome.SUCCESS)], former)
    assert await new.known(["late", "settled"]) == frozenset()
    # What it did is history, and stands there as long as nobody said otherwise.
    await old.append([row("settled", settles="intent", outcome=Outcome.SUCCESS)])
    await new.append([row("next")], later)
    assert await new.known(["settled", "next"]) == {"settled", "next"}


async def test_a_new_term_looks_only_at_what_may_be_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "STEP", 3)
    made: AuditTrail = trail(place)
    term = await made.begin(OFFICE, "a", AT)
    await made.append([row(f"e{n}") for n in range(4)], term)
    for settled in (2, 4):
        await made.append([row(f"more-{settled}")], Term(OFFICE, term.epoch, settled))
    assert await settled_to(place) == 4
    assert (await made.begin(OFFICE, "a", AT)).settled_to == 4
    assert [each.event for each in (await made.open_intents("", 4)).values()] == ["more-2", "more-4"]


async def test_a_trail_that_can_only_be_read_is_told_by_a_write_of_nothing(place: Place) -> None:
    made = trail(place)
    term = await made.begin(OFFICE, "a", AT)
    assert await made.append([], term) == await made.head()
    await made.begin(OFFICE, "b", AT)
    with pytest.raises(Fenced):
        await made.append([], term)


@pytest.mark.parametrize("empty_place", ["postgresql"], indirect=True)
async def test_a_server_that_stands_still_is_away_after_a_while(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_patience, "ANSWER_S", 0.3)
    assert place.server

    async def opened() -> AuditTrail:
        return trail(place)

    made = await in_time(opened)()
    await made.append([row("before")])
    place.server.pause()
    try:
        with pytest.raises(Unavailable, match="no answer in time"):
            await made.append([row("meanwhile")])
    finally:
        place.server.resume()
    monkeypatch.setattr(audit_patience, "ANSWER_S", 30.0)
    assert set(await made.known(["before", "meanwhile"])) <= {"before", "meanwhile"}
    await made.append([row("after")])


@pytest.mark.parametrize("empty_place", ["postgresql"], indirect=True)
async def test_of_connections_that_lead_to_nobody_one_alone_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a failover behind one address: the former server's kernel, or a balancer, still takes what is sent."""
    assert place.own
    is_silent, pipes = asyncio.Event(), list[asyncio.Task[None]]()

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        is_old = not is_silent.is_set()
        while data := await source.read(65_536):
            if not (is_old and is_silent.is_set()):
                sink.write(data)
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", place.own.port if place.own else 0)
        pipes.extend(asyncio.create_task(pipe(*ends)) for ends in ((reader, far_writer), (far_reader, writer)))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as between:
        url = place.url.replace(f":{place.own.port}/", f":{between.sockets[0].getsockname()[1]}/")

        async def opened() -> AuditTrail:
            return AuditTrail(place.database(url), lambda: ("k1", KEY), lambda _: KEY)

        made = await in_time(opened)()
        await asyncio.gather(*(made.head() for _ in range(4)))
        monkeypatch.setattr(audit_patience, "ANSWER_S", 1.0)
        is_silent.set()
        with pytest.raises(Unavailable, match="no answer in time"):
            await made.append([row("lost")])
        monkeypatch.setattr(audit_patience, "ANSWER_S", 30.0)
        assert await asyncio.wait_for(made.append([row("after")]), 5)
        await place.close()
    await asyncio.wait(pipes)
