"""A pytest plugin: what watchers found beside a test's own claims fails the test, all of it at once.

A leak or a wrong status often shows where no exception of ours could pass, such as in a task or in another process.
"""

from collections.abc import Generator

import pytest

_FOUND = pytest.StashKey[list[str]]()


def complain(item: pytest.Item, *texts: str) -> None:
    """Has the test fail in the end, with these texts among others."""
    item.stash.setdefault(_FOUND, []).extend(texts)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    found = list(dict.fromkeys(item.stash.get(_FOUND, ())))
    if call.when != "teardown" or not found:
        return report
    told = "\n".join(found)
    if report.passed:
        report.outcome, report.longrepr = "failed", told
    else:
        report.sections.append(("complaints", told))
    return report
