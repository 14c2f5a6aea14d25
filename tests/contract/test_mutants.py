"""The suite notices: on each mutant its case fails, and no other that is not named. `make contract-mutants` runs this."""

import pytest

from contract import mutants_of_faults, mutants_of_reads, mutants_of_stages, mutants_of_writes
from contract.mutants import ANY, MUTANTS, Mutant, Surveying, bench_of, failing
from keyturn.ports import Provider
from keyturn.providers.env import EnvProvider
from keyturn.testing.fake_server import FakeClient
from keyturn.testing.provider_suite import CASES

ROOMS = (mutants_of_reads, mutants_of_faults, mutants_of_writes, mutants_of_stages)
RIGHT: tuple[type[Provider], ...] = (EnvProvider, FakeClient, Surveying, mutants_of_writes.Writing)
MOST_BROAD = 12


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
def test_what_mutants_are_made_of_is_right(kind: type[Provider]) -> None:
    assert failing(lambda: bench_of(kind)) == {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_does_not_survive(mutant: Mutant) -> None:
    killed = failing(lambda: mutant.bench)
    assert mutant.case in killed, f"{mutant} survived"
    if mutant.also != ANY:
        assert set(killed) == {mutant.case, *mutant.also}


def test_each_case_has_a_mutant_and_each_mutant_a_case() -> None:
    assert all(room for room in ROOMS)
    assert {mutant.case for mutant in MUTANTS} == {case.name for case in CASES}
    assert {name for mutant in MUTANTS for name in mutant.also - ANY} <= {case.name for case in CASES}


def test_few_mutants_are_so_broad_that_any_case_may_fail_on_them() -> None:
    assert sum(mutant.also == ANY for mutant in MUTANTS) <= MOST_BROAD
    assert len({str(mutant) for mutant in MUTANTS}) == len(MUTANTS)
