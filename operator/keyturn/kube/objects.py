"""The cache of our own objects, and the way their status goes back.

Fed by watch events, keyed by name, compared by uid: an older incarnation's end never removes a
newer one, and an older event never undoes a status that we wrote since.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from keyturn.kube.client import MERGE, METADATA, Client
from keyturn.kube.metadata import Metadata, items_of, partial
from keyturn.kube.pages import pages
from keyturn.kube.unsynced import Unsynced
from keyturn.model.default import DefaultProvider
from keyturn.model.errors import ObjectGone, Rejected
from keyturn.model.ids import API_VERSION, DEFAULT_PROVIDER, GROUP, RECONCILE_ANNOTATION, VERSION, Kind, ObjectRef, SecretRef
from keyturn.model.objects import Cached, Managed, ProviderObject
from keyturn.model.order import Order, ProviderOrder
from keyturn.model.parse import parse_managed_secret, parse_provider
from keyturn.model.status import (
    ProviderStatus,
    Status,
    provider_status_as_dict,
    provider_status_from,
    status_as_dict,
    status_from,
)

TOKEN_LIMIT = 1024
"""How much of a request's token the status can repeat."""

_Key = TypeVar("_Key")
_encode = msgspec.json.Encoder().encode


def is_echo(raw: Mapping[str, Any], known: Cached | None) -> bool:
    """Whether an event tells what we hold already. Nothing about an object changes without its version."""
    meta = raw["metadata"]
    is_same_version = known is not None and known.resource_version == meta.get("resourceVersion")
    return is_same_version and _is_same_spec(meta, known)


def managed_from(raw: Mapping[str, Any], known: Cached | None = None) -> Managed:
    """A ManagedSecret as the API server holds it; a spec that cannot be parsed is kept as its `Rejected`.

    ``known``: the object as we hold it, whose order is taken over where the spec is still the same.
    """
    meta = raw["metadata"]
    return Managed(
        ref=ObjectRef(Kind.MANAGED_SECRET, meta["namespace"], meta["name"]),
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta.get("resourceVersion", ""),
        deleting="deletionTimestamp" in meta,
        order=known.order if isinstance(known, Managed) and _is_same_spec(meta, known) else _order(raw),
        status=status_from(raw.get("status") or {}),
        reconcile_token=(meta.get("annotations") or {}).get(RECONCILE_ANNOTATION, "")[:TOKEN_LIMIT],
    )


def provider_from(kind: Kind, raw: Mapping[str, Any], known: Cached | None = None) -> ProviderObject:
    """A SecretProvider or ClusterSecretProvider as the API server holds it; ``known`` as in `managed_from`."""
    meta = raw["metadata"]
    return ProviderObject(
        ref=ObjectRef(kind, meta.get("namespace", ""), meta["name"]),
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta.get("resourceVersion", ""),
        deleting="deletionTimestamp" in meta,
        order=known.order if isinstance(known, ProviderObject) and _is_same_spec(meta, known) else _provider_order(kind, raw),
        status=provider_status_from(raw.get("status") or {}),
    )


def _order(raw: Mapping[str, Any]) -> Order | Rejected:
    try:
        return parse_managed_secret(raw["metadata"]["name"], raw.get("spec") or {})
    except Rejected as refusal:
        return refusal


def _provider_order(kind: Kind, raw: Mapping[str, Any]) -> ProviderOrder | Rejected:
    try:
        return parse_provider(kind, raw.get("spec") or {}, raw["metadata"].get("namespace", ""))
    except Rejected as refusal:
        return refusal


def _is_same_spec(meta: Mapping[str, Any], known: Cached | None) -> bool:
    """Whether it is the incarnation and generation that we hold. A spec has no other way to change."""
    return known is not None and known.generation > 0 and (meta["uid"], meta.get("generation")) == (known.uid, known.generation)


