"""A pytest plugin: the fixture `canary`, and the look at all sinks, before fixtures go and once more when they have gone."""

from collections.abc import Generator

import pytest

import reader
from canary.birds import Canary
from canary.witness import Witness
from complaints import complain

_CANARY = pytest.StashKey[Canary]()
_witness = Witness()


def pytest_configure() -> None:
    _witness.attend()


def pytest_unconfigure() -> None:
    reader.close_all()


@pytest.fixture
def canary(request: pytest.FixtureRequest) -> Canary:
    """Gives secret values, and takes the sinks that this test is watched at."""
    item: pytest.Item = request.node
    return item.stash[_CANARY]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_CANARY] = Canary()
    _witness.forget()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Namespaces, processes and files are there until fixtures take them away."""
    if _CANARY in item.stash:
        complain(item, *item.stash[_CANARY].scan())
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown" and _CANARY in item.stash:
        canary = item.stash[_CANARY]
        said = [(where, text) for where, text in report.sections if "stdout" in where or "stderr" in where]
        complain(item, *canary.leaks(_witness.texts()), *canary.leaks(said), *canary.scan_files())
        _witness.forget()
    return report
