"""Somebody with the database and no key writes what speaks for rows that are gone: nothing of it is believed, what is odd is named."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from keyturn.decide.checkpoint import digest, text_of
from keyturn.decide.hashchain import Walk, chained
from keyturn.decide.segment import name_of
from keyturn.decide.segment import text_of as segment_text
from keyturn.flow.audit_queue import AuditQueue
from keyturn.model.audit import ACCEPTED, AuditEntry, Head, Question, Term
from keyturn.model.checkpoint import AuditTampered, Checkpoint
from keyturn.model.errors import KeyturnError
from keyturn.model.segment import Segment
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_find import AnswerTooLarge
from keyturn.testing.clock import FakeClock
from store.chains import all_rows, verified
from store.checkpointed import book, signer
from store.places import Place
from store.test_audit import KEY, row, trail
from store.test_checkpoints import LATER, accepted, filled, unlocked

SEGMENT = (
    "INSERT INTO audit_segments (first,last,head,count,digest,name,note,at) VALUES (:first,:last,:head,:count,:digest,:name,:note,:at)"
)
ROW = (
    'INSERT INTO secret_access_log (seq,event,at,actor,action,subject,target,"trigger",keys,details,attempt,settles,outcome,reason,'
    "entry,hash,seal_key) VALUES (:seq,:event,'','','','','','','[]',:details,'','','','',:entry,:hash,'')"
)
MIB = 1 << 20


def forged(last: int, by: str = "") -> Segment:
    bare = Segment(1, last, bytes(range(32)), last, bytes(32), name_of(1, last), "", "2026-11-30T00:00:00.000000Z")
    note = signer(by).sign(segment_text(bare, bytes(32))) if by else "x"
    return Segment(1, last, bare.head, last, bare.digest, bare.name, note, bare.at)


async def put(place: Place, segment: Segment) -> None:
    await place.execute(SEGMENT, **{name: getattr(segment, name) for name in segment.__slots__})


@pytest.mark.parametrize("by", ["", "nobody of us", "ours"])
async def test_a_segment_that_somebody_put_in_holds_no_end_that_is_gone(place: Place, by: str) -> None:
    """By nobody, by another key, and by ours, but of another trail: the rows that are there do not follow it."""
    made, signed = await filled(place)
    await unlocked(place)
    anchor = await made.head()
    await place.execute("DELETE FROM secret_access_log WHERE seq > 7")
    await place.execute("DELETE FROM audit_checkpoints")
    await put(place, forged(1_000_000, by))
    assert not await made.signed_by([signer().verifier]).holds(anchor)
    assert not await made.holds(anchor)
    assert await book(place, made, KEY).lost(signed[-1].note) == [signed[-1]]


@pytest.mark.parametrize("by", ["", "nobody of us"])
async def test_rows_behind_a_segment_that_nobody_of_us_signed_are_not_signed(place: Place, by: str) -> None:
    made, signed = await filled(place, 1)
    await unlocked(place)
    for table in ("secret_access_log", "audit_checkpoints"):
        await place.execute(f"DELETE FROM {table}")
    segment = forged(200, by)
    await put(place, segment)
    for each in chained([row(f"forged-{n}") for n in range(3)], segment.end, None, ""):
        columns = {**each.texts, "seq": each.seq, "entry": each.entry, "hash": each.hash, "seal_key": ""}
        names, marks = ",".join(f'"{name}"' for name in columns), ",".join(f":{name}" for name in columns)
        await place.execute(f"INSERT INTO secret_access_log ({names}) VALUES ({marks})", **columns)
    assert await book(place, made, KEY).lost(signed[0].note) == [signed[0]]
    with pytest.raises(AuditTampered, match=r"rows of the audit trail were moved.*rows? 1"):
        await book(place, made, KEY).write(LATER)


async def test_a_row_below_a_checkpoint_that_was_made_an_accepted_loss_is_none(place: Place) -> None:
    made, signed = await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 10")
    await place.execute("DELETE FROM audit_checkpoints WHERE seq > 10")
    asked = "UPDATE secret_access_log SET action = :action, target = :target, at = '2027-01-01T00:00:00.000000Z' WHERE seq = :seq"
    for seq in (3, 5):  # under no seal, and at the end of what was written at once
        await place.execute(asked, action=ACCEPTED, target=f"999999:{'a' * 64}", seq=seq)
        assert await book(place, made, KEY).lost(signed[-1].note) == [signed[-1]]
    assert await made.losses() == []


async def test_a_thousand_forged_losses_push_no_true_one_out(place: Place) -> None:
    made, lost = trail(place), Head(999, b"a" * 32)
    await accepted(made, lost, LATER)
    rogue = AuditTrail(place.database(), lambda: ("", None))
    await rogue.append([row(f"f{n}", action=ACCEPTED, target=str(lost), outcome="success") for n in range(1001)])
    assert await made.holds(lost)


@pytest.mark.parametrize("year", [2026, 9000, 9999])
async def test_a_checkpoint_that_nobody_of_us_signed_is_not_built_upon(place: Place, year: int, caplog: pytest.LogCaptureFixture) -> None:
    made, signed = await filled(place, 1)
    await made.append([row("t")])
    await unlocked(place)
    head, other = await made.head(), signer("somebody")
    at = datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC) if year > 2026 else LATER - timedelta(seconds=1)
    theirs = Checkpoint("dba.example/x", head, digest("x"), at, other.verifier.id.hex())
    values = {"a": f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z", "s": head.seq, "k": theirs.key}
    insert = "INSERT INTO audit_checkpoints (at, seq, key_id, note) VALUES (:a, :s, :k, :n)"
    await place.execute(insert, n=other.sign(text_of(theirs)), **values)
    ours = book(place, made, KEY)
    made_now = await ours.write(LATER)
    assert made_now is not None
    assert (made_now.checkpoint.origin, made_now.checkpoint.at) == (signed[0].checkpoint.origin, LATER)
    assert "1 checkpoints in the database are not signed by us" in caplog.text
    assert await ours.lost(made_now.note) == []


async def test_rows_before_a_checkpoint_that_nobody_of_us_signed_are_looked_at(place: Place) -> None:
    made, _ = await filled(place, 1)
    await made.append([row("t"), row("u")])
    await unlocked(place)
    await place.execute("UPDATE secret_access_log SET actor = 'nobody' WHERE seq = 6")
    head, other = await made.head(), signer("somebody")
    theirs = Checkpoint("dba.example/x", head, digest("x"), LATER, other.verifier.id.hex())
    insert = "INSERT INTO audit_checkpoints (at, seq, key_id, note) VALUES ('2026-11-30T13:00:00.000005Z', 7, :k, :n)"
    await place.execute(insert, k=theirs.key, n=other.sign(text_of(theirs)))
    with pytest.raises(AuditTampered, match="row 6: its columns"):
        await book(place, made, KEY).write(LATER)


async def test_what_was_signed_and_is_gone_keeps_the_rest_from_being_signed(place: Place) -> None:
    made, _ = await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 7")
    with pytest.raises(AuditTampered, match="lacks row 15, which was signed"):
        await book(place, made, KEY).write(LATER)


async def added(place: Place, made: AuditTrail, sizes: list[int]) -> int:
    first = (await made.head()).seq + 1
    for number, size in enumerate(sizes):
        values = {"event": f"o.{number}", "details": "x" * size, "entry": b"{}", "hash": bytes(32)}
        await place.execute(ROW, seq=first + number, **values)
    return first


async def test_a_row_that_is_longer_than_any_of_ours_is_named_and_not_read(place: Place) -> None:
    made = trail(place)
    await made.append([row("e")])
    first = await added(place, made, [9 * MIB])
    for asking in (made.open_intents("o.", 0), made.asked(Question(), 10), made.find(most=5), made.find(most=5, newest=True)):
        with pytest.raises(AuditTampered, match=f"row {first}: it has 94[0-9]+ bytes, more than any row"):
            await asking


async def test_no_more_intents_are_read_at_once_than_fit(place: Place) -> None:
    made = trail(place)
    first = await added(place, made, [3 * MIB] * 5)
    assert [each.event for each in (await made.open_intents("o.", 0)).values()] == ["o.0", "o.1"]
    assert [each.event for each in (await made.open_intents("o.", first + 1)).values()] == ["o.2", "o.3"]
    assert [each.seq for each in await made.find(most=4, newest=True)] == [first + 1, first + 2, first + 3, first + 4]


async def test_an_answer_that_does_not_fit_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.store.audit_find.ROOM", 2000)
    made = trail(place)
    await made.append([row(f"e{n}") for n in range(20)])
    with pytest.raises(AnswerTooLarge, match="ask for fewer"):
        await made.asked(Question(), 20)
    assert len(await made.asked(Question(), 2)) == 2


async def test_a_note_that_is_longer_than_any_of_ours_is_not_read(place: Place) -> None:
    made, signed = await filled(place, 1)
    await place.execute("INSERT INTO audit_checkpoints (at,seq,key_id,note) VALUES ('9999',1,'x',:n)", n=signed[0].note + "x" * MIB)
    assert await book(place, made, KEY).lost("") == []
    again = await book(place, made, KEY).write(LATER)
    assert again == signed[0]


@pytest.mark.parametrize("value", [str(2**63 - 1), "-5", "'x'", "1.5"])
@pytest.mark.parametrize("column", ["epoch", "settled_to"])
async def test_a_fence_that_says_what_nobody_wrote_is_named(place: Place, column: str, value: str) -> None:
    made = trail(place)
    term = await made.begin("off", "a", LATER)
    try:
        await place.execute(f"UPDATE fence SET {column} = {value}")
    except KeyturnError:
        return  # PostgreSQL holds no such thing
    if place.server is not None and value == "1.5":
        return  # it made a number of it
    with pytest.raises(AuditTampered, match=r"the row of off in the table fence .* set both"):
        await made.begin("off", "b", LATER)
    with pytest.raises(KeyturnError, match="off"):
        await made.append([row("e")], Term("off", term.epoch))


@pytest.mark.parametrize("seq", ["'x'", "1.5"])
async def test_a_row_whose_number_is_none_is_named(place: Place, seq: str) -> None:
    if place.server is not None:
        return  # PostgreSQL holds no such number
    made = trail(place)
    await made.append([row("e")])
    await unlocked(place, "secret_access_log")
    async with place.database().writing() as connection:
        values = {"event": "o.1", "details": "{}", "entry": b"{}", "hash": bytes(32)}
        await connection.execute(text(ROW.replace(":seq", seq)), values)
    with pytest.raises(AuditTampered, match="a row whose number is none"):
        await made.unsettled("o.")
    with pytest.raises(AuditTampered, match="a row whose number is none"):
        await made.find(most=10)
    with pytest.raises(AuditTampered, match="its last row has no number"):
        await made.head()
    assert "whose number is none" in await verified(made, Walk(lambda _: KEY))


async def test_a_thousand_open_intents_that_nothing_can_settle_hide_no_dead_one(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    made = AuditTrail(place.database(), lambda: ("k1", KEY))

    async def opened() -> AuditTrail:
        return made

    queue = AuditQueue(opened, FakeClock(), "operator", "a", "o")
    mark = queue._own.actor.office_mark
    rows = [{"seq": n, "event": f"{mark}\x01{n}", "details": "{}", "entry": b"{}", "hash": bytes(32)} for n in range(1, 1101)]
    async with place.database().writing() as connection:
        await connection.execute(text(ROW), rows)
    await made.append([row(f"{mark}dead")])
    queue.begin_term("")
    work = asyncio.create_task(queue.run())
    async with asyncio.timeout(30):
        assert await queue.intend(AuditEntry("secret.create", "ManagedSecret/shop/app", "Secret/shop/app"))
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    settled = [each.texts["settles"] async for part in all_rows(made, 1101) for each in part]
    assert settled == [f"{mark}dead", ""]
    assert "has 1100 open intents that are not as an operator writes them" in caplog.text
