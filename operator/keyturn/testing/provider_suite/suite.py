"""Plays cases: by ``prove`` without any test framework, by `ProviderSuite` with pytest, which only then has to be installed."""

import asyncio
from typing import Any, Final

from keyturn.model.material import Cap
from keyturn.testing.provider_suite import faults, lists, reads, stages, writes
from keyturn.testing.provider_suite.bench import Bench
from keyturn.testing.provider_suite.case import BrokenPromise, Case, Ear, Skipped, Trial, check_excuses, check_fit, settled

CASES: Final[tuple[Case, ...]] = (*reads.CASES, *lists.CASES, *faults.CASES, *writes.CASES, *stages.CASES)
"""All of them, in the order of the table."""


def prove(case: Case, bench: Bench) -> None:
    """Plays a case on a bench, in an event loop of its own.

    Raises `Skipped` with the reason where it is not for this provider, and `BrokenPromise`, or whatever else the provider raised,
    where it fails.
    """
    with asyncio.Runner() as runner:
        runner.run(play(case, bench))


async def play(case: Case, bench: Bench) -> None:
    """The same within a loop that runs."""
    check_excuses(case, bench)
    before = asyncio.all_tasks()
    trial = Trial(bench)
    with Ear() as ear:
        await bench.start()
        try:
            await _try(case, trial)
        finally:
            await bench.stop()
        await settled(before)
    trial.look("the log", ear.heard)


async def _try(case: Case, trial: Trial) -> None:
    try:
        check_fit(case, await _caps(trial), trial.bench)
        async with asyncio.timeout(trial.bench.patience_s):
            await case.run(trial)
    except TimeoutError as late:
        raise BrokenPromise(f"the case did not come to its end within {trial.bench.patience_s:g} s") from late
    finally:
        await trial.close()


async def _caps(trial: Trial) -> Cap:
    """What the provider says that it can, before it was asked for anything."""
    return (await trial.open()).caps


class ProviderSuite:
    """Inherit as a class of tests, with a fixture ``bench`` that gives a new `Bench`."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", CASES, ids=str)

    def test_contract(self, case: Case, bench: Bench) -> None:
        import pytest

        reason = ""
        try:
            prove(case, bench)
        except Skipped as skipped:
            reason = str(skipped)
        if reason:
            pytest.skip(reason)
