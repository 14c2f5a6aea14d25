"""Waiting on conditions, with a deadline; and watching that something stays away."""

import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.02
LIMIT_S = 30.0


def eventually(condition: Callable[[], T], deadline_s: float = LIMIT_S, what: Callable[[], object] | str = "") -> T:
    """The condition's value as soon as it is true; an AssertionError when that does not happen in time."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            told = what() if callable(what) else what
            raise AssertionError(f"not within {deadline_s:g} s: {told or condition} (last seen: {value!r})")
        time.sleep(LOOK_EVERY_S)
    return value


def always(condition: Callable[[], object], for_s: float, what: Callable[[], object] | str = "") -> None:
    """Looks again and again for a while, and fails at once when the condition does not hold."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert condition(), what() if callable(what) else what
        time.sleep(LOOK_EVERY_S)


class Stopwatch:
    """Times of one claim: each run must stay below five times the figure that is claimed; the median is printed."""

    def __init__(self, claim: str, claimed_s: float) -> None:
        self.claim = claim
        self.limit_s = 5 * claimed_s
        self.seen: list[float] = []

    def time(self, condition: Callable[[], T], what: Callable[[], object] | str = "", since: float | None = None) -> T:
        """Waits for the condition, and notes how long it took from ``since``, else from now."""
        began = time.monotonic() if since is None else since
        value = eventually(condition, self.limit_s - (time.monotonic() - began), what or self.claim)
        self.seen.append(time.monotonic() - began)
        return value

    def tell(self) -> None:
        print(f"{self.claim}: median {median(self.seen) * 1000:.0f} ms, worst {max(self.seen) * 1000:.0f} ms of {len(self.seen)}")
