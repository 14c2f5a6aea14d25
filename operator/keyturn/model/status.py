"""What objects say about themselves: reasons, conditions, and the status of a ManagedSecret and a provider.

`REASONS` is the one table behind conditions, retries and the page of reasons in the docs.
Only ``decide/summary.py`` makes conditions from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

LISTED = 100
"""How many keys or sources a status names; above it a count says how many there are (cluster-rules: a status stays small)."""


class Polarity(StrEnum):
    """Which abnormal condition goes with a reason. ``NONE`` = all is well."""

    NONE = ""
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


@dataclass(frozen=True, slots=True)
class Reason:
    """What follows from a reason: the condition beside Ready, when to look again, what a person does.

    ``retry_s`` None: an event or a refresh wakes the object; else it is the first delay in
    seconds, which doubles up to ``retry_max_s``.
    """

    polarity: Polarity
    retry_s: float | None
    remedy: str
    retry_max_s: float = 300.0


_R, _S = Polarity.RECONCILING, Polarity.STALLED

REASONS: Mapping[str, Reason] = {
    "Synced": Reason(Polarity.NONE, None, ""),
    "Progressing": Reason(_R, 1, "Wait; if it lasts, read the operator's log."),
    "SourceNotFound": Reason(_R, 5, "Create the secret at the provider, or correct key and property."),
    "SourcePartlyMissing": Reason(_R, 30, "Create the missing secrets, mark them optional, or take them out of the spec."),
    "SourceDeleted": Reason(_R, 30, "Create the secrets again, or delete the ManagedSecret."),
    "SourceDisabled": Reason(_R, 60, "Enable the secret at the provider; the last good value stays meanwhile."),
    "SourceInvalid": Reason(_R, 30, "Correct what the provider holds, or key, version, property and decodingStrategy in the spec."),
    "Stale": Reason(_R, 5, "Mend what is said here; the Secret holds its last good value."),
    "ProviderUnavailable": Reason(_R, 2, "Check that the provider runs and can be reached from the operator."),
    "Throttled": Reason(_R, 1, "Wait, or raise the provider's limits or the refreshInterval.", retry_max_s=10),
    "AccessDenied": Reason(_R, 15, "Give the provider's identity the right to read these keys."),
    "AuthFailed": Reason(_R, 15, "Correct the credentials or certificates that the provider object refers to."),
    "ProviderNotFound": Reason(_R, None, "Create the provider object, or correct providerRef."),
    "ProviderNotReady": Reason(_R, None, "See the provider object's own Ready condition."),
    "ProviderNotAllowed": Reason(_S, None, "Have the provider's conditions admit this namespace, or use another provider."),
    "InvalidSpec": Reason(_S, None, "Correct the field that the message names."),
    "TemplateError": Reason(_S, None, "Correct the template."),
    "KeyConflict": Reason(_S, None, "Rename one of the two keys that the message names."),
    "PolicyViolation": Reason(_S, None, "Meet the policy, or ask for an exception."),
    "TargetNotOwned": Reason(_S, 30, "Choose another target.name, delete that Secret, or set target.adopt: true."),
    "TargetImmutable": Reason(_S, 60, "Delete the immutable Secret, or choose another target.name."),
    "TargetConflict": Reason(_S, 60, "Stop the other writer, or give each its own Secret.", 3600.0),
    "AuditUnavailable": Reason(_R, 5, "Ask the operators of Keyturn; nothing is changed while its audit trail takes no entry."),
}

WELL = frozenset({"Valid", "CheckedPerNamespace"})
"""The reasons of a provider that is Ready: by a log-in, or because each namespace logs in for itself."""
DENIALS = frozenset({"AccessDenied", "AuthFailed"})
OUTAGES = frozenset({"ProviderUnavailable", "Throttled", "ProviderNotReady"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; ``since`` is its lastTransitionTime, which moves only when ``status`` flips."""

    type: str
    status: str
    reason: str
    message: str
    since: str
    generation: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": self.since,
            "observedGeneration": self.generation,
        }


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """The Secret that was written last. ``keys`` names the first `LISTED` of ``key_count``."""

    name: str
    uid: str
    keys: tuple[str, ...]
    key_count: int
    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class SourceStatus:
    provider: str
    key: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A ManagedSecret's status as we last wrote or read it; ``generation`` -1 = never looked at."""

    generation: int = -1
    conditions: tuple[Condition, ...] = ()
    revision: str = ""
    last_change: str = ""
    target: TargetStatus | None = None
    sources: tuple[SourceStatus, ...] = ()
    source_count: int = 0
    handled_reconcile: str = ""

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, where it stands."""
        return next((c for c in self.conditions if c.type == kind), None)

    @property
    def is_ready(self) -> bool:
        ready = self.condition("Ready")
        return ready is not None and ready.status == "True"


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """A provider object's status; ``last_check`` is the sign of life, written at most once in five minutes.

    ``provider`` is the member of its spec.provider, '' where the spec makes no sense.
    """

    generation: int = -1
    conditions: tuple[Condition, ...] = ()
    last_check: str = ""
    capabilities: tuple[str, ...] = ()
    provider: str = ""

    def condition(self, kind: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == kind), None)


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes its own times."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime | None:
    """The opposite of `timestamp`; None where the text is no time."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def status_from(raw: Mapping[str, Any]) -> Status:
    """Reads a status as the API server holds it. What is not there, or not of our shape, counts as never written."""
    target = raw.get("target") or {}
    sources = tuple(SourceStatus(s.get("provider", ""), s.get("key", ""), s.get("version", "")) for s in raw.get("sources") or ())
    keys = tuple(target.get("keys") or ())
    return Status(
        generation=raw.get("observedGeneration", -1),
        conditions=conditions_from(raw),
        revision=raw.get("revision", ""),
        last_change=raw.get("lastChangeTime", ""),
        target=TargetStatus(
            name=target.get("name", ""),
            uid=target.get("uid", ""),
            keys=keys,
            key_count=target.get("keyCount", len(keys)),
            labels=tuple(target.get("labels") or ()),
            annotations=tuple(target.get("annotations") or ()),
        )
        if target.get("uid")
        else None,
        sources=sources,
        source_count=raw.get("sourceCount", len(sources)),
        handled_reconcile=raw.get("lastHandledReconcileAt", ""),
    )


