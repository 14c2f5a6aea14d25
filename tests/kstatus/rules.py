"""The rules of kstatus (sigs.k8s.io/cli-utils, pkg/kstatus) for kinds that it does not know by name."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


class Verdict(StrEnum):
    """What an object is, by its status."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"


def conditions(obj: Json) -> list[Json]:
    """The conditions in their order, which decides where several speak."""
    return list((obj.get("status") or {}).get("conditions") or ())


def compute(obj: Json) -> Verdict:
    """The verdict: deletion, then the generation, then abnormal conditions, then Ready. Who says nothing at all is current."""
    meta, status = obj.get("metadata") or {}, obj.get("status") or {}
    if meta.get("deletionTimestamp"):
        return Verdict.TERMINATING
    if "generation" in meta and "observedGeneration" in status and meta["generation"] != status["observedGeneration"]:
        return Verdict.IN_PROGRESS
    for condition in conditions(obj):
        match condition["type"], condition["status"]:
            case "Reconciling", "True":
                return Verdict.IN_PROGRESS
            case "Stalled", "True":
                return Verdict.FAILED
    for condition in conditions(obj):
        match condition["type"], condition["status"]:
            case "Ready", "True":
                return Verdict.CURRENT
            case "Ready", "False" | "Unknown":
                return Verdict.IN_PROGRESS
    return Verdict.CURRENT
