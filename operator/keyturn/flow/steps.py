"""The steps of a sync; ``flow/sync.py`` has their order. Each gives a noun or raises, and is timed."""

import asyncio
from collections.abc import Mapping
from itertools import groupby

from keyturn.decide import diff as difference
from keyturn.decide import gather as gathering
from keyturn.decide.admit import check_admission, check_class, check_default, check_target
from keyturn.decide.diff import Sight
from keyturn.decide.fingerprint import key_id
from keyturn.decide.refresh import refreshes
from keyturn.decide.render import render, revision_of
from keyturn.flow.load import Load
from keyturn.flow.phases import awaited, timed
from keyturn.flow.world import World
from keyturn.model.errors import MissingExtra, ProviderNotFound, ProviderNotReady, Rejected, Unavailable, Unread
from keyturn.model.ids import DEFAULT_PROVIDER, Kind, ObjectRef, SecretRef
from keyturn.model.material import SourceRef
from keyturn.model.objects import Managed, ProviderObject
from keyturn.model.order import DeletionPolicy, Material, Order, ProviderOrder, ProviderRef, provider_ref
from keyturn.model.plan import Desired, Plan
from keyturn.model.reader import Reader
from keyturn.model.sensitive import Sensitive

FRESH_S = 5.0
"""A new or changed order draws on values no older than this: many that come together share one read."""

FETCH_S = 60.0
"""How long a turn waits for values: a provider that is slow, call after call, must not keep its workers for good."""

Sources = Mapping[ProviderRef | None, ProviderObject]
"""By what the spec names, each as the ManagedSecret's namespace reads by it; None is the default provider."""


@timed("admit")
def admit(managed: Managed, world: World) -> tuple[Order, Sources]:
    """The order and its providers, if the rules let this namespace have them."""
    if isinstance(managed.order, Rejected):
        # The same error each time: without this its traceback would grow with each raise.
        raise managed.order.with_traceback(None)
    order, namespace = managed.order, managed.ref.namespace
    check_target(namespace, order, world.limits)
    check_class(providers_of(managed, world))
    named = dict.fromkeys(entry.provider for entry in order.entries)
    return order, {ref: _provider(ref, managed, world) for ref in named}


def _provider(ref: ProviderRef | None, managed: Managed, world: World) -> ProviderObject:
    namespace = managed.ref.namespace
    found = check_default(world.objects.provider(DEFAULT_PROVIDER), namespace) if ref is None else _admitted(ref, namespace, world)
    ready = found.status.condition("Ready")
    was_synced = managed.is_synced and managed.status.generation == managed.generation
    if not was_synced and ready is not None and ready.status == "False" and found.status.generation == found.generation:
        raise ProviderNotReady(f"{ref or 'the default provider'} is not ready")
    return found.read_by(Reader(namespace, world.cluster_id())) if found.is_per_reader else found


def _admitted(ref: ProviderRef, namespace: str, world: World) -> ProviderObject:
    found = world.objects.provider(provider_ref(ref, namespace))
    if found is None or found.deleting:
        where = f" in namespace {namespace}" if ref.kind is Kind.SECRET_PROVIDER else ""
        if ref.kind is Kind.CLUSTER_SECRET_PROVIDER and not world.limits.serves_cluster_kinds:
            where = ": this operator serves chosen namespaces, and no cluster kinds; use a SecretProvider"
        elif world.objects.provider(provider_ref(ProviderRef(Kind.CLUSTER_SECRET_PROVIDER, ref.name), namespace)):
            where += f"; for the ClusterSecretProvider {ref.name}, set providerRef.kind"
        raise ProviderNotFound(f"there is no {ref.kind} {ref.name}{where}")
    if isinstance(found.order, Rejected):
        raise ProviderNotReady(f"{ref} has an invalid spec: {found.order}")
    check_admission(found.order, str(ref), namespace, world.objects.namespace_labels(namespace))
    return found


def providers_of(managed: Managed, world: World) -> list[ProviderOrder]:
    """The orders of the providers that are there, for the class that they share."""
    if isinstance(managed.order, Rejected):
        return []
    found = map(world.objects.provider, managed.order.providers(managed.ref.namespace))
    return [provider.order for provider in found if provider is not None and not isinstance(provider.order, Rejected)]


@awaited("observe")
async def observe(managed: Managed, order: Order, world: World) -> Sight:
    """The target as it stands: from the watch, and by a request only where the watch may not know it."""
    memory, target = world.memory(managed.ref, managed.uid), SecretRef(managed.ref.namespace, order.target.name)
    live = world.reader.seen(target)
    former = managed.status.target
    was_here = former is not None and former.name == target.name
    ready = managed.status.condition("Ready")
    was_foreign = ready is not None and ready.reason in ("TargetNotOwned", "TargetConflict")
    if memory.must_look or (live is None and (was_here or was_foreign)):
        live = await world.reader.look(target)
    rival = live.marked_owner if live is not None and live.marked_owner != managed.ref.name else ""
    former_ref = SecretRef(target.namespace, former.name) if former and not was_here else None
    return Sight(
        live=live,
        rival_alive=bool(rival) and await world.objects.is_alive(ObjectRef(Kind.MANAGED_SECRET, managed.ref.namespace, rival)),
        former=await world.reader.look(former_ref) if former_ref else None,
    )


