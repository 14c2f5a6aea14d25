"""When a value is read again, and whether an object needs anything."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import condition, live, managed, order, synced
from keyturn.decide.refresh import Need, need_of, next_slot, refreshes
from keyturn.model.objects import Managed
from keyturn.model.order import Order, RefreshPolicy
from keyturn.model.plan import Live
from keyturn.model.status import TargetStatus

ME = synced(managed())
LIVE = live(ME)
ONCE = RefreshPolicy.CREATED_ONCE
FAILED = replace(ME, status=replace(ME.status, conditions=(condition("Ready", "False", "SourceNotFound"),)))
SUSPENDED = replace(ME, status=replace(ME.status, conditions=(*ME.status.conditions, condition("Suspended"))))
OTHER_UID = replace(ME, status=replace(ME.status, target=TargetStatus("app-db", "uid-other", ("password",), 1)))


@pytest.mark.parametrize(
    ("of", "there", "dirty", "need"),
    [
        pytest.param(ME, LIVE, False, Need.NOTHING, id="as written"),
        pytest.param(ME, LIVE, True, Need.SYNC, id="something may have changed"),
        pytest.param(ME, None, False, Need.SYNC, id="the Secret is gone"),
        pytest.param(ME, replace(LIVE, managers={}), False, Need.SYNC, id="drift"),
        pytest.param(ME, replace(LIVE, annotations={**LIVE.annotations, "x": "y"}), False, Need.NOTHING, id="a foreign annotation"),
        pytest.param(OTHER_UID, LIVE, False, Need.SYNC, id="another incarnation"),
        pytest.param(replace(ME, generation=2), LIVE, False, Need.SYNC, id="a new spec"),
        pytest.param(replace(ME, reconcile_token="now"), LIVE, False, Need.SYNC, id="a request"),
        pytest.param(FAILED, LIVE, False, Need.SYNC, id="not Ready"),
        pytest.param(SUSPENDED, LIVE, False, Need.SYNC, id="was suspended"),
        pytest.param(managed(), LIVE, False, Need.SYNC, id="never synced"),
    ],
)
def test_what_an_object_needs(*, of: Managed, there: Live | None, dirty: bool, need: Need) -> None:
    assert isinstance(of.order, Order)
    assert need_of(of, of.order, there, is_dirty=dirty) is need


@pytest.mark.parametrize(
    ("of", "there", "dirty", "need"),
    [
        pytest.param(ME, LIVE, False, Need.NOTHING, id="as written"),
        pytest.param(ME, LIVE, True, Need.NOTHING, id="a changed source is no news"),
        pytest.param(
            ME, replace(LIVE, managers={"kubectl": LIVE.managers["keyturn/app-db"]}), False, Need.NOTHING, id="edits are left alone"
        ),
        pytest.param(replace(ME, generation=2), LIVE, False, Need.STATUS, id="a new spec is noted"),
        pytest.param(replace(ME, reconcile_token="now"), LIVE, False, Need.STATUS, id="a request is answered without a fetch"),
        pytest.param(managed(), LIVE, False, Need.STATUS, id="made anew over its Secret"),
        pytest.param(ME, None, False, Need.SYNC, id="a deleted Secret is made anew"),
        pytest.param(managed(), None, False, Need.SYNC, id="nothing there yet"),
        pytest.param(managed(), replace(LIVE, annotations={}), False, Need.SYNC, id="not ours"),
    ],
)
def test_created_once_is_never_fetched_again_while_its_secret_stands(*, of: Managed, there: Live | None, dirty: bool, need: Need) -> None:
    assert need_of(of, order(refresh=ONCE), there, is_dirty=dirty) is need


@pytest.mark.parametrize(
    ("policy", "interval", "again"),
    [
        (RefreshPolicy.PERIODIC, 3600.0, True),
        (RefreshPolicy.PERIODIC, 0.0, False),
        (RefreshPolicy.ON_CHANGE, 3600.0, False),
        (RefreshPolicy.CREATED_ONCE, 3600.0, False),
    ],
)
def test_only_periodic_with_an_interval_is_read_again_by_itself(*, policy: RefreshPolicy, interval: float, again: bool) -> None:
    assert refreshes(order(refresh=policy, interval_s=interval)) is again


INTERVALS = st.floats(min_value=1.0, max_value=87_600 * 3600.0)
TIMES = st.floats(min_value=0.0, max_value=4e9)
UIDS = st.uuids().map(str)


@given(UIDS, INTERVALS, TIMES)
def test_the_next_slot_is_ahead_and_within_an_interval(uid: str, interval: float, now: float) -> None:
    slot = next_slot(uid, interval, now)
    assert now < slot <= now + interval * (1 + 1e-9) + 1e-6


@given(UIDS, INTERVALS, TIMES, st.floats(min_value=0.0, max_value=1.0, exclude_max=True))
def test_a_restart_moves_no_slot(uid: str, interval: float, now: float, share: float) -> None:
    slot = next_slot(uid, interval, now)
    later = now + share * (slot - now)
    if later < slot - 1e-3:
        assert next_slot(uid, interval, later) == pytest.approx(slot, abs=1e-3)


@given(UIDS, INTERVALS, TIMES)
def test_slots_come_one_interval_after_the_other(uid: str, interval: float, now: float) -> None:
    first = next_slot(uid, interval, now)
    assert next_slot(uid, interval, first + interval / 1000) == pytest.approx(first + interval, abs=1e-3)


def test_slots_of_many_objects_are_spread_over_the_interval() -> None:
    slots = [next_slot(f"uid-{n}", 3600.0, 1e9) - 1e9 for n in range(1000)]
    quarters = [sum(q * 900 < s <= (q + 1) * 900 for s in slots) for q in range(4)]
    assert min(quarters) > 180


def test_a_slot_is_reached_and_then_behind_also_where_floats_round() -> None:
    for n in range(2000):
        now = 1.7e9 + n / 7
        slot = next_slot(f"uid-{n}", 1.0, now)
        assert next_slot(f"uid-{n}", 1.0, slot) > slot
