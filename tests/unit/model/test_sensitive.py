"""`Sensitive` shows nothing, whatever one does to it."""

import asyncio
import copy
import dataclasses
import json
import logging
import pickle
import traceback

import pytest

from builders import entry, managed, provider, secret, value
from keyturn.model.material import Value
from keyturn.model.sensitive import Sensitive

S = secret("kt-canary-1")


@dataclasses.dataclass
class Holder:
    value: Sensitive


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        lambda s: f"{s}",
        lambda s: f"{s!r:>40}",
        lambda s: "%s %r" % (s, s),  # noqa: UP031  # the way is what is tested
        "{}".format,
        lambda s: f"{s:>40}",
        lambda s: repr([s, {"k": s}, (s,)]),
        lambda s: repr(Holder(s)),
        lambda s: repr(Value(s)),
        lambda s: logging.makeLogRecord({"msg": "%s", "args": (s,)}).getMessage(),
    ],
)
def test_no_way_of_printing_shows_it(show) -> None:  # type: ignore[no-untyped-def]  # any of them
    shown = show(S)
    assert "kt-canary" not in shown
    assert "**" in shown


@pytest.mark.parametrize(
    "use",
    [
        hash,
        iter,
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        bytes,
        dict.fromkeys,
        lambda s: {s},
        lambda s: s[0],
        lambda s: s < s,  # noqa: PLR0124  # the way is what is tested
        lambda s: s + s,
        lambda s: b"kt" in s,
        lambda s: dataclasses.asdict(Holder(s)),
        lambda s: pickle.dumps({"nested": [s]}),
    ],
)
def test_what_would_carry_it_away_is_refused_without_showing_it(use) -> None:  # type: ignore[no-untyped-def]  # any of them
    with pytest.raises(TypeError) as caught:
        use(S)
    assert "kt-canary" not in str(caught.value)


def test_a_traceback_with_locals_does_not_show_it() -> None:
    def fails(inner: Sensitive) -> None:
        raise RuntimeError(inner)

    try:
        fails(S)
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        # The frames' sources show the test's own name for it and no more.
        assert "kt-canary-1" not in shown.replace('secret("kt-canary-1")', "")


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (secret("kt-canary-1"), True),
        (secret("kt-canary-2"), False),
        (secret(""), False),
        (b"kt-canary-1", False),
        ("kt-canary-1", False),
        (None, False),
    ],
    ids=["same", "other", "empty", "bytes", "text", "None"],
)
def test_it_equals_another_with_the_same_bytes_and_nothing_else(*, other: object, equal: bool) -> None:
    assert (other == S) is equal
    assert (other != S) is not equal


def test_it_is_changed_by_nobody() -> None:
    given = bytearray(b"kt-canary-1")
    made = Sensitive(given)  # type: ignore[arg-type]  # what a careless caller might do
    given[:2] = b"xx"
    assert made.reveal() == b"kt-canary-1"
    assert not hasattr(made, "__dict__")


def test_length_and_truth_say_whether_there_is_something() -> None:
    assert (len(S), bool(S), bool(Sensitive(b""))) == (11, True, False)


def test_nouns_that_hold_it_show_nothing() -> None:
    shown = repr([managed(), provider(), entry(), value("kt-canary-1"), {"data": S}])
    assert "kt-canary" not in shown


def test_a_task_that_fails_with_it_shows_nothing() -> None:
    async def fails() -> None:
        raise RuntimeError(S)

    with pytest.raises(RuntimeError) as caught:
        asyncio.run(fails())
    assert "kt-canary" not in repr(caught.value)
