"""A line of the log, to the letter: the quick way of writing one and the full way are one format."""

import dataclasses
import json
import logging
import math
import sys
import uuid
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keyturn.model.errors import Rejected
from keyturn.model.sensitive import Sensitive
from keyturn.telemetry import MESSAGE_LIMIT, JsonLines, set_up_logs

CREATED = datetime(2026, 11, 24, 12, 31, 14, 123_456, UTC).timestamp()
HEAD = '{"time": "2026-11-24T12:31:14.123+00:00", "level": "info", "logger": "keyturn.test", "message": "told"'
FLAGS = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks")


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Point:
    x: int = 1


Pair = namedtuple("Pair", "one two")  # noqa: PYI024  # as libraries have them, without types
SECRET = Sensitive.of("kt-canary-1")
HIDDEN = '"Sensitive(**********)"'
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def line(created: float = CREATED, **extra: Any) -> str:
    record = logging.makeLogRecord({"name": "keyturn.test", "levelno": 20, "levelname": "INFO", "msg": "told", "created": created, **extra})
    return JsonLines().format(record)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", '""'),
        ('ä "\\/ \n\t\r\b\f\x00\x1f\x7f\u2028 😀', '"ä \\"\\\\/ \\n\\t\\r\\b\\f\\u0000\\u001f\x7f\u2028 😀"'),
        (Text("text"), '"text"'),
        (Word.RED, '"red"'),
        (Colour.RED, '"Colour"'),
        (Number.ONE, "1"),
        (None, "null"),
        (True, "true"),
        (-7, "-7"),
        (2**70, "1180591620717411303424"),
        (1.5, "1.5"),
        (1e16, "1e+16"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (b"kt-canary-1", '"bytes"'),
        (bytearray(b"kt-canary-1"), '"bytearray"'),
        ({"kt-canary-1"}, '"set"'),
        (frozenset({"kt-canary-1"}), '"frozenset"'),
        (NOW, '"datetime"'),
        (NOW - NOW, '"timedelta"'),
        (uuid.UUID(int=1), '"UUID"'),
        (Decimal(1), '"Decimal"'),
        (Point(), '"Point"'),
        (Point, '"type"'),
        (SECRET, HIDDEN),
        ((1, "two"), '[1, "two"]'),
        (Pair(1, "two"), '[1, "two"]'),
        ([], "[]"),
        ({}, "{}"),
        (["one", 2, None, False], '["one", 2, null, false]'),
        ([1.5, math.nan], "[1.5, NaN]"),
        ([Word.RED, Number.ONE, Colour.RED, Text("text")], '["red", 1, "<Colour>", "text"]'),
        ([b"kt-canary-1", {"kt-canary-1"}, NOW, Point(), SECRET], '["<bytes>", "<set>", "<datetime>", "<Point>", "<Sensitive>"]'),
        ([[b"kt-canary-1"], (SECRET,), {"deep": SECRET}], '[["<bytes>"], ["<Sensitive>"], {"deep": "<Sensitive>"}]'),
        ({"one": "ä", "two": 2}, '{"one": "ä", "two": 2}'),
        (OrderedDict(two=2, one=1), '{"two": 2, "one": 1}'),
        ({"bytes": b"kt-canary-1", "secret": SECRET, "at": NOW}, '{"bytes": "<bytes>", "secret": "<Sensitive>", "at": "<datetime>"}'),
        ({"id": uuid.UUID(int=1), "cost": Decimal(1), "point": Point()}, '{"id": "<UUID>", "cost": "<Decimal>", "point": "<Point>"}'),
        ({7: 1, None: 2, True: 3, 1.5: 4, Word.RED: 5}, '{"7": 1, "null": 2, "true": 3, "1.5": 4, "red": 5}'),
        ({"deep": {"deeper": [1, {"deepest": math.inf}]}}, '{"deep": {"deeper": [1, {"deepest": Infinity}]}}'),
        ("half a pair \udc80", '"half a pair \udc80"'),
        (["half a pair \udc80"], '["half a pair \udc80"]'),
        ({"half a pair \udc80": 1}, '{"half a pair \udc80": 1}'),
    ],
    ids=ascii,
)
def test_a_value_is_written_as_ever(value: object, written: str) -> None:
    assert line(given=value) == f'{HEAD}, "given": {written}}}'


