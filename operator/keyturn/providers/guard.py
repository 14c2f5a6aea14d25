"""Stands before every provider, so that many may ask, one call goes out, and a sick provider hurts nobody else.

Concurrent asks for the same reference share one read; asks that come while calls are out are
gathered into the next batch. Each call has a deadline, a place in the bulkhead, a token of the
rate, and the breaker's leave. Arithmetic is ``decide/retry.py``.

Never repeats a call (the queue does), never caches an answer, and never lets an exception of a
provider's library through.
"""

import asyncio
import copy
import random
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, cast

from keyturn.decide.retry import Backoff, Breaker, Bucket
from keyturn.model.errors import AuthFailed, Invalid, ProviderError, Throttled, Unavailable
from keyturn.model.material import WRITES, Cap, Meta, SourceRef, Survey, Value
from keyturn.ports import Provider, Surveyor
from keyturn.providers.classify import classify

Answer = Value | ProviderError
Observer = Callable[[str, str, float], None]
"""Is told of each call: its name, ``OK`` or the class of its error, its seconds."""

_T = TypeVar("_T")

# What says that asking again at once is useless, whoever asks. A log-in that fails is among these:
# repeating it locks accounts.
_DOWN = (Unavailable, Throttled, AuthFailed)


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard a provider may be asked. ``rate_per_s`` None is no limit."""

    deadline_s: float = 10.0
    concurrency: int = 4
    batch: int = 1000
    rate_per_s: float | None = None
    burst: float = 10.0
    threshold: int = 5
    backoff: Backoff = field(default_factory=Backoff)


HANDFUL = 2 << 20
"""Bytes. Who asked for more has it piece by piece, so that one piece can be gone before the next one comes."""

LISTED = 32 << 20
"""Bytes of memory that a list may be. 50,000 secrets without tags take less."""

LOCAL = Pace(backoff=Backoff(base_s=0.5, cap_s=5.0))
"""For what is on this machine: nobody has to be spared, so it is asked again soon."""

REMOTE = Pace(deadline_s=12.0, concurrency=4, batch=64, backoff=Backoff(base_s=1.0, cap_s=5.0))
"""For a server, whose dialer gives up before the deadline does.

