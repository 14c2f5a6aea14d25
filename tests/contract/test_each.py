"""Values that are read one by one: what all of them would meet is met once, and what has no room is left for another call."""

import asyncio

import pytest

from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, NotFound, ProviderError, Throttled, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.each import AT_ONCE, read_each
from keyturn.providers.room import CALL, Hold, Room

REFS = [SourceRef(f"key{number}") for number in range(40)]


class Reader:
    """Gives what it was told to, and counts."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.errors: dict[SourceRef, ProviderError] = {}
        self.asked: list[SourceRef] = []
        self.under_way = self.most = 0

    async def read(self, ref: SourceRef, hold: Hold) -> Value:
        self.asked.append(ref)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await hold.claim(self.size)
        await asyncio.sleep(0)
        self.under_way -= 1
        if ref in self.errors:
            raise self.errors[ref]
        return Value(Sensitive.of(ref.key))


async def test_each_has_its_answer_and_some_are_read_at_a_time() -> None:
    reader = Reader()
    reader.errors = {REFS[3]: NotFound("three"), REFS[4]: AccessDenied("four")}
    answers = await read_each([*REFS, *REFS], str, reader.read, Room(), "shop")
    assert sorted(reader.asked) == sorted(REFS)
    assert {ref for ref, each in answers.items() if isinstance(each, ProviderError)} == set(reader.errors)
    assert 1 < reader.most <= AT_ONCE
    assert await read_each([], str, reader.read, Room(), "shop") == {}


@pytest.mark.parametrize("wall", [Unavailable("away"), Throttled("pause"), AuthFailed("nobody")])
async def test_a_wall_is_met_once_where_the_first_meets_it(wall: ProviderError) -> None:
    reader = Reader()
    reader.errors = dict.fromkeys(REFS, wall)
    with pytest.raises(type(wall)):
        await read_each(REFS, str, reader.read, Room(), "shop")
    assert reader.asked == REFS[:1]


async def test_what_no_server_is_asked_for_does_not_stand_for_the_server() -> None:
    def fit(ref: SourceRef) -> None:
        if ref == REFS[0]:
            raise Invalid("no such name")

    reader = Reader()
    reader.errors = dict.fromkeys(REFS, Unavailable("away"))
    with pytest.raises(Unavailable):
        await read_each(REFS, fit, reader.read, Room(), "shop")
    assert reader.asked == REFS[1:2]
    answers = await read_each(REFS[:1], fit, reader.read, Room(), "shop")
    assert isinstance(answers[REFS[0]], Invalid)


async def test_a_wall_that_comes_later_stands_for_all_that_are_left() -> None:
    reader = Reader()
    reader.errors = dict.fromkeys(REFS[10:], Unavailable("away"))
    answers = await read_each(REFS, str, reader.read, Room(), "shop")
    assert answers.keys() == set(REFS)
    assert len(reader.asked) <= 10 + AT_ONCE
    assert isinstance(answers[REFS[-1]], Unavailable)


async def test_what_there_is_no_room_for_is_left_out_and_all_room_is_given_back() -> None:
    reader, room = Reader(size=CALL // 4), Room()
    answers = await read_each(REFS, str, reader.read, room, "shop")
    assert 0 < len(answers) < len(REFS)
    assert room.taken == 0
