"""The only writer of conditions: from how a sync ended to what the object says of itself.

kstatus (which kubectl wait, Flux and Argo build on) reads: Ready as the summary; Reconciling and
Stalled abnormal-true, so absent when all is well. A condition's time moves only when its status
flips and no message holds a time or a counter, so that an unchanged object writes nothing.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from keyturn.decide.render import manager_of, sources_of
from keyturn.model.ids import CHANGED_AT_ANNOTATION
from keyturn.model.objects import Managed, ProviderObject
from keyturn.model.order import Order, ProviderOrder
from keyturn.model.plan import Desired, Live
from keyturn.model.status import LISTED, REASONS, Condition, Polarity, ProviderStatus, Status, TargetStatus, timestamp

MESSAGE_LIMIT = 1024
_TELLS_MORE = frozenset({"AuthFailed", "AccessDenied", "SourceInvalid", "SourceDisabled", "ProviderUnavailable", "AuditUnavailable"})
"""Reasons that stand for many causes, each with a remedy of its own: the table's is for those that have none."""
CHECK_PERIOD_S = 300.0
"""How often a provider's sign of life is written, at most."""


def conditions(
    former: Collection[Condition], generation: int, reason: str, message: str, now: datetime, *, polarity: Polarity | None = None
) -> tuple[Condition, ...]:
    """Ready, and the abnormal condition that goes with the reason; other types stay as they are."""
    polarity = REASONS[reason].polarity if polarity is None else polarity
    told = message[:MESSAGE_LIMIT]
    ready = _condition(former, "Ready", "False" if polarity else "True", reason, told, generation, now)
    abnormal = (_condition(former, polarity.value, "True", reason, told, generation, now),) if polarity else ()
    kept = tuple(c for c in former if c.type not in ("Ready", Polarity.RECONCILING, Polarity.STALLED))
    return (ready, *abnormal, *kept)


def _condition(
    former: Collection[Condition], kind: str, status: str, reason: str, message: str, generation: int, now: datetime
) -> Condition:
    before = next((c for c in former if c.type == kind), None)
    since = before.since if before is not None and before.status == status and before.since else timestamp(now)
    return Condition(kind, status, reason, message, since, generation)


def synced(managed: Managed, order: Order, desired: Desired, live: Live, now: datetime) -> Status:
    """The status of an object whose Secret stands as ordered."""
    former = managed.status
    # A provider may have a new version of the same data. It is named with the next change: by itself it is worth no write.
    is_told = former.generation == managed.generation and former.revision == desired.revision and former.sources
    return replace(
        _observed(managed),
        conditions=_without_suspended(conditions(former.conditions, managed.generation, "Synced", _is_in_sync(live), now)),
        revision=desired.revision,
        last_change=live.annotations.get(CHANGED_AT_ANNOTATION, former.last_change),
        target=_target(live, desired.data, order),
        sources=former.sources if is_told else desired.sources[:LISTED],
        source_count=former.source_count if is_told else len(desired.sources),
    )


def kept(managed: Managed, order: Order, live: Live, now: datetime) -> Status:
    """The status over a Secret that is ours and is left alone (refreshPolicy CreatedOnce)."""
    # Where there is a status it says what the Secret was made from; the spec may have changed since.
    sources, count = managed.status.sources, managed.status.source_count
    if not sources:
        sources, count = (ordered := sources_of(order))[:LISTED], len(ordered)
    return replace(
        _observed(managed),
        conditions=_without_suspended(conditions(managed.status.conditions, managed.generation, "Synced", _is_in_sync(live), now)),
        revision=live.revision,
        last_change=live.annotations.get(CHANGED_AT_ANNOTATION, ""),
        target=managed.status.target or _target(live, live.fields_of(manager_of(managed.ref.name)).data, order),
        sources=sources,
        source_count=count,
    )