While it is away one probe in some seconds goes out, so that its return is seen within any sensible interval.
"""


@dataclass(slots=True, eq=False)
class _Batch:
    """References that go out together, and the answers that all who asked for any of them wait for."""

    answers: asyncio.Future[Mapping[SourceRef, Answer]]
    refs: list[SourceRef] = field(default_factory=list)


class Guard:
    """A `Provider` around a provider. Its ``get_many`` answers, be it with errors; only after ``close`` it raises."""

    def __init__(
        self,
        provider: Provider,
        pace: Pace = LOCAL,
        *,
        observe: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._provider = provider
        self._pace = pace
        self._observe = observe
        self._clock = clock
        self._chance = chance
        self._breaker = Breaker(pace.threshold, pace.backoff)
        self._bucket = Bucket.full(pace.rate_per_s, pace.burst, clock()) if pace.rate_per_s else None
        self._bulkhead = asyncio.Semaphore(pace.concurrency)
        self._last_failure: ProviderError = Unavailable("the provider was not asked yet")
        self._flights: dict[SourceRef, _Batch] = {}
        self._waiting: deque[_Batch] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def caps(self) -> Cap:
        """Without those of writing, for which there is no way through here."""
        return self._provider.caps & ~WRITES

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Answer]:
        """Leaves out what the provider left out, and what was not here yet when there was a handful."""
        found: dict[SourceRef, Answer] = {}
        while not found:
            if self._is_closed:
                raise _closed()
            if not refs:
                break
            found = await self._bring(refs)
        return found

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        for meta in await self._call("list", partial(_gather, self._provider, prefix)):
            yield meta

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        if not isinstance(self._provider, Surveyor):
            raise Invalid("this provider makes no surveys")
        return await self._call("survey", partial(self._provider.survey, refs))

    async def validate(self) -> None:
        await self._call("validate", self._provider.validate)

    async def close(self) -> None:
        self._is_closed = True
        calls = tuple(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        # A call that was cancelled before its first step could not land its batch.
        for batch in set(self._flights.values()):
            self._land(batch, _closed())
        await self._provider.close()

    async def _bring(self, refs: Sequence[SourceRef]) -> dict[SourceRef, Answer]:
        pending: dict[asyncio.Future[Mapping[SourceRef, Answer]], list[SourceRef]] = {}
        for ref in refs:
            pending.setdefault(self._board(ref).answers, []).append(ref)
        found: dict[SourceRef, Answer] = {}
        weight = 0
        while pending and weight < HANDFUL:
            # wait() leaves the futures alone when this waiter is cancelled: others still wait for them.
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for landed in done:
                answers = landed.result()
                for ref in pending.pop(landed):
                    if (answer := answers.get(ref)) is not None:
                        found[ref] = _own(answer)
                        weight += _weight(answer)
        return found

    def _board(self, ref: SourceRef) -> _Batch:
        """Finds the batch that brings ``ref``, or puts it on the next one."""
        if batch := self._flights.get(ref):
            return batch
        if not self._waiting or len(self._waiting[-1].refs) >= self._pace.batch:
            loop = asyncio.get_running_loop()
            self._waiting.append(_Batch(loop.create_future()))
            # Not at once: whoever asks in this turn of the loop comes along.
            loop.call_soon(self._depart)
        batch = self._waiting[-1]
        batch.refs.append(ref)
        self._flights[ref] = batch
        return batch

    def _depart(self) -> None:
        while self._waiting and len(self._calls) < self._pace.concurrency and not self._is_closed:
            call = asyncio.create_task(self._fetch(self._waiting.popleft()), name="keyturn-fetch")
            self._calls.add(call)
            call.add_done_callback(self._arrived)

    def _arrived(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._depart()

    async def _fetch(self, batch: _Batch) -> None:
        outcome: Mapping[SourceRef, Answer] | ProviderError = _closed()
        try:
            outcome = await self._call("get_many", partial(_read, self._provider, batch.refs))
            for asked in (answer for answer in outcome.values() if isinstance(answer, Throttled)):
                # Some were answered before it asked for a pause: that holds for whoever comes next.
                self._note(asked)
                break
        except ProviderError as error:
            outcome = error
        finally:
            self._land(batch, outcome)

    def _land(self, batch: _Batch, outcome: Mapping[SourceRef, Answer] | ProviderError) -> None:
        if not isinstance(outcome, ProviderError) and not any(ref in outcome for ref in batch.refs):
            outcome = Unavailable("the provider left all out of its answer")
        for ref in batch.refs:
            del self._flights[ref]
        batch.answers.set_result(dict.fromkeys(batch.refs, outcome) if isinstance(outcome, ProviderError) else outcome)

    async def _call(self, name: str, call: Callable[[], Awaitable[_T]]) -> _T:
        """Lets one call through all that it must pass; raises `ProviderError` and nothing else."""
        if self._is_closed:
            raise _closed()
        async with self._bulkhead:
            self._pass_breaker()
            await self._await_token()
            self._breaker = self._pass_breaker()
            began = self._clock()
            try:
                async with asyncio.timeout(self._pace.deadline_s):
                    result = await call()
            except asyncio.CancelledError:
                self._breaker = self._breaker.abandon()
                raise
            except Exception as error:  # noqa: BLE001  # whatever a library raises is the provider's failure, never ours
                failure = classify(error)
            else:
                self._breaker = self._breaker.succeed()
                self._tell(name, "OK", began)
                return result
            self._note(failure)
            self._tell(name, type(failure).__name__, began)
            # Outside the except clause, so that a library's exception does not hang on ours as its context.
            raise failure

    def _pass_breaker(self) -> Breaker:
        breaker, hold_back_s = self._breaker.admit(self._clock())
        if hold_back_s:
            error = copy.copy(self._last_failure)
            error.retry_after = hold_back_s
            raise error
        return breaker

    async def _await_token(self) -> None:
        if self._bucket is None:
            return
        self._bucket, wait_s = self._bucket.take(self._clock())
        if wait_s > self._pace.deadline_s:
            self._bucket = self._bucket.give_back()
            raise Throttled("more is asked of this provider than its rate allows", retry_after=wait_s)
        if wait_s:
            await asyncio.sleep(wait_s)

    def _note(self, failure: ProviderError) -> None:
        if isinstance(failure, _DOWN):
            self._breaker = self._breaker.fail(self._clock(), self._chance(), failure.retry_after)
            self._last_failure = copy.copy(failure)
        else:
            self._breaker = self._breaker.succeed()

    def _tell(self, name: str, result: str, began: float) -> None:
        if self._observe:
            self._observe(name, result, self._clock() - began)


async def _read(provider: Provider, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Answer]:
    answers = await provider.get_many(refs)
    # Some providers are asked key by key: when every key met the same wall, that was a failed call.
    if answers and all(isinstance(answer, _DOWN) for answer in answers.values()):
        raise cast("ProviderError", next(iter(answers.values())))
    return answers


async def _gather(provider: Provider, prefix: str) -> Sequence[Meta]:
    found: list[Meta] = []
    left = LISTED
    async for meta in provider.list(prefix):
        left -= _cost(meta)
        if left < 0:
            raise Invalid(f"the list of what begins with {prefix!r} is too long; ask for a longer prefix, or take tags away")
        found.append(meta)
    return found


def _cost(meta: Meta) -> int:
    """In bytes of memory. Text with one character that is rare takes four for each."""
    texts = [meta.key, meta.fingerprint, *meta.tags, *meta.tags.values()]
    return 256 + sys.getsizeof(meta.tags) + sum(map(sys.getsizeof, texts))


def _weight(answer: Answer) -> int:
    return len(answer.data) if isinstance(answer, Value) else 0


def _own(answer: Answer) -> Answer:
    """Gives each waiter an error of its own: raising one object in many tasks would chain their tracebacks."""
    return copy.copy(answer) if isinstance(answer, ProviderError) else answer


def _closed() -> Unavailable:
    return Unavailable("the provider is closed")