@dataclass(slots=True)
class ObjectCache:
    """Our objects by name, with the two look-ups that events need: by target and by provider.

    ``default`` stands for the default provider, which is no object: it has no events, and its status stays here.
    """

    client: Client
    default: ProviderObject = field(default_factory=DefaultProvider().as_object)
    unsynced: Unsynced = field(default_factory=Unsynced)
    _objects: dict[ObjectRef, Cached] = field(default_factory=dict)
    _by_target: dict[SecretRef, set[ObjectRef]] = field(default_factory=dict)
    _by_provider: dict[ObjectRef, set[ObjectRef]] = field(default_factory=dict)
    _namespaces: dict[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    _on_the_way: dict[ObjectRef, tuple[object, ...]] = field(default_factory=dict)

    def held(self, ref: ObjectRef) -> Cached | None:
        return self._objects.get(ref)

    def managed(self, ref: ObjectRef) -> Managed | None:
        found = self._objects.get(ref)
        return found if isinstance(found, Managed) else None

    def provider(self, ref: ObjectRef) -> ProviderObject | None:
        found = self._objects.get(ref) if ref != DEFAULT_PROVIDER else self.default
        return found if isinstance(found, ProviderObject) else None

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        found = self._namespaces.get(namespace)
        return None if found is None else found[1]

    def namespace_uid(self, namespace: str) -> str:
        """Which incarnation it is; '' where it is not known."""
        return self._namespaces.get(namespace, ("", {}))[0]

    def refs(self, kind: Kind) -> list[ObjectRef]:
        """All that the cache holds of a kind."""
        return [ref for ref in self._objects if ref.kind is kind]

    def all_managed(self) -> list[Managed]:
        return [found for found in self._objects.values() if isinstance(found, Managed)]

    def all_providers(self) -> list[ProviderObject]:
        """With the default provider, where anybody may use it. May be called in any thread."""
        default = self.default
        is_open = isinstance(default.order, ProviderOrder) and default.order.is_open
        found = [found for found in list(self._objects.values()) if isinstance(found, ProviderObject)]
        return [*found, default] if is_open else found

    def aiming_at(self, target: SecretRef) -> set[ObjectRef]:
        """The ManagedSecrets whose order or status names that Secret."""
        return self._by_target.get(target, set())

    def using(self, provider: ObjectRef) -> set[ObjectRef]:
        """The ManagedSecrets that draw on that provider."""
        return self._by_provider.get(provider, set())

    def put(self, found: Cached) -> bool:
        """Takes an object in; True where it brings news, False where it only echoes what we know or wrote."""
        before = self._objects.get(found.ref)
        if before is not None and before.uid == found.uid and _is_before(found.resource_version, before.resource_version):
            return False
        self._objects[found.ref] = found
        if isinstance(before, Managed):
            self._unindex(before)
        if isinstance(found, Managed):
            self._index(found)
            self.unsynced.put(found)
        return before is None or _essence(found) not in (_essence(before), self._on_the_way.get(found.ref))

    def remove(self, ref: ObjectRef, uid: str) -> bool:
        """Takes an incarnation out; False where it is not the one that we hold."""
        found = self._objects.get(ref)
        if found is None or found.uid != uid:
            return False
        del self._objects[ref]
        if isinstance(found, Managed):
            self._unindex(found)
            self.unsynced.drop(ref)
        return True

    def put_namespace(self, found: Metadata) -> bool:
        """Takes a namespace's labels; True where they changed."""
        changed = self.namespace_labels(found.name) != found.labels
        self._namespaces[found.name] = found.uid, found.labels
        return changed

    def drop_namespace(self, name: str) -> None:
        self._namespaces.pop(name, None)

    async def is_alive(self, ref: ObjectRef, uid: str = "") -> bool:
        try:
            found = partial.decode(await self.client.request("GET", path_of(ref), accept=METADATA, what=f"look at {ref}")).metadata
        except ObjectGone:
            return False
        return found.deletion_timestamp is None and uid in ("", found.uid)

    async def list_uids(self, kind: Kind, namespace: str = "") -> dict[ObjectRef, str]:
        """What the API server holds of a kind: one metadata list, to compare the cache with (cluster rule 23)."""
        found: dict[ObjectRef, str] = {}
        async for page in pages(self.client, collection(kind, namespace), query={}, what=f"list {kind.plural}"):
            found |= {ObjectRef(kind, item.namespace, item.name): item.uid for item in items_of(page)}
        return found

    async def write(self, managed: Managed, status: Status) -> None:
        version = await self._write_status(replace(managed, status=status), status_as_dict(status))
        held = self.managed(managed.ref)
        if held is not None and held.uid == managed.uid and not _is_before(version, held.resource_version):
            self.put(replace(held, status=status, resource_version=version))

    async def write_provider(self, provider: ProviderObject, status: ProviderStatus) -> None:
        if provider.ref == DEFAULT_PROVIDER:
            self.default = replace(self.default, status=status)
            return
        version = await self._write_status(replace(provider, status=status), provider_status_as_dict(status))
        held = self.provider(provider.ref)
        if held is not None and held.uid == provider.uid and not _is_before(version, held.resource_version):
            self.put(replace(held, status=status, resource_version=version))

    async def _write_status(self, told: Cached, status: Mapping[str, Any]) -> str:
        """Gives the version that it made. Where the cache holds a later one by then, that has our status or another's since."""
        # The uid makes it a 409 for a successor of the same name, the version for whatever moved since we looked:
        # a replica that was stopped in mid-work must not write over the status of the one that took over.
        versions = {"uid": told.uid, "resourceVersion": told.resource_version}
        body = _encode({"apiVersion": API_VERSION, "kind": told.ref.kind, "metadata": versions, "status": status})
        path, what = f"{path_of(told.ref)}/status", f"status of {told.ref}"
        # The watch may bring our own write before its answer is here, and that is no news.
        self._on_the_way[told.ref] = _essence(told)
        try:
            answer = await self.client.request(
                "PATCH", path, body, query={"fieldManager": "keyturn"}, accept=METADATA, content=MERGE, what=what
            )
        finally:
            del self._on_the_way[told.ref]
        return partial.decode(answer).metadata.resource_version

    def _index(self, found: Managed) -> None:
        for target in _targets(found):
            self._by_target.setdefault(target, set()).add(found.ref)
        for provider in _providers(found):
            self._by_provider.setdefault(provider, set()).add(found.ref)

    def _unindex(self, found: Managed) -> None:
        for target in _targets(found):
            _take_out(self._by_target, target, found.ref)
        for provider in _providers(found):
            _take_out(self._by_provider, provider, found.ref)


def _take_out(index: dict[_Key, set[ObjectRef]], key: _Key, ref: ObjectRef) -> None:
    held = index.get(key, set())
    held.discard(ref)
    if not held:
        index.pop(key, None)


def collection(kind: Kind, namespace: str = "") -> str:
    """The URL path of a kind, in one namespace or in all."""
    base = f"/apis/{GROUP}/{VERSION}"
    return f"{base}/namespaces/{namespace}/{kind.plural}" if namespace else f"{base}/{kind.plural}"


def path_of(ref: ObjectRef) -> str:
    return f"{collection(ref.kind, ref.namespace)}/{ref.name}"


def _targets(found: Managed) -> set[SecretRef]:
    targets = {SecretRef(found.ref.namespace, found.status.target.name)} if found.status.target else set()
    return targets | ({found.target} if found.target else set())


def _providers(found: Managed) -> set[ObjectRef]:
    return set() if isinstance(found.order, Rejected) else set(found.order.providers(found.ref.namespace))


def _essence(found: Cached) -> tuple[object, ...]:
    """What, when it differs, is news: not the resourceVersion, which moves with our own writes as well."""
    token = found.reconcile_token if isinstance(found, Managed) else ""
    return (found.uid, found.generation, found.deleting, token, found.status)


def _is_before(version: str, other: str) -> bool:
    """Versions of one resource are comparable as numbers (its source: KEP-5504)."""
    try:
        return int(version) < int(other)
    except ValueError:
        return False