@awaited("fetch")
async def fetch(managed: Managed, order: Order, sources: Sources, world: World) -> Material:
    """Every value that the order draws on, or the error that stands for it."""
    wishes = wanted(order, sources)
    for source in sources.values():
        open_shelf(source, world)
    world.refresher.want(managed.ref, wishes, order.interval_s if refreshes(order) else None)
    age, load = max_age_s(managed, order), Load()
    refs = {ref: wishes[source.ref] for ref, source in sources.items()}
    try:
        async with asyncio.timeout(FETCH_S):
            answers = await asyncio.gather(
                *(world.refresher.fetch(sources[ref], keys, max_age_s=age, who=managed.ref, load=load) for ref, keys in refs.items())
            )
    except Unread:
        needed = {entry.source for entry in order.entries if entry.default is None and not entry.optional}
        kept = {ref: world.refresher.shelf(sources[ref]).kept(keys, needed) for ref, keys in refs.items()}
        if not _may_be_repaired(managed, order, world):
            raise
        answers = []
        for given in kept.values():
            if given is None:
                raise
            answers.append(given)
        world.mark_dirty(managed.ref)  # what led here is looked at again once it may be read
    except TimeoutError:
        raise Unavailable(f"not all values came within {FETCH_S:g} s: the provider is slow, or too much is asked of it at once") from None
    return {(ref, key): answer for ref, given in zip(refs, answers, strict=True) for key, answer in given.items()}


def _may_be_repaired(managed: Managed, order: Order, world: World) -> bool:
    """Whether the Secret was written by this very order, and does not stand so any more: then nothing new need be read to bring it back."""
    is_ours = managed.is_synced and managed.status.generation == managed.generation
    live = world.reader.seen(SecretRef(managed.ref.namespace, order.target.name))
    return is_ours and not managed.is_asked and not difference.is_as_written(managed, order, live, world.controller_class)


def open_shelf(source: ProviderObject, world: World) -> None:
    """Has the provider open; what keeps it shut is told as the provider's own trouble."""
    try:
        world.refresher.shelf(source)
    except (Rejected, MissingExtra) as refusal:
        raise ProviderNotReady(f"{source.ref} is not allowed: {refusal}") from refusal


def wanted(order: Order, sources: Sources) -> dict[ObjectRef, tuple[SourceRef, ...]]:
    """What the order draws on, by provider object and without repeats."""
    pairs = sorted({(sources[e.provider].ref, e.source) for e in order.entries})
    return {provider: tuple(source for _, source in group) for provider, group in groupby(pairs, key=lambda pair: pair[0])}


def max_age_s(managed: Managed, order: Order) -> float:
    """How old a value may be: a whole interval for repairs, nothing for a request, moments for what is new."""
    if managed.is_asked:
        return 0.0
    if managed.status.generation != managed.generation or not managed.is_synced:
        return FRESH_S
    # What is never refreshed keeps for good what a repair writes, so that comes straight from the source.
    return order.interval_s if refreshes(order) else 0.0


def was_removed(managed: Managed, order: Order) -> bool:
    """Whether deletionPolicy took the Secret: its sources are gone still, not missing for the first time."""
    ready = managed.status.condition("Ready")
    return order.target.deletion is DeletionPolicy.DELETE and ready is not None and ready.reason == "SourceDeleted"


@timed("gather")
def gather(managed: Managed, order: Order, material: Material, world: World) -> Mapping[str, Sensitive]:  # noqa: ARG001  # who times it asks the world
    """The data by key, or the error that stands for a source."""
    return gathering.gather(order, material, was_synced=managed.is_synced or was_removed(managed, order))


@awaited("compose")
async def compose(managed: Managed, order: Order, material: Material, data: Mapping[str, Sensitive], sight: Sight, world: World) -> Desired:
    """The Secret as ordered, with its revision; live data are read only where the fingerprint key is another (rule 16)."""
    key, former, stood = world.fingerprint.get(), managed.status, sight.live or sight.former
    former_data = None
    if former.target and stood and stood.uid == former.target.uid and key_id(former.revision) not in ("", key.id):
        found = await world.reader.read(stood.ref)
        # Keys of others are no part of our revision.
        former_data = None if found is None else {k: v for k, v in found.items() if k in data or k in former.target.keys}
    revision = revision_of(key, data, former.revision, former_data)
    return render(managed, order, material, data, revision, world.controller_class)


@timed("diff")
def diff(managed: Managed, order: Order, desired: Desired, sight: Sight, world: World) -> Plan:  # noqa: ARG001  # who times it asks the world
    """The one step that brings the Secret there."""
    return difference.diff(managed, order, desired, sight)
