"""Whose a Secret is, and when it may be taken over (cluster rules 1, 4, 6)."""

from dataclasses import replace

import pytest

from builders import desired, live, managed, order, synced
from keyturn.decide.diff import Sight, diff
from keyturn.model.errors import KeyturnError, TargetConflict, TargetNotOwned
from keyturn.model.ids import MANAGED_LABEL, OWNER_ANNOTATION
from keyturn.model.objects import Managed
from keyturn.model.order import Order
from keyturn.model.plan import Action, Live, Owner, Plan

ME = managed()
IN_SYNC = synced(ME)
SECRET = desired(ME)
LIVE = live(ME)
FOREIGN = replace(LIVE, uid="uid-other", annotations={}, labels={}, owners=(), managers={"kubectl": LIVE.fields_of("keyturn/app-db")})


def step(of: Managed, there: Live | None, *, rival_alive: bool = False, former: Live | None = None) -> Plan:
    assert isinstance(of.order, Order)
    return diff(of, of.order, desired(of), Sight(there, rival_alive, former))


OURS_REF = (Owner("ManagedSecret", "app-db", "uid-of-app-db"),)
OUR_FIELDS = LIVE.managers
MARK = {OWNER_ANNOTATION: "app-db"}


@pytest.mark.parametrize(
    ("status", "there", "rival_alive", "is_ours"),
    [
        pytest.param(True, LIVE, False, True, id="uid, mark, fields"),
        pytest.param(True, replace(FOREIGN, uid="uid-secret"), False, True, id="uid alone, all else stripped"),
        pytest.param(False, replace(FOREIGN, annotations=MARK, managers=OUR_FIELDS), False, True, id="mark and our fields"),
        pytest.param(False, replace(FOREIGN, annotations=MARK, owners=OURS_REF), False, True, id="mark and our reference"),
        pytest.param(False, replace(FOREIGN, annotations=MARK), False, False, id="the mark alone can be set by anybody"),
        pytest.param(False, replace(FOREIGN, labels={MANAGED_LABEL: "true"}), False, False, id="the label alone can be set by anybody"),
        pytest.param(False, replace(FOREIGN, managers=OUR_FIELDS), False, False, id="our fields without the mark"),
        pytest.param(False, replace(FOREIGN, owners=OURS_REF), False, False, id="our reference without the mark"),
        pytest.param(True, replace(FOREIGN, annotations=MARK), False, False, id="another incarnation with the mark alone"),
        pytest.param(True, replace(LIVE, annotations={OWNER_ANNOTATION: "other"}), False, True, id="our uid, the mark of a dead rival"),
        pytest.param(True, replace(LIVE, annotations={OWNER_ANNOTATION: "other"}), True, False, id="our uid, the mark of a living rival"),
        pytest.param(False, replace(LIVE, annotations={OWNER_ANNOTATION: "other"}), False, False, id="a dead rival's"),
    ],
)
def test_ours_is_what_status_names_or_what_carries_mark_and_proof(*, status: bool, there: Live, rival_alive: bool, is_ours: bool) -> None:
    of = IN_SYNC if status else ME
    if is_ours:
        assert step(of, there, rival_alive=rival_alive).action in (Action.NOTHING, Action.CHANGE)
    else:
        with pytest.raises((TargetNotOwned, TargetConflict)):
            step(of, there, rival_alive=rival_alive)


CONTROLLED = replace(FOREIGN, owners=(Owner("ExternalSecret", "eso-db", "uid-eso", controller=True),))
REFERENCED = replace(FOREIGN, owners=(Owner("ConfigMap", "x", "uid-x"),))
RIVALS = replace(FOREIGN, annotations={OWNER_ANNOTATION: "other"})


@pytest.mark.parametrize(
    ("there", "rival_alive", "adopt", "error", "says"),
    [
        pytest.param(FOREIGN, False, False, TargetNotOwned, "adopt: true", id="not asked to adopt"),
        pytest.param(FOREIGN, False, True, None, "", id="adopt"),
        pytest.param(REFERENCED, False, True, None, "", id="adopt beside an owner that is no controller"),
        pytest.param(CONTROLLED, False, True, TargetNotOwned, "ExternalSecret eso-db", id="never from a controller"),
        pytest.param(RIVALS, True, False, TargetConflict, "ManagedSecret other", id="a living rival's"),
        pytest.param(RIVALS, True, True, TargetConflict, "ManagedSecret other", id="a living rival's, with adopt"),
        pytest.param(RIVALS, False, False, TargetNotOwned, "adopt: true", id="a dead rival's"),
        pytest.param(RIVALS, False, True, None, "", id="adopt a dead rival's"),
    ],
)
def test_a_foreign_secret_is_adopted_only_when_asked_and_free(
    *, there: Live, rival_alive: bool, adopt: bool, error: type[KeyturnError] | None, says: str
) -> None:
    of = managed("app-db", order(adopt=adopt))
    if error is None:
        plan = step(of, there, rival_alive=rival_alive)
        assert (plan.action, plan.needs_owner_alive) == (Action.ADOPT, True)
    else:
        with pytest.raises(error, match=says):
            step(of, there, rival_alive=rival_alive)
