"""What the audit trail says of an effect on a Secret: what led to it, which keys it is about, and where they come from.

Names, revisions and versions alone: nothing here looks into a value, and a mark tells nothing without its key.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from keyturn.model.audit import AuditEntry
from keyturn.model.objects import Managed
from keyturn.model.plan import Action, Desired, Live, Plan
from keyturn.model.sensitive import Sensitive

TOKEN: Final = 100
"""So much of what stands in an annotation that asks for a sync: it may be anything."""
NAMED: Final = 20
"""So many names stand in one detail; a count tells of the rest."""

Marks = Mapping[str, bytes]
"""By key of a Secret, what tells its value from another one while the process runs."""


def trigger_of(managed: Managed, *, is_dirty: bool, attempts: int) -> str:
    """What leads to a turn, before it is known what that has to do."""
    status = managed.status
    if managed.reconcile_token != status.handled_reconcile:
        return f"request {managed.reconcile_token[:TOKEN]}".rstrip()
    if status.generation != managed.generation:
        return "spec" if status.generation >= 0 else "new"
    if attempts or not status.is_ready:
        return "retry"
    return "source" if is_dirty else "drift"


def repair_of(plan: Plan) -> str:
    """What another hand did that the plan undoes; '' where it did nothing."""
    if plan.action is Action.RECREATE:
        return "drift: deleted"
    return "drift: edited" if plan.action is Action.CHANGE and plan.is_drift else ""


def marks_of(data: Mapping[str, Sensitive], key: bytes) -> Marks:
    """The marks of these values under the key of this process."""
    return {name: hashlib.blake2b(value.reveal(), key=key, digest_size=8).digest() for name, value in data.items()}


def written(plan: Plan, desired: Desired, managed: Managed, before: Marks | None, now: Marks) -> AuditEntry:
    """The entry of a Secret that is made or changed. ``before``: the marks of what we wrote there last, None where they are not known."""
    details = {"uid": managed.uid, "revision": desired.revision, "sources": _sources(desired)}
    was = managed.status.revision or (plan.live.revision if plan.live else "")
    if was != desired.revision and was:
        details["before"] = was
    keys: Iterable[str] = desired.data
    if plan.live is not None:
        details["target_uid"] = plan.live.uid
        keys, more = _touched(plan, desired, plan.live, managed, before, now)
        details |= more
    elif desired.type != "Opaque":
        details["type"] = desired.type
    cause, keys = repair_of(plan), tuple(sorted(keys))
    return AuditEntry(
        f"secret.{plan.action}", str(managed.ref), str(desired.ref), cause, keys, details, repairs=brings_back(plan, desired, managed)
    )


def brings_back(plan: Plan, desired: Desired, managed: Managed) -> bool:
    """Whether it writes what was written before by the same order, byte for byte, so that the audit trail has it already."""
    status = managed.status
    is_same = (status.generation, status.revision) == (managed.generation, desired.revision)
    return plan.is_drift and is_same and plan.retire is None


def replaced(desired: Desired, live: Live, managed: Managed) -> AuditEntry:
    """The entry of a Secret that is deleted and made anew, since none can change its type."""
    details = {"uid": managed.uid, "revision": desired.revision, "target_uid": live.uid, "type": desired.type}
    return AuditEntry("secret.replace", str(managed.ref), str(desired.ref), "type", tuple(sorted(desired.data)), details)


def taken_away(action: str, live: Live, managed: Managed, cause: str) -> AuditEntry:
    """The entry of a Secret that is deleted."""
    details = {"uid": managed.uid, "target_uid": live.uid, "before": live.revision, "cause": cause}
    target = managed.status.target
    keys = target.keys if target is not None and target.uid == live.uid else ()
    return AuditEntry(action, str(managed.ref), str(live.ref), keys=keys, details=details)


def _touched(
    plan: Plan, desired: Desired, live: Live, managed: Managed, before: Marks | None, now: Marks
) -> tuple[set[str], dict[str, str]]:
    """Keys that a write adds, changes or takes away, and what more is to be said of them."""
    removed = plan.once_ours.data
    if plan.action is Action.ADOPT:
        return {*desired.data, *removed}, _named(removed=removed)
    held = live.fields_of(desired.manager).data
    missing = desired.data.keys() - held
    if plan.is_drift:
        fields = {name for name in plan.taken_by if name not in desired.data and not name.startswith("added ")}
        return {*missing, *removed}, _named(removed=removed, fields=fields, by=set(plan.taken_by.values()) - {"somebody"})
    standing, details = desired.data.keys() & held, _named(added=missing, removed=removed)
    if managed.status.revision == desired.revision:
        changed = set[str]()
    elif before is None:
        # A process that has not seen the former values cannot tell which of them moved.
        changed, details["changed"] = set(standing), "unknown which"
    else:
        changed = {key for key in standing if before.get(key) != now[key]}
    keys = {*missing, *removed, *changed}
    return keys, details if keys else {**details, "fields": "metadata"}


def _named(**names: Iterable[str]) -> dict[str, str]:
    return {word: listed(sorted(found)) for word, found in names.items() if found}


def listed(names: list[str]) -> str:
    """Some of the names, and how many more there are."""
    more = f" (+{len(names) - NAMED} more)" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _sources(desired: Desired) -> str:
    return listed([f"{each.provider}:{each.key}{'@' + each.version if each.version else ''}" for each in desired.sources[: NAMED + 1]])
