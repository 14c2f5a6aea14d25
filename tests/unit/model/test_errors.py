"""The tree of errors: each has a reason that the table knows, and says who has to act."""

import copy
import pickle

import pytest

from keyturn.model import errors
from keyturn.model.errors import AlreadyExists, Blame, ClusterError, KeyturnError, MissingExtra, ProviderError, Refused, Throttled
from keyturn.model.status import REASONS

ALL = sorted((c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, KeyturnError)), key=lambda c: c.__name__)
LEAVES = [c for c in ALL if not c.__subclasses__() and c is not Refused]


@pytest.mark.parametrize("error", LEAVES, ids=lambda c: c.__name__)
def test_the_reason_of_every_error_is_in_the_table(error: type[KeyturnError]) -> None:
    assert error.reason in REASONS
    assert error.reason != "Synced"


@pytest.mark.parametrize("error", ALL, ids=lambda c: c.__name__)
def test_every_error_says_who_has_to_act(error: type[KeyturnError]) -> None:
    assert isinstance(error.blame, Blame)
    assert error.__doc__


@pytest.mark.parametrize("error", ALL, ids=lambda c: c.__name__)
def test_the_tree_in_the_docstring_names_every_error(error: type[KeyturnError]) -> None:
    assert error.__name__ in (errors.__doc__ or ""), "the drawing at the top of model/errors.py is the map"


@pytest.mark.parametrize(("request_id", "text"), [("", "no"), ("r-1", "no (request r-1)")])
def test_a_provider_error_names_its_request(request_id: str, text: str) -> None:
    assert str(ProviderError("no", request_id=request_id)) == text


def test_a_provider_error_can_be_copied_for_each_waiter() -> None:
    made = copy.copy(Throttled("slow", request_id="r-1", retry_after=3.0))
    assert (type(made), str(made), made.request_id, made.retry_after) == (Throttled, "slow (request r-1)", "r-1", 3.0)


def test_a_cluster_error_tells_status_and_causes() -> None:
    made = AlreadyExists("there", status=409, causes=("metadata.name",), retry_after=1.0)
    assert isinstance(made, ClusterError)
    assert (made.status, made.causes, made.retry_after, str(made)) == (409, ("metadata.name",), 1.0, "there")


def test_a_missing_extra_names_the_command_that_brings_it() -> None:
    assert "pip install 'keyturn[aws]'" in str(MissingExtra("aws", "spec.provider.aws"))


def test_errors_pickle_without_losing_their_text() -> None:
    assert str(pickle.loads(pickle.dumps(ProviderError("no")))) == "no"