def provider_status_from(raw: Mapping[str, Any]) -> ProviderStatus:
    """Reads a provider object's status."""
    return ProviderStatus(
        raw.get("observedGeneration", -1),
        conditions_from(raw),
        raw.get("lastCheckTime", ""),
        tuple(raw.get("capabilities") or ()),
        raw.get("provider", ""),
    )


def conditions_from(raw: Mapping[str, Any]) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            c.get("type", ""),
            c.get("status", ""),
            c.get("reason", ""),
            c.get("message", ""),
            c.get("lastTransitionTime", ""),
            c.get("observedGeneration", 0),
        )
        for c in raw.get("conditions") or ()
    )


def status_as_dict(status: Status) -> dict[str, Any]:
    """The status as one merge patch: a member that is None takes the old one away."""
    target = status.target
    return {
        "observedGeneration": status.generation,
        "conditions": [c.as_dict() for c in status.conditions],
        "revision": status.revision or None,
        "lastChangeTime": status.last_change or None,
        "target": {
            "name": target.name,
            "uid": target.uid,
            "keys": list(target.keys),
            "keyCount": target.key_count,
            "labels": list(target.labels) or None,
            "annotations": list(target.annotations) or None,
        }
        if target
        else None,
        # A merge patch takes lists as they are: a None in one would arrive as a null.
        "sources": [{"provider": s.provider, "key": s.key} | ({"version": s.version} if s.version else {}) for s in status.sources] or None,
        "sourceCount": status.source_count or None,
        "lastHandledReconcileAt": status.handled_reconcile or None,
        "binding": {"name": target.name} if target else None,
    }


def provider_status_as_dict(status: ProviderStatus) -> dict[str, Any]:
    """The status of a provider object as one merge patch."""
    return {
        "observedGeneration": status.generation,
        "conditions": [c.as_dict() for c in status.conditions],
        "lastCheckTime": status.last_check or None,
        "capabilities": list(status.capabilities) or None,
        "provider": status.provider or None,
    }
