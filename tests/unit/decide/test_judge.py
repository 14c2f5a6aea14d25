"""What follows from a failed sync."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from builders import condition, managed, order, synced
from keyturn.decide.judge import Judgement, Patience, Record, judge, stale_after_s
from keyturn.model.errors import (
    AccessDenied,
    AlreadyExists,
    AuditUnavailable,
    AuthFailed,
    Busy,
    ClusterConflict,
    FingerprintKeyChanged,
    Forbidden,
    KeyConflict,
    KeyturnError,
    NamespaceTerminating,
    ProviderNotAllowed,
    ProviderNotFound,
    ProviderNotReady,
    Rejected,
    SourceNotFound,
    SourcePartlyMissing,
    TargetConflict,
    TargetNotOwned,
    Throttled,
    Unavailable,
    Unprocessable,
)
from keyturn.model.objects import Managed
from keyturn.model.order import Order, RefreshPolicy
from keyturn.model.status import REASONS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IN_SYNC = synced(managed())


def verdict(
    error: KeyturnError,
    of: Managed = IN_SYNC,
    *,
    stands: bool = True,
    age: float = 0.0,
    failing: float = 0.0,
    attempts: int = 1,
    entropy: float = 0.0,
) -> Judgement:
    record = Record(NOW - timedelta(seconds=age), NOW - timedelta(seconds=failing), attempts)
    return judge(error, of, secret_stands=stands, record=record, now=NOW, entropy=entropy, patience=Patience())


OUTAGES = [Unavailable("no answer"), Throttled("slow down"), ProviderNotReady("not ready")]
IDS = [type(e).__name__ for e in OUTAGES]


@pytest.mark.parametrize("error", OUTAGES, ids=IDS)
def test_an_outage_of_a_synced_object_is_silent_until_it_is_stale(error: KeyturnError) -> None:
    assert verdict(error, age=3 * 3600 - 1).reason == ""
    stale = verdict(error, age=3 * 3600)
    assert (stale.reason, stale.stalled) == ("Stale", False)


@pytest.mark.parametrize("error", OUTAGES, ids=IDS)
def test_a_silent_object_comes_back_before_it_is_stale(error: KeyturnError) -> None:
    delay = verdict(error, age=3 * 3600 - 10, attempts=20).delay_s
    assert delay is not None
    assert 0 < delay <= 10


@pytest.mark.parametrize("error", OUTAGES, ids=IDS)
@pytest.mark.parametrize(
    ("of", "stands"),
    [
        pytest.param(managed(), False, id="never synced"),
        pytest.param(replace(IN_SYNC, generation=2), True, id="nothing synced for this generation"),
        pytest.param(IN_SYNC, False, id="the Secret is gone or edited and cannot be repaired"),
    ],
)
def test_an_outage_is_said_at_once_where_the_secret_does_not_stand_as_ordered(*, error: KeyturnError, of: Managed, stands: bool) -> None:
    assert verdict(error, of, stands=stands).reason == error.reason


@pytest.mark.parametrize(
    ("interval", "limit"),
    [
        pytest.param(3600.0, 10800.0, id="three intervals"),
        pytest.param(30.0, 300.0, id="five minutes at least"),
        pytest.param(0.0, None, id="never"),
    ],
)
def test_a_value_is_stale_after_three_intervals_or_five_minutes(interval: float, limit: float | None) -> None:
    assert stale_after_s(order(interval_s=interval), Patience()) == limit


@pytest.mark.parametrize("policy", [RefreshPolicy.ON_CHANGE, RefreshPolicy.CREATED_ONCE])
def test_what_is_not_refreshed_is_never_stale(policy: RefreshPolicy) -> None:
    of = replace(IN_SYNC, order=order(refresh=policy))
    assert verdict(Unavailable("x"), of, age=1e8).reason == ""


def test_stale_stays_stale_until_the_provider_is_back() -> None:
    of = replace(IN_SYNC, status=replace(IN_SYNC.status, conditions=(condition("Ready", "False", "Stale"),)))
    again = verdict(Unavailable("x"), of, age=0)
    assert again.reason == "Stale"
    assert again.message == verdict(Unavailable("x"), age=1e6).message, "the same words, else it would be a write"


@pytest.mark.parametrize("error", [AccessDenied("no"), AuthFailed("no")], ids=["AccessDenied", "AuthFailed"])
@pytest.mark.parametrize(("failing", "stalled"), [(0.0, False), (599.0, False), (600.0, True)])
def test_a_denial_is_said_at_once_and_stalls_after_ten_minutes(*, error: KeyturnError, failing: float, stalled: bool) -> None:
    found = verdict(error, failing=failing)
    assert (found.reason, found.stalled) == (error.reason, stalled)
    assert found.delay_s is not None, "IAM needs minutes, and a person may mend it any time"


def test_a_denial_that_was_stalled_stays_so_after_a_restart() -> None:
    conditions = (condition("Ready", "False", "AccessDenied"), condition("Stalled", "True", "AccessDenied"))
    of = replace(IN_SYNC, status=replace(IN_SYNC.status, conditions=conditions))
    assert verdict(AccessDenied("no"), of).stalled
    assert not verdict(AccessDenied("no"), replace(of, generation=2)).stalled


@pytest.mark.parametrize(
    ("error", "reason", "stalled", "waits"),
    [
        pytest.param(Rejected("spec.x"), "InvalidSpec", True, True, id="InvalidSpec"),
        pytest.param(KeyConflict("a b"), "KeyConflict", True, True, id="KeyConflict"),
        pytest.param(ProviderNotAllowed("x"), "ProviderNotAllowed", True, True, id="ProviderNotAllowed"),
        pytest.param(TargetNotOwned("x"), "TargetNotOwned", True, False, id="TargetNotOwned"),
        pytest.param(TargetConflict("x"), "TargetConflict", True, False, id="TargetConflict"),
        pytest.param(ProviderNotFound("x"), "ProviderNotFound", False, True, id="ProviderNotFound"),
        pytest.param(SourceNotFound("x"), "SourceNotFound", False, False, id="SourceNotFound"),
        pytest.param(SourcePartlyMissing("x"), "SourcePartlyMissing", False, False, id="SourcePartlyMissing"),
        pytest.param(Forbidden("x"), "Progressing", False, False, id="Forbidden"),
        pytest.param(AuditUnavailable("x"), "AuditUnavailable", False, False, id="AuditUnavailable"),
        pytest.param(Unprocessable("x", causes=("metadata.labels",)), "InvalidSpec", True, True, id="what the spec makes is refused"),
        pytest.param(Unprocessable("x", causes=("type", "data[a]")), "SourceInvalid", False, False, id="a value is refused"),
        pytest.param(Unprocessable("x"), "Progressing", False, False, id="a policy refuses"),
    ],
)
def test_each_failure_has_its_reason_and_its_way_back(*, error: KeyturnError, reason: str, stalled: bool, waits: bool) -> None:
    found = verdict(error)
    assert (found.reason, found.stalled, found.delay_s is None) == (reason, stalled, waits)


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        pytest.param(NamespaceTerminating("x"), None, id="a namespace that ends is no denial and nobody's news"),
        pytest.param(ClusterConflict("x"), 0.0, id="look again at once"),
        pytest.param(AlreadyExists("x"), 0.0, id="there already: look again at once"),
        pytest.param(Unprocessable("x", causes=("metadata.uid",)), 0.0, id="a successor: look again at once"),
        pytest.param(Busy("x"), 0.5, id="the API server is away"),
        pytest.param(Busy("x", retry_after=7.0), 7.0, id="the API server names its time"),
        pytest.param(FingerprintKeyChanged("x"), 30.0, id="the operator's own trouble"),
    ],
)
def test_what_is_between_us_and_the_api_server_is_not_said_on_the_object(error: KeyturnError, delay: float | None) -> None:
    assert (verdict(error).reason, verdict(error).delay_s) == ("", delay)


def test_conflicts_that_go_on_do_not_loop_hot() -> None:
    delays = [verdict(ClusterConflict("x"), attempts=n).delay_s for n in range(1, 8)]
    assert delays[0] == 0.0
    assert all(later >= earlier for earlier, later in pairwise(delays))  # type: ignore[operator]  # none is None
    assert delays[-1] >= 16  # type: ignore[operator]  # none is None


@pytest.mark.parametrize("reason", [r for r, row in REASONS.items() if row.retry_s is not None and r != "TargetConflict"])
def test_delays_double_up_to_their_limit_and_are_spread(reason: str) -> None:
    error = type("Told", (SourceNotFound,), {"reason": reason})("x")
    spread = [[verdict(error, stands=False, attempts=n, entropy=e).delay_s or 0.0 for e in (0.0, 0.999)] for n in range(1, 30)]
    assert spread[0][0] == (REASONS[reason].retry_s or 0) / 2
    assert all(low < high for low, high in spread)
    assert all(later >= earlier for (earlier, _), (later, _) in pairwise(spread))
    assert REASONS[reason].retry_max_s * 0.99 <= spread[-1][1] <= REASONS[reason].retry_max_s


def test_the_pause_that_a_provider_asks_for_is_kept_and_not_all_come_back_at_its_end() -> None:
    early, late = (verdict(Throttled("x", retry_after=77.0), stands=False, entropy=e).delay_s or 0.0 for e in (0.0, 0.999))
    assert 77.0 < early < late < 77.0 + (REASONS["Throttled"].retry_s or 0.0)


def test_no_message_names_the_one_call_that_failed() -> None:
    """Each has another id, and each would be a write of the status."""
    one, other = (verdict(AccessDenied("not allowed to read x", request_id=i)) for i in ("req-1", "req-2"))
    assert one == other
    assert one.message == "not allowed to read x"


def test_an_invalid_spec_is_judged_like_any_other() -> None:
    of = managed("x", Rejected("spec.data: empty"))
    assert verdict(Rejected("spec.data: empty"), of, stands=False).reason == "InvalidSpec"
    assert not isinstance(of.order, Order)
