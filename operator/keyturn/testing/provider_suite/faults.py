"""Cases of what goes wrong: with rights, log-ins, servers, sizes. An outage is never told as an absence."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Final

from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, ProviderError, Throttled, Unavailable
from keyturn.model.material import Cap, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.guard import Guard, Pace
from keyturn.testing.provider_suite.bench import Need, Who
from keyturn.testing.provider_suite.case import Case, Trial, case, check

_IMPATIENT: Final = Pace(deadline_s=0.3, threshold=1000)


@case("denied", Need.DENY)
async def denied(trial: Trial) -> None:
    """A key that this identity may not read is `AccessDenied`; its neighbour in the same call is read."""
    closed, opened = SourceRef(trial.key("closed")), SourceRef(trial.key("open"))
    await trial.seed(closed.key)
    data = await trial.seed(opened.key)
    await trial.bench.deny(closed.key)
    answers = await trial.ask(await trial.open(), closed, opened)
    check(isinstance(answers[closed], AccessDenied), f"a denied key gave {type(answers[closed]).__name__}, not AccessDenied")
    found = answers[opened]
    check(isinstance(found, Value) and found.data == Sensitive(data), "a denied key spoils its neighbour")


@case("bad log-in", Need.LOG_IN)
async def bad_log_in(trial: Trial) -> None:
    """A log-in that fails is `AuthFailed`, for reads and for `validate`, whether the key is there or not."""
    await trial.seed(trial.key())
    stranger = await trial.open(Who.STRANGER)
    await trial.fails(stranger, trial.key(), AuthFailed)
    await trial.fails(stranger, trial.key("missing"), AuthFailed)
    await trial.refused(AuthFailed, stranger.validate)


@case("expired log-in", Need.EXPIRY)
async def expired(trial: Trial) -> None:
    """A log-in that ended is made again, and nobody notices: not one reader, not twenty at once."""
    data = await trial.seed(trial.key())
    provider = await trial.open()
    await trial.reads(provider, trial.key(), data)
    await trial.bench.expire()
    await trial.reads(provider, trial.key(), data)
    await trial.bench.expire()
    await asyncio.gather(*(trial.reads(provider, trial.key(), data) for _ in range(20)))


@case("throttled", Need.THROTTLE)
async def throttled(trial: Trial) -> None:
    """429 is `Throttled` with the seconds of Retry-After, told at once; afterwards all is as before."""
    data = await trial.seed(trial.key())
    provider = await trial.open()
    await trial.reads(provider, trial.key(), data)
    async with trial.bench.throttled():
        error = await trial.fails(provider, trial.key(), Throttled)
    # What remains of it, where the server counts down.
    check(error.retry_after is not None, "Throttled does not say how long")
    check(0 < (error.retry_after or 0) <= trial.bench.pause_s, "Throttled says another pause than Retry-After")
    await trial.reads(await trial.open(), trial.key(), data)


@case("time-out", Need.HANG)
async def timed_out(trial: Trial) -> None:
    """A server that is silent can be given up at any time; the provider works on when it speaks again."""
    data = await trial.seed(trial.key())
    provider = await trial.open()
    await trial.reads(provider, trial.key(), data)
    # As the operator has it: whoever gives up is the guard, which cancels the call.
    guard = Guard(provider, _IMPATIENT)
    async with trial.bench.hanging():
        found = await trial.answer(guard, trial.key())
        check(isinstance(found, Unavailable), "a call to a silent server is not Unavailable")
        await trial.refused(Unavailable, guard.validate)
    await trial.reads(provider, trial.key(), data)


async def is_an_outage(trial: Trial, outage: AbstractAsyncContextManager[None]) -> None:
    """Everything is `Unavailable`, also what is not there; afterwards all is as before."""
    data = await trial.seed(trial.key())
    known, new = await trial.open(), await trial.open()
    await trial.reads(known, trial.key(), data)
    async with outage:
        for provider in (known, new):
            await trial.fails(provider, trial.key(), Unavailable)
            await trial.fails(provider, trial.key("missing"), Unavailable)
            await trial.refused(Unavailable, provider.validate)
            if Cap.LIST in provider.caps:
                await trial.refused(Unavailable, trial.listed, provider)
    for provider in (await trial.open(), known):
        await trial.reads(provider, trial.key(), data)


@case("5xx", Need.FAIL)
async def server_error(trial: Trial) -> None:
    """A server that fails is `Unavailable`, without its words: no key is gone, and no list empty, for that."""
    await is_an_outage(trial, trial.bench.failing())


@case("connection refused", Need.REFUSE)
async def refused(trial: Trial) -> None:
    """A server that is away is `Unavailable`: no key is gone, and no list empty, for that."""
    await is_an_outage(trial, trial.bench.away())


@case("oversize", Need.OVERSIZE)
async def oversize(trial: Trial) -> None:
    """A value that is too large is `Invalid`, and never cut; its neighbour in the same call is read."""
    large, small = SourceRef(trial.key("large")), SourceRef(trial.key("small"))
    await trial.seed(large.key, trial.bench.value(trial.mark() + "x" * trial.bench.most_bytes))
    data = await trial.seed(small.key)
    answers = await trial.ask(await trial.open(), large, small)
    check(isinstance(answers[large], Invalid), f"a read of a value that is too large gave {type(answers[large]).__name__}, not Invalid")
    found = answers[small]
    check(isinstance(found, Value) and found.data == Sensitive(data), "a value that is too large spoils its neighbour")


@case("odd versions")
async def odd_versions(trial: Trial) -> None:
    """Whatever a read is asked for, it raises a `ProviderError` or nothing."""
    await trial.seed(trial.key())
    provider = await trial.open()
    for version in ("", "?", "-1", "9" * 400, "ä", "\n", "../x"):
        found = await trial.answer(provider, trial.key("no such key"), version)
        check(isinstance(found, ProviderError), "what is not there has a value")


CASES: Final[tuple[Case, ...]] = (denied, bad_log_in, expired, throttled, timed_out, server_error, refused, oversize, odd_versions)