def failed(managed: Managed, reason: str, message: str, now: datetime, *, stalled: bool = False) -> Status:
    """The status of an object whose sync failed; what was written before stays named."""
    polarity = Polarity.STALLED if stalled else None
    told = _with_remedy(message, reason)
    made = conditions(managed.status.conditions, managed.generation, reason, told, now, polarity=polarity)
    # A request that the audit trail refused was not even begun: it stays one.
    token = managed.status.handled_reconcile if reason == "AuditUnavailable" else managed.reconcile_token
    return replace(_observed(managed), conditions=_without_suspended(made), handled_reconcile=token)


def removed(managed: Managed, now: datetime) -> Status:
    """The status after the Secret went because all its sources are gone and deletionPolicy says Delete."""
    message = "all sources are gone from the provider, and deletionPolicy Delete took the Secret away"
    return replace(failed(managed, "SourceDeleted", message, now), revision="", last_change="", target=None, sources=(), source_count=0)


def suspended(managed: Managed, now: datetime) -> Status:
    """Ready and its reason stay; ``Suspended`` says why nothing moves."""
    former = managed.status.conditions
    told = "spec.suspend is true: the Secret is left as it is, edits of it too; set it to false to go on"
    mark = _condition(former, "Suspended", "True", "Suspended", told, managed.generation, now)
    others = tuple(replace(c, generation=managed.generation) for c in former if c.type != "Suspended")
    if not any(c.type == "Ready" for c in others):
        others = (
            Condition("Ready", "Unknown", "Progressing", "suspended before the first sync", timestamp(now), managed.generation),
            *others,
        )
    return replace(_observed(managed), conditions=(*others, mark))


def provider_checked(
    provider: ProviderObject, reason: str, message: str, now: datetime, *, caps: tuple[str, ...] = (), period_s: float = CHECK_PERIOD_S
) -> ProviderStatus:
    """The status of a provider after a real log-in, ``reason`` Synced where it worked.

    The sign of life moves at most once in ``period_s`` seconds, so that a healthy provider writes little. One whose log-in is that
    of whoever reads has none: nothing was asked there by a check.
    """
    former = provider.status
    polarity = REASONS[reason].polarity
    is_per_reader = provider.is_per_reader
    well = "CheckedPerNamespace" if is_per_reader else "Valid"
    shown = well if polarity is Polarity.NONE else reason
    told = message if polarity is Polarity.NONE else _with_remedy(message, reason)
    made = tuple(
        replace(c, reason=shown) for c in conditions(former.conditions, provider.generation, reason, told, now) if c.reason == reason
    )
    same = former.generation == provider.generation and former.conditions == made and former.capabilities == caps
    last_check = former.last_check if same and is_recent(former, now, period_s) else timestamp(now)
    member = provider.order.member if isinstance(provider.order, ProviderOrder) else ""
    return ProviderStatus(provider.generation, made, "" if is_per_reader else last_check, caps, member)


def is_recent(status: ProviderStatus, now: datetime, period_s: float) -> bool:
    """Whether the sign of life is young enough to stay."""
    try:
        return 0 <= (now - datetime.fromisoformat(status.last_check)).total_seconds() < period_s
    except ValueError:
        return False


def _with_remedy(message: str, reason: str) -> str:
    # Where a person must act, the message names the field and the remedy itself; of a fault it does where it says what to do after a ;.
    if REASONS[reason].polarity is Polarity.STALLED or (reason in _TELLS_MORE and "; " in message):
        return message
    return f"{message}{'' if message.endswith(('.', '?', '!')) else '.'} {REASONS[reason].remedy}"


def _observed(managed: Managed) -> Status:
    return replace(managed.status, generation=managed.generation, handled_reconcile=managed.reconcile_token)


def _without_suspended(made: tuple[Condition, ...]) -> tuple[Condition, ...]:
    return tuple(c for c in made if c.type != "Suspended")


def _is_in_sync(live: Live) -> str:
    return f"Secret {live.ref.name} is in sync"


def _target(live: Live, keys: Collection[str], order: Order) -> TargetStatus:
    listed = sorted(keys)
    return TargetStatus(
        live.ref.name,
        live.uid,
        tuple(listed[:LISTED]),
        len(listed),
        tuple(sorted(order.target.labels)),
        tuple(sorted(order.target.annotations)),
    )
