"""A pytest plugin: the control plane that a whole run shares, and CI's rule on skips.

Under xdist one keeper stands in the process that starts the workers; the first worker that wants a control plane
starts it there, and the others attach. It ends with the run, however that ends.
"""

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from controlplane.hold import Hold
from controlplane.plane import ControlPlane

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts in the background without Ctrl-C, and so would we all that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

BY_DESIGN = "by design: "  # how the reason of a skip begins that is no missing part of the machine
_HOLD = pytest.StashKey[Hold]()
_FOLDER = "controlplane_folder"


@pytest.fixture(scope="session")
def plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """The shared control plane. Use a namespace of your own, and leave its servers alone: for that there is `own_plane`."""
    folder = getattr(request.config, "workerinput", {}).get(_FOLDER)
    with ControlPlane.share(Path(folder)) if folder else ControlPlane.run() as shared:
        yield shared


@pytest.fixture
def own_plane() -> Iterator[ControlPlane]:
    """A control plane for one test, which may stop, kill and compact it. Takes five seconds."""
    with ControlPlane.run() as own:
        yield own


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In xdist's controller, for each worker: tells it where the keeper of this run is."""
    if _HOLD not in node.config.stash:
        node.config.stash[_HOLD] = Hold.open()
    node.workerinput[_FOLDER] = str(node.config.stash[_HOLD].folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Lets go of the keeper, which ends what the workers started."""
    if _HOLD in config.stash:
        config.stash[_HOLD].close()
        del config.stash[_HOLD]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that was skipped because a part is missing has failed."""
    report = yield
    return _judged(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """And so has a file of tests."""
    report = yield
    return _judged(report)


_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def _judged(report: _Report) -> _Report:
    if "KEYTURN_CI" not in os.environ or not report.skipped or hasattr(report, "wasxfail"):
        return report
    # A skip's representation is (file, line, "Skipped: reason").
    reason = str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.startswith(BY_DESIGN):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where no part may be missing: {reason}"
    return report
