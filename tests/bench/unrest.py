"""The phases in which somebody changes things: edits of Secrets, new values at the provider, with and without refreshes."""

import math
import random
import time
from collections.abc import Sequence
from statistics import median

from bench.pace import Pace
from bench.rig import Rig
from bench.sight import Name, Sight
from bench.sources import FIELD, new_value
from cluster.shop import encoded

_REST_S = 0.1  # between two edits, so that each is timed for itself
_LIMIT_S = 120.0
_MOST_EDITS = 200


def drift_idle(rig: Rig, pace: Pace) -> dict[str, float]:
    """Repairs while nothing else is at work."""
    with Sight(rig.plane) as sight:
        took = [_repair(rig, sight, name) for name in rig.names[: pace.drifts]]
    return {"drift_p50_ms": 1000 * median(took), "drift_p95_ms": 1000 * percentile(took, 0.95)}


def drift_loaded(rig: Rig, pace: Pace) -> dict[str, float]:
    """Repairs over whole intervals in which all objects are refreshed; each of another Secret, since who comes again is a rival."""
    names = rig.names[pace.drifts :][:_MOST_EDITS]
    window_s, began, took = pace.cycles * pace.interval_s, time.monotonic(), []
    with Sight(rig.plane) as sight:
        for n, name in enumerate(names):
            time.sleep(max(0.0, began + n * window_s / len(names) - time.monotonic()))
            took.append(_repair(rig, sight, name))
    return {"drift_loaded_p95_ms": 1000 * percentile(took, 0.95)}


def changes(rig: Rig, pace: Pace) -> dict[str, float]:
    """New values at the provider, at moments that have nothing to do with the refreshes."""
    dice, since, values = random.Random(rig.count), {}, {name: new_value() for name in rig.names[-pace.changes :]}
    with Sight(rig.plane) as sight:
        for name, value in values.items():
            sight.value(name)
            since[name] = time.monotonic()
            rig.source.change(name[1], value)
            rig.pause(dice.uniform(0, 2 * pace.interval_s / len(values)), "values change at the provider")
        took = [sight.took(name, value, since[name], _LIMIT_S) for name, value in values.items()]
    return {"change_p50_s": median(took), "change_worst_s": max(took)}


def await_refresh(rig: Rig, pace: Pace) -> None:
    """Returns in the middle between two refreshes, so that an interval holds one whole cycle."""
    before = rig.rounds()
    rig.wait_until(lambda: rig.rounds() > before, 10 * pace.interval_s + _LIMIT_S, "a refresh comes")
    rig.settle("a refresh", rig.operator.pid, limit_s=pace.interval_s / 2)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that is not exceeded by that share of them."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _repair(rig: Rig, sight: Sight, name: Name) -> float:
    """Seconds from an edit until the watch saw it undone."""
    rig.show("edits are undone")
    right = sight.value(name)
    began = time.monotonic()
    rig.api.merge("Secret", *name, {"data": encoded(**{FIELD: new_value()})}, fieldManager="bench")
    took = sight.took(name, right, began, _LIMIT_S)
    time.sleep(_REST_S)
    return took
