"""How long to hold back from a provider: back-off, rate and breaker as arithmetic.

Used by ``providers/guard.py`` and by the queue. Each noun is frozen; an event gives its successor. Time is seconds
of any monotonic clock, chance a number in [0, 1); both are arguments, so every answer can be tested.
"""

from dataclasses import dataclass, field, replace
from typing import Self

_MAX_DOUBLINGS = 62  # beyond this a float still holds, and any cap is long passed


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays with full jitter: many that failed together do not come back together."""

    base_s: float = 0.5
    cap_s: float = 60.0
    retry_after_cap_s: float = 3600.0

    def ceiling_s(self, attempt: int) -> float:
        """The longest delay after the ``attempt``-th failure, counted from 0."""
        return min(self.cap_s, self.base_s * 2.0 ** min(max(attempt, 0), _MAX_DOUBLINGS))

    def delay_s(self, attempt: int, chance: float, retry_after_s: float | None = None) -> float:
        """A delay in [0, ceiling), and never less than the provider asked for (within an hour)."""
        return max(chance * self.ceiling_s(attempt), min(max(retry_after_s or 0.0, 0.0), self.retry_after_cap_s))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket that lends: a taker goes at once or learns how long to wait, in order of asking."""

    rate_per_s: float
    burst: float
    tokens: float
    at_s: float

    @classmethod
    def full(cls, rate_per_s: float, burst: float, now_s: float) -> Self:
        """A bucket that nobody has taken from."""
        return cls(rate_per_s, burst, burst, now_s)

    def take(self, now_s: float) -> tuple["Bucket", float]:
        """Takes one token; gives the bucket after it, and the seconds to wait before acting."""
        now_s = max(now_s, self.at_s)
        tokens = min(self.burst, self.tokens + (now_s - self.at_s) * self.rate_per_s) - 1.0
        return replace(self, tokens=tokens, at_s=now_s), max(0.0, -tokens / self.rate_per_s)

    def give_back(self) -> "Bucket":
        """Undoes a `take` whose wait was too long to be worth it."""
        return replace(self, tokens=min(self.burst, self.tokens + 1.0))


@dataclass(frozen=True, slots=True)
class Breaker:
    """Closed until ``threshold`` failures in a row, then open for a back-off, then open to one probe.

    ``open_until_s`` None is closed. ``trips`` counts openings since the last success, so that a
    provider that stays away is asked ever more rarely.
    """

    threshold: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    failures: int = 0
    trips: int = 0
    open_until_s: float | None = None
    is_probing: bool = False

    def admit(self, now_s: float) -> tuple["Breaker", float]:
        """Zero lets one call go; else the seconds to hold back. The breaker that comes back knows of a probe."""
        if self.open_until_s is None:
            return self, 0.0
        if now_s < self.open_until_s:
            return self, self.open_until_s - now_s
        if self.is_probing:
            return self, self.backoff.base_s
        return replace(self, is_probing=True), 0.0

    def succeed(self) -> "Breaker":
        """A call was answered: whatever the answer, somebody is there. A pause that another call was asked for stands."""
        return self if self.open_until_s is not None and not self.is_probing else Breaker(self.threshold, self.backoff)

    def fail(self, now_s: float, chance: float, retry_after_s: float | None = None) -> "Breaker":
        """A call was not answered, or the provider asked for a pause (which opens at once)."""
        failures = self.failures + 1
        if self.open_until_s is not None and not self.is_probing:
            # Calls that began before it opened say nothing new, except a longer wish.
            wish = now_s + self.backoff.delay_s(0, 0.0, retry_after_s)
            return replace(self, failures=failures, open_until_s=max(self.open_until_s, wish))
        if failures < self.threshold and not self.is_probing and not retry_after_s:
            return replace(self, failures=failures)
        # Who says how long to stay away is taken at its word, however often it says so.
        delay = self.backoff.delay_s(0 if retry_after_s else self.trips, chance, retry_after_s)
        return replace(self, failures=failures, trips=self.trips + 1, open_until_s=now_s + delay, is_probing=False)

    def abandon(self) -> "Breaker":
        """A call was called off before it could tell anything; the next one may probe."""
        return replace(self, is_probing=False)
