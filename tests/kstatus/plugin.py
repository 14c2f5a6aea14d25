"""A pytest plugin: every status that a test sees is checked.

In this process those that decide/summary.py makes; in a cluster those that a namespace has held, one after the other,
once the test has named it to the fixture `statuses`.
"""

import functools
import typing
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from complaints import complain
from controlplane.plane import ControlPlane
from keyturn.decide import summary
from keyturn.decide.summary import CHECK_PERIOD_S
from keyturn.model.objects import Managed, ProviderObject
from keyturn.model.status import ProviderStatus, Status, provider_status_as_dict, status_as_dict
from kstatus.history import histories, mark
from kstatus.promises import changes, problems
from kstatus.rules import Json

_STATUSES = pytest.StashKey["Statuses"]()
_made: list[str] = []  # what was wrong with those that were made here


@dataclass(slots=True)
class Statuses:
    """The namespaces whose objects are checked when the test ends, and from where on."""

    _watched: list[tuple[ControlPlane, str, str, float]] = field(default_factory=list)

    def watch(self, plane: ControlPlane, namespace: str, *, check_period_s: float = CHECK_PERIOD_S) -> None:
        """From now on, all of our objects in it, and those that are in none. The period is the operator's setting."""
        self._watched.append((plane, namespace, mark(plane), check_period_s))

    def check(self) -> Iterator[str]:
        """What was wrong with any version of them."""
        for plane, namespace, since, period_s in self._watched:
            for versions in histories(plane, namespace, since):
                yield from (problem for version in versions for problem in problems(version))
                yield from (problem for before, after in pairwise(versions) for problem in changes(before, after, period_s))


@pytest.fixture
def statuses(request: pytest.FixtureRequest) -> Statuses:
    """Takes the namespaces whose statuses are checked."""
    item: pytest.Item = request.node
    return item.stash.setdefault(_STATUSES, Statuses())


def pytest_configure() -> None:
    """Has every function that makes a status look at what it made."""
    for name, function in vars(summary).copy().items():
        if name.startswith("_") or getattr(function, "__module__", "") != summary.__name__ or not callable(function):
            continue
        if typing.get_type_hints(function).get("return") in (Status, ProviderStatus):
            setattr(summary, name, _observed(function))


def _observed(make: Callable[..., Status | ProviderStatus]) -> Callable[..., Status | ProviderStatus]:
    @functools.wraps(make)
    def made(about: Managed | ProviderObject, *arguments: Any, **named: Any) -> Status | ProviderStatus:
        status = make(about, *arguments, **named)
        before, after = (_object(about, version) for version in (about.status, status))
        _made.extend(problems(after) + changes(before, after, named.get("period_s", CHECK_PERIOD_S)))
        return status

    return made


def _object(about: Managed | ProviderObject, status: Status | ProviderStatus) -> Json:
    raw = status_as_dict(status) if isinstance(status, Status) else provider_status_as_dict(status)
    meta = {"name": about.ref.name, "namespace": about.ref.namespace, "generation": about.generation}
    return {"kind": str(about.ref.kind), "metadata": meta, "status": {name: value for name, value in raw.items() if value is not None}}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Before fixtures take the cluster away."""
    if _STATUSES in item.stash:
        complain(item, *item.stash[_STATUSES].check())
    complain(item, *seen())
    return (yield)


def seen() -> list[str]:
    """What was wrong with statuses that were made in this process, since it was asked last."""
    found = list(_made)
    _made.clear()
    return found