def test_keys_come_in_the_order_in_which_they_are_given_and_the_exception_last() -> None:
    try:
        raise Rejected("spec: no")
    except Rejected:
        written = line(zulu=1, alpha=[], exc_info=sys.exc_info(), _hidden=1)
    told = json.loads(written)
    assert list(told) == ["time", "level", "logger", "message", "zulu", "alpha", "exception"]
    assert told["exception"].startswith("keyturn.model.errors.Rejected: spec: no\n")


def test_the_text_of_an_exception_that_is_not_ours_is_not_told() -> None:
    try:
        raise ValueError("kt-canary-1")
    except ValueError:
        written = line(exc_info=sys.exc_info())
    assert json.loads(written)["exception"].startswith("builtins.ValueError\n")


def test_a_message_is_cut_and_an_extra_may_not_pose_as_one() -> None:
    written = json.loads(line(msg="%s", args=("ä" * 5000,), taskName="a task", threadName="a thread", asctime="now"))
    assert list(written) == ["time", "level", "logger", "message"]
    assert written["message"] == "ä" * MESSAGE_LIMIT


_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(SECRET) | st.sets(st.integers())
_names = st.text(max_size=5) | st.integers()
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(_names, inner, max_size=3), max_leaves=6
)


@given(st.dictionaries(st.from_regex(r"given_[a-z]{1,5}", fullmatch=True), _values))
def test_a_line_is_what_json_makes_of_it(extras: dict[str, Any]) -> None:
    plain = (str, int, float, list, tuple, dict, type(None))
    shown = {k: v if isinstance(v, plain) else repr(v) if isinstance(v, Sensitive) else type(v).__name__ for k, v in extras.items()}
    head = json.loads(HEAD + "}")
    assert line(**extras) == json.dumps(head | shown, ensure_ascii=False, default=lambda value: f"<{type(value).__name__}>")


@given(st.lists(st.floats(0, 4e9), min_size=1, max_size=5))
@example([1.9999995, 2.0, 1.9994999, 1.9995])
@example([1e9 + 0.9999999, 1e9 + 0.0005])
def test_a_time_is_that_of_the_calendar_to_the_millisecond(times: list[float]) -> None:
    lines = JsonLines()
    for created in times:
        record = logging.makeLogRecord({"created": created})
        expected = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
        assert json.loads(lines.format(record))["time"] == expected


@pytest.fixture
def _untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging after the test as it was before."""
    root, ours = logging.getLogger(), logging.getLogger("keyturn")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    for flag in FLAGS:
        monkeypatch.setattr(logging, flag, getattr(logging, flag, True), raising=False)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.mark.usefixtures("_untouched")
def test_what_no_line_shows_is_not_looked_up(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("debug")
    [handler] = logging.getLogger().handlers
    kept: list[logging.LogRecord] = []
    handler.addFilter(lambda record: bool(kept.append(record)) or True)  # type: ignore[func-returns-value]  # None, always
    logging.getLogger("keyturn.test").debug("told", extra={"given": 1})
    [record] = kept
    assert (record.lineno, record.thread, record.threadName, record.process, record.processName) == (0, None, None, None, None)
    told = json.loads(capsys.readouterr().err)
    assert told | {"time": ""} == {"time": "", "level": "debug", "logger": "keyturn.test", "message": "told", "given": 1}


@pytest.mark.usefixtures("_untouched")
def test_libraries_are_heard_from_a_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("debug")
    logging.getLogger("other").info("kt-canary-1")
    logging.getLogger("other").warning("heard")
    assert [json.loads(told)["message"] for told in capsys.readouterr().err.splitlines()] == ["heard"]


@pytest.mark.usefixtures("_untouched")
def test_a_library_that_sets_its_own_level_is_not_heard_either(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    set_up_logs("debug")
    monkeypatch.setattr(logging.getLogger("other"), "level", logging.DEBUG)
    logging.getLogger("other").info("kt-canary-1")
    assert capsys.readouterr().err == ""
