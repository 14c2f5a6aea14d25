"""What our statuses promise beyond kstatus: rule 5 of the API, for one object and for two versions of it."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from keyturn.decide.summary import CHECK_PERIOD_S, MESSAGE_LIMIT
from keyturn.model.status import DENIALS, REASONS, Polarity
from kstatus.rules import Json, conditions

ABNORMAL = ("Reconciling", "Stalled")
WELL_FOR_PROVIDERS = frozenset({"Valid", "CheckedPerNamespace"})

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_CAMEL_CASE = re.compile(r"[A-Z][A-Za-z]+")
_UNIT = r"(?:ms|s|m|h|seconds?|minutes?|hours?|days?)"
_MOVING = {
    "a date": re.compile(r"\d{4}-\d\d-\d\d"),
    "a time": re.compile(r"\b\d{1,2}:\d\d(?::\d\d|\b)"),
    "a Unix time": re.compile(r"\b1[6-9]\d{8}(?:\d{3})?\b"),
    "an age or a delay": re.compile(rf"\b(?:in|after|for|since) \d+(?:\.\d+)? ?{_UNIT}\b|\bago\b"),
    "a counter": re.compile(r"\b(?:attempt|retry|try) #?\d+|\b\d+ (?:attempts|retries|failures|tries)\b"),
    "a request's id": re.compile(r"\(request "),
}
_DIGITS = re.compile(r"\d+")
_TIMES_ALONE = ("lastChangeTime", "lastCheckTime")


def problems(obj: Json) -> list[str]:
    """What is wrong with one object's status; empty where all is as promised."""
    return [f"{_name(obj)}: {problem}" for problem in _problems(obj)]


def _problems(obj: Json) -> Iterator[str]:
    status, found = obj.get("status") or {}, conditions(obj)
    observed = status.get("observedGeneration")
    by_type = {condition["type"]: condition for condition in found}
    if len(by_type) != len(found):
        yield f"a condition stands twice: {[condition['type'] for condition in found]}"
    if observed is None:
        yield "status without observedGeneration, which kstatus takes for Current"
    elif observed > obj["metadata"].get("generation", observed):
        yield f"generation {observed} was observed before it was there"
    if (observed in (None, -1)) != (not found):
        yield f"observedGeneration {observed} with {len(found)} conditions"
    for condition in found:
        yield from (f"{condition['type']}: {problem}" for problem in _of_condition(condition, observed))
    yield from _of_summary(by_type)


def _of_summary(by_type: dict[str, Json]) -> Iterator[str]:
    """Ready and what is abnormal fit together."""
    abnormal = [by_type[kind] for kind in ABNORMAL if kind in by_type]
    ready = by_type.get("Ready")
    if by_type and ready is None:
        yield "there is no Ready"
    if len(abnormal) > 1:
        yield "both Reconciling and Stalled"
    if ready is None:
        return
    if ready["status"] == "True" and abnormal:
        yield f"Ready beside {abnormal[0]['type']}"
    if ready["status"] == "False" and not abnormal:
        yield "not Ready, and neither Reconciling nor Stalled"
    if ready["status"] == "Unknown" and "Suspended" not in by_type:
        yield "Ready is Unknown, and nothing is suspended"
    for condition in abnormal:
        if (condition["reason"], condition["message"]) != (ready["reason"], ready["message"]):
            yield f"{condition['type']} says something else than Ready"


def _of_condition(condition: Json, observed: object) -> Iterator[str]:
    kind, reason, message = condition["type"], condition["reason"], condition["message"]
    if condition["status"] not in ("True", "False", "Unknown"):
        yield f"status is {condition['status']!r}"
    if kind in ABNORMAL and condition["status"] != "True":
        yield "stands although it is not True"
    if condition.get("observedGeneration") != observed:
        yield f"is about generation {condition.get('observedGeneration')}, the status about {observed}"
    if not _TIME.fullmatch(condition["lastTransitionTime"]):
        yield f"lastTransitionTime is {condition['lastTransitionTime']!r}"
    if not _CAMEL_CASE.fullmatch(reason) or reason not in (_reasons(kind, condition["status"]) or {reason}):
        yield f"{condition['status']} with reason {reason!r}"
    if not message or len(message) > MESSAGE_LIMIT:
        yield f"a message of {len(message)} characters"
    yield from (f"the message holds {what}: {message!r}" for what, pattern in _MOVING.items() if pattern.search(message))


def _reasons(kind: str, status: str) -> frozenset[str]:
    """The reasons that a condition may have; empty for those of types that have their own."""
    match kind, status:
        case "Ready", "True":
            return _with(Polarity.NONE) | WELL_FOR_PROVIDERS
        case "Ready", "False":
            return _with(Polarity.RECONCILING) | _with(Polarity.STALLED)
        case "Stalled", _:
            return _with(Polarity.STALLED) | DENIALS
        case ("Reconciling", _) | ("Ready", _):
            return _with(Polarity.RECONCILING)
        case "Suspended", _:
            return frozenset({"Suspended"})
        case _:
            return frozenset()


def _with(polarity: Polarity) -> frozenset[str]:
    return frozenset(name for name, reason in REASONS.items() if reason.polarity is polarity)


def changes(before: Json, after: Json, check_period_s: float = CHECK_PERIOD_S) -> list[str]:
    """What is wrong with one version after another of the same object; empty where all is as promised."""
    return [f"{_name(after)}: {problem}" for problem in _changes(before, after, check_period_s)]


def _changes(before: Json, after: Json, check_period_s: float) -> Iterator[str]:
    old, new = dict(before.get("status") or {}), dict(after.get("status") or {})
    is_same_generation = old.get("observedGeneration") == new.get("observedGeneration")
    if new.get("observedGeneration", -1) < old.get("observedGeneration", -1):
        yield f"observedGeneration fell from {old['observedGeneration']} to {new.get('observedGeneration')}"
    former = {condition["type"]: condition for condition in conditions(before)}
    for condition in conditions(after):
        kind, was = condition["type"], former.get(condition["type"])
        if was is None or was["status"] != condition["status"]:
            continue
        if was["lastTransitionTime"] != condition["lastTransitionTime"]:
            yield f"{kind}: lastTransitionTime moved, and status stayed {condition['status']}"
        is_told_anew = was["reason"] == condition["reason"] and was["message"] != condition["message"]
        if is_same_generation and is_told_anew and _DIGITS.sub("#", was["message"]) == _DIGITS.sub("#", condition["message"]):
            yield f"{kind}: the message counts: {was['message']!r}, then {condition['message']!r}"
    moved = [name for name in _TIMES_ALONE if old.pop(name, None) != new.pop(name, None)]
    if moved and old == new and _seconds_between_checks(before, after) < check_period_s:
        yield f"only {moved[0]} moved"


def _seconds_between_checks(before: Json, after: Json) -> float:
    """A provider's sign of life may move by itself, once in a while."""
    then, now = (_seconds((version.get("status") or {}).get("lastCheckTime")) for version in (before, after))
    return now - then


def _seconds(time: Any) -> float:
    return datetime.fromisoformat(time).timestamp() if time else 0.0


def _name(obj: Json) -> str:
    meta = obj.get("metadata") or {}
    return "/".join(filter(None, (obj.get("kind", ""), meta.get("namespace", ""), meta.get("name", ""))))
