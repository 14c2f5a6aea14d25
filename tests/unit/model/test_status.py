"""Status as it goes to the API server and comes back."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import managed, order, synced
from keyturn.decide import summary
from keyturn.model.status import (
    Condition,
    ProviderStatus,
    SourceStatus,
    Status,
    TargetStatus,
    moment,
    provider_status_as_dict,
    provider_status_from,
    status_as_dict,
    status_from,
    timestamp,
)


def merged(into: Any, patch: Any) -> Any:
    """RFC 7386, which is what the API server does with it."""
    if not isinstance(patch, Mapping):
        return patch
    made = dict(into) if isinstance(into, Mapping) else {}
    for name, member in patch.items():
        if member is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), member)
    return made


TEXT = st.text(min_size=1, max_size=20)
CONDITIONS = st.builds(Condition, TEXT, st.sampled_from(["True", "False", "Unknown"]), TEXT, TEXT, TEXT, st.integers(0, 99))
NAMES = st.lists(TEXT, max_size=4, unique=True).map(tuple)
TARGETS = st.builds(TargetStatus, TEXT, TEXT, NAMES, st.integers(0, 200), NAMES, NAMES)
SOURCES = st.lists(st.builds(SourceStatus, TEXT, TEXT, st.sampled_from(["", "3"])), max_size=4).map(tuple)
STATUSES = st.builds(
    Status,
    generation=st.integers(-1, 99),
    conditions=st.lists(CONDITIONS, max_size=3).map(tuple),
    revision=st.sampled_from(["", "12345678-abc"]),
    last_change=st.sampled_from(["", "2026-03-01T00:00:00Z"]),
    target=st.none() | TARGETS,
    sources=SOURCES,
    source_count=st.integers(0, 200),
    handled_reconcile=st.sampled_from(["", "token"]),
)
PROVIDER_STATUSES = st.builds(
    ProviderStatus,
    st.integers(-1, 99),
    st.lists(CONDITIONS, max_size=3).map(tuple),
    st.sampled_from(["", "t"]),
    NAMES,
    st.sampled_from(["", "env"]),
)


@given(STATUSES)
def test_a_status_comes_back_as_it_was_written(status: Status) -> None:
    back = status_from(merged({}, status_as_dict(status)))
    counted = status if status.source_count or not status.sources else Status(**{**_members(status), "source_count": len(status.sources)})
    assert back == counted


@given(STATUSES, STATUSES)
def test_a_status_leaves_nothing_of_the_one_before(before: Status, now: Status) -> None:
    held = merged(merged({}, status_as_dict(before)), status_as_dict(now))
    assert held == merged({}, status_as_dict(now))


@given(PROVIDER_STATUSES, PROVIDER_STATUSES)
def test_a_provider_status_comes_back_as_it_was_written(before: ProviderStatus, now: ProviderStatus) -> None:
    assert provider_status_from(merged(merged({}, provider_status_as_dict(before)), provider_status_as_dict(now))) == now


def _members(status: Status) -> dict[str, Any]:
    return {name: getattr(status, name) for name in Status.__slots__}


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"observedGeneration": -1},
        {"conditions": None, "target": None, "sources": None},
        {"target": {"name": "half"}},
        {"conditions": [{}], "sources": [{}]},
    ],
    ids=["empty", "the schema's default", "nulls", "no uid", "empty items"],
)
def test_what_is_not_of_our_shape_counts_as_never_written(raw: dict[str, Any]) -> None:
    status = status_from(raw)
    assert (status.generation, status.target, status.is_ready) == (-1, None, False)


def test_a_written_status_holds_no_null_inside_a_list() -> None:
    """A merge patch takes lists as they are, so that a null in one would reach the API server."""
    written = status_as_dict(synced(managed()).status)
    assert None not in [member for item in (*written["sources"], *written["conditions"]) for member in item.values()]


def test_the_binding_names_the_secret_for_service_bindings() -> None:
    assert status_as_dict(synced(managed("app-db", order(target="creds"))).status)["binding"] == {"name": "creds"}
    removed = summary.removed(synced(managed()), datetime(2026, 3, 1, tzinfo=UTC))
    assert status_as_dict(removed)["binding"] is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00+01:00", datetime(2026, 3, 1, 11, tzinfo=UTC)),
        ("", None),
        ("yesterday", None),
    ],
)
def test_a_moment_is_read_or_is_none(text: str, at: datetime | None) -> None:
    assert moment(text) == at


def test_timestamps_are_in_utc_with_whole_seconds() -> None:
    at = datetime(2026, 3, 1, 13, 0, 0, 999999, tzinfo=timezone(timedelta(hours=1)))
    assert timestamp(at) == "2026-03-01T12:00:00Z"
