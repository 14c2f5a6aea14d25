"""When checkpoints are written, where they go, and what of the cluster's is believed: the flow, over a book and an outside in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import wraps

import pytest

from keyturn.flow.checkpoints import TURN_S, Checkpoints
from keyturn.model.audit import Head
from keyturn.model.checkpoint import AuditTampered, Checkpoint, Signed
from keyturn.model.errors import Busy, Forbidden, KeyturnError, Unavailable
from keyturn.model.note import NoteRefused
from keyturn.testing.clock import FakeClock, play

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
HASH = bytes(32)


@dataclass(slots=True)
class Memory:
    """A book whose trail has ``rows`` rows; notes are numbers of rows."""

    rows: int = 1
    pressing: set[int] = field(default_factory=set)
    written: list[int] = field(default_factory=list)
    missing: Head | None = None
    problem: KeyturnError | None = None
    vkey: str = "vkey"
    is_frozen: bool = False
    renewed: int = 0

    async def renew(self) -> None:
        self.renewed += 1

    async def write(self, now: datetime) -> Signed | None:
        if self.is_frozen:
            await asyncio.Event().wait()
        if self.problem:
            raise self.problem
        if not self.rows:
            return None
        if self.rows not in self.written:
            self.written.append(self.rows)
        return signed(self.rows)

    async def presses(self, after: int) -> tuple[int, bool]:
        return self.rows, any(after < row <= self.rows for row in self.pressing)

    async def lost(self, note: str) -> Sequence[Signed]:
        if self.is_frozen:
            await asyncio.Event().wait()
        if note and not note.isdigit():
            raise NoteRefused("it is no signed note")
        return [signed(self.missing.seq)] if self.missing else []

    def is_newer(self, note: str, signed: Signed) -> bool:
        return note.isdigit() and int(note) > signed.checkpoint.head.seq


def signed(rows: int) -> Signed:
    return Signed(Checkpoint("origin", Head(rows, HASH), b"", AT, "key"), str(rows))


@dataclass(slots=True)
class Cluster:
    note: str = ""
    problem: KeyturnError | None = None
    told: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    async def read(self) -> str:
        if self.problem:
            raise self.problem
        return self.note

    async def write(self, note: str, head: Head, vkey: str) -> None:
        self.note = note

    def tell(self, kind: str, reason: str, note: str) -> None:
        self.told.append(reason)
        self.notes.append(note)


@dataclass(slots=True)
class Desk:
    """What a test turns: the book and the cluster, on virtual time."""

    book: Memory = field(default_factory=Memory)
    cluster: Cluster = field(default_factory=Cluster)
    leads: bool = True
    made: Checkpoints = field(init=False)

    def __post_init__(self) -> None:
        async def opened() -> Memory:
            return self.book

        self.made = Checkpoints(opened, self.cluster, FakeClock(AT), asyncio.get_running_loop().time, lambda: self.leads)

    async def turn(self, rows: int, after: timedelta = timedelta(seconds=30)) -> None:
        """So many rows are there, and so much later it is looked at what came of it."""
        self.book.rows = rows
        await asyncio.sleep(after.total_seconds())


def played(story: Callable[[Desk], Awaitable[None]]) -> Callable[[], None]:
    """A test on virtual time, with the duty beside it."""

    async def told() -> None:
        desk = Desk()
        running = asyncio.create_task(desk.made.run())
        await story(desk)
        running.cancel()

    @wraps(story)
    def test() -> None:
        play(told)

    del test.__wrapped__  # type: ignore[attr-defined]  # pytest would ask for a fixture of that name
    return test


@played
async def test_nothing_is_signed_before_the_trail_was_looked_at(desk: Desk) -> None:
    await desk.turn(5)
    assert desk.book.written == []
    assert await desk.made.look() == ()
    await desk.turn(5)
    assert (desk.book.written, desk.cluster.note, desk.cluster.told) == ([5], "5", ["AuditSigned"])
    desk.made.begin_term("")
    await desk.turn(6, timedelta(hours=2))
    assert desk.book.written == [5], "a new term has to look anew"


@played
async def test_it_is_hourly_and_at_once_after_a_row_that_presses(desk: Desk) -> None:
    await desk.made.look()
    await desk.turn(5)
    await desk.turn(6, timedelta(minutes=59))
    assert desk.book.written == [5]
    desk.book.pressing = {7}
    await desk.turn(8, timedelta(seconds=15))
    assert desk.book.written == [5, 8]
    await desk.turn(9, timedelta(minutes=59))
    assert desk.book.written == [5, 8]
    await desk.turn(9, timedelta(minutes=2))
    assert (desk.book.written, desk.cluster.note) == ([5, 8, 9], "9")
    assert desk.cluster.told == ["AuditSigned"] * 2, "one event an hour at most"


@played
async def test_whoever_does_not_lead_writes_none_but_the_last_one_at_the_stop(desk: Desk) -> None:
    await desk.made.look()
    await desk.turn(5)
    desk.leads = False
    await desk.turn(6, timedelta(hours=3))
    assert desk.book.written == [5]
    await desk.made.close()
    assert (desk.book.written, desk.cluster.note) == ([5, 6], "6")


@played
async def test_a_later_checkpoint_of_another_leader_is_never_replaced(desk: Desk) -> None:
    await desk.made.look()
    await desk.turn(5)
    desk.cluster.note = "70"
    desk.book.rows = 6
    await desk.made.close()
    assert (desk.book.written, desk.cluster.note) == ([5, 6], "70")
    desk.cluster.note = "somebody's"
    desk.book.rows = 7
    await desk.made.close()
    assert desk.cluster.note == "7"


@played
async def test_what_cannot_be_put_outside_is_tried_again(desk: Desk) -> None:
    await desk.made.look()
    desk.cluster.problem = Busy("no answer", status=503)
    await desk.turn(5)
    assert (desk.book.written, desk.cluster.note, desk.made.problem) == ([5], "", "no answer")
    desk.cluster.problem = None
    await desk.turn(5)
    assert (desk.cluster.note, desk.made.problem) == ("5", "")


@played
async def test_a_trail_that_is_not_as_it_was_written_is_told_hourly_and_not_signed(desk: Desk) -> None:
    await desk.made.look()
    desk.book.problem = AuditTampered("row 3: it was changed")
    await desk.turn(5, timedelta(minutes=59))
    assert desk.cluster.told == ["AuditTampered"]
    await desk.turn(6, timedelta(minutes=59))
    assert (desk.book.written, desk.cluster.told) == ([], ["AuditTampered"] * 2)
    assert desk.made.problem == (told := "AuditTampered: row 3: it was changed; run keyturn audit verify, and leave the database as it is")
    assert desk.cluster.notes == [told] * 2
    desk.book.problem = None
    await desk.turn(6)
    assert (desk.book.written, desk.made.problem) == ([6], "")


def test_the_log_says_by_which_word_the_docs_tell_of_it(caplog: pytest.LogCaptureFixture) -> None:
    @played
    async def tampered(desk: Desk) -> None:
        await desk.made.look()
        desk.book.problem = AuditTampered("row 3: it was changed")
        await desk.turn(5)

    tampered()
    [line] = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert line.startswith("no checkpoint of the audit trail: AuditTampered: row 3: it was changed; run keyturn audit verify")


@played
async def test_ends_that_are_lost_are_told_and_nothing_is_signed_then(desk: Desk) -> None:
    desk.book.missing = Head(9, HASH)
    assert await desk.made.look() == [Head(9, HASH)]
    await desk.turn(5)
    assert desk.book.written == []


@played
async def test_a_note_that_is_not_ours_stops_nothing_and_an_api_server_without_an_answer_does(desk: Desk) -> None:
    desk.cluster.note = "somebody's"
    assert await desk.made.look() == ()
    desk.cluster.problem = Forbidden("no right to it", status=403)
    assert await desk.made.look() == (), "as if it were deleted"
    desk.cluster.problem = Busy("no answer", status=503)
    with pytest.raises(Busy):
        await desk.made.look()


@played
async def test_a_question_for_lost_ends_that_nobody_answers_is_given_up(desk: Desk) -> None:
    desk.book.is_frozen = True
    with pytest.raises(Unavailable, match="no answer in time"):
        await desk.made.look()
    assert desk.book.renewed == 1, "the next one goes over another connection"
    desk.book.is_frozen = False
    assert await desk.made.look() == ()


@played
async def test_a_signature_that_nobody_writes_is_told_and_tried_again(desk: Desk) -> None:
    await desk.made.look()
    desk.book.is_frozen = True
    await desk.turn(5, timedelta(seconds=TURN_S + 60))
    assert "no answer in time" in desk.made.problem
    assert desk.book.renewed
    desk.book.is_frozen = False
    await desk.turn(6, timedelta(seconds=TURN_S + 60))
    assert (desk.book.written, desk.made.problem) == ([6], "")
