"""The tree of errors is whole: each class is drawn, and each ends in a reason that users can look up."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import keyturn
from keyturn.model import errors
from keyturn.model.errors import Blame, KeyturnError
from keyturn.model.status import REASONS, Polarity


def tree(root: type[KeyturnError] = KeyturnError) -> Iterator[type[KeyturnError]]:
    """Every class of error there is, in every module."""
    for module in pkgutil.walk_packages(keyturn.__path__, "keyturn."):
        if module.name != "keyturn.__main__":
            importlib.import_module(module.name)
    waiting = [root]
    while waiting:
        found = waiting.pop()
        if found.__module__.startswith("keyturn."):
            yield found
            waiting += found.__subclasses__()


ALL = sorted(set(tree()), key=lambda error: error.__qualname__)
# A class that is only raised as one of its subclasses needs no reason of its own.
RAISED = [error for error in ALL if not error.__subclasses__() or error.reason in REASONS]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
def test_an_error_ends_in_a_reason_of_the_table(error: type[KeyturnError]) -> None:
    assert error.reason in REASONS
    assert REASONS[error.reason].polarity is not Polarity.NONE
    assert isinstance(error.retry, bool)
    assert isinstance(error.blame, Blame)


def test_the_drawing_names_every_class_once() -> None:
    drawing = inspect.getdoc(errors) or ""
    ours = [error.__name__ for error in ALL if error.__module__ == errors.__name__]
    drawn = [re.findall(rf"\b{name}\b", drawing) for name in ours]
    assert {name: len(found) for name, found in zip(ours, drawn, strict=True) if len(found) != 1} == {}


def test_every_error_has_a_docstring_of_its_own() -> None:
    assert [error.__name__ for error in ALL if not error.__doc__] == []
