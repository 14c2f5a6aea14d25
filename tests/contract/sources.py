"""A provider that does as it is told, for tests of what stands around providers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from keyturn.decide.retry import Backoff
from keyturn.model.errors import ProviderError
from keyturn.model.material import Cap, Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.guard import Pace

CANARY = "kt-canary-guard"
A, B, C = SourceRef("a"), SourceRef("b"), SourceRef("c")


@dataclass
class Source:
    """A provider that counts its calls, waits where it is told to, and fails where it is told to."""

    failure: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[tuple[SourceRef, ...]] = field(default_factory=list)
    answers: dict[SourceRef, Value | ProviderError] = field(default_factory=dict)
    running: int = 0
    most_running: int = 0
    closed: int = 0
    caps = Cap.GET | Cap.LIST

    def __post_init__(self) -> None:
        self.gate.set()

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        self.calls.append(tuple(refs))
        await self._pass()
        return {ref: self.answers.get(ref, Value(Sensitive.of(f"{CANARY}-{ref.key}"))) for ref in refs}

    async def _pass(self) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
            if self.failure:
                raise self.failure
        finally:
            self.running -= 1

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        yield Meta(f"{prefix}1")
        await self._pass()
        yield Meta(f"{prefix}2")

    async def validate(self) -> None:
        await self._pass()

    async def close(self) -> None:
        self.closed += 1


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


PACE = Pace(concurrency=2, threshold=3, backoff=Backoff(base_s=10.0, cap_s=60.0))


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not claim():  # noqa: ASYNC110  # what is waited for has no event, and must not get one for tests
            await asyncio.sleep(0)


async def until_asked(source: Source, calls: int = 1) -> None:
    await until(lambda: len(source.calls) >= calls)
