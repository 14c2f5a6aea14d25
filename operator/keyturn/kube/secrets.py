"""Core Secrets: seen as metadata alone, written by create, forced apply and one merge patch.

Every answer is asked for as metadata, also to our own writes; data are read by name only, and
only where `SecretReader.read` is called for.
"""

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from keyturn.kube.client import APPLY, JSON, MERGE, METADATA, TABLE, Client
from keyturn.kube.metadata import Metadata, is_wide, live_of, partial
from keyturn.model.errors import AlreadyExists, ClusterConflict, ObjectGone
from keyturn.model.ids import CHANGED_AT_ANNOTATION, SecretRef
from keyturn.model.plan import Desired, Leftover, Live, Owner
from keyturn.model.sensitive import Sensitive

_encode = msgspec.json.Encoder().encode


class _Data(msgspec.Struct):
    data: dict[str, str] = {}


class _Column(msgspec.Struct):
    name: str


class _Row(msgspec.Struct):
    cells: list[object]


class _Table(msgspec.Struct, rename="camel"):
    column_definitions: list[_Column]
    rows: list[_Row]


_data = msgspec.json.Decoder(_Data)
_table = msgspec.json.Decoder(_Table)


@dataclass(slots=True)
class SecretCache:
    """The Secrets that carry our label, from the watch, and reads of others by name. ``on_change`` hears of each.

    Of one with wide metadata no more than its version is held: whoever is concerned looks at it, as if it had no label.
    """

    client: Client
    on_change: Callable[[SecretRef], None] = lambda _: None
    _seen: dict[SecretRef, Live] = field(default_factory=dict)
    _wide: dict[SecretRef, tuple[str, str]] = field(default_factory=dict)

    def seen(self, ref: SecretRef) -> Live | None:
        return self._seen.get(ref)

    def all_seen(self) -> Mapping[SecretRef, Live]:
        """All but the wide ones."""
        return self._seen

    def put(self, found: Metadata) -> None:
        ref = SecretRef(found.namespace, found.name)
        if self._is_news(ref, found.uid, found.resource_version):
            self._hold(live_of(found))
            self.on_change(ref)

    def drop(self, key: tuple[str, str], uid: str) -> None:
        ref = SecretRef(*key)
        if self._versions(ref)[0] == uid:
            self._seen.pop(ref, None)
            self._wide.pop(ref, None)
        self.on_change(ref)

    def keep(self, live: Live) -> None:
        """Takes in what our own write brought, unless we know something newer already."""
        if self._is_news(live.ref, live.uid, live.resource_version):
            self._hold(live)

    def _is_news(self, ref: SecretRef, uid: str, version: str) -> bool:
        held_uid, held_version = self._versions(ref)
        return held_uid != uid or is_newer(version, held_version)

    def _versions(self, ref: SecretRef) -> tuple[str, str]:
        held = self._seen.get(ref)
        return (held.uid, held.resource_version) if held is not None else self._wide.get(ref, ("", ""))

    def _hold(self, live: Live) -> None:
        if is_wide(live):
            self._wide[live.ref] = (live.uid, live.resource_version)
            self._seen.pop(live.ref, None)
        else:
            self._seen[live.ref] = live
            self._wide.pop(live.ref, None)

    async def look(self, ref: SecretRef) -> Live | None:
        try:
            body = await self.client.request("GET", path_of(ref), accept=METADATA, what=f"look at {ref}")
        except ObjectGone:
            return None
        return live_of(partial.decode(body).metadata)

    async def read(self, ref: SecretRef) -> Mapping[str, Sensitive] | None:
        try:
            found = _data.decode(await self.client.request("GET", path_of(ref), accept=JSON, what=f"read {ref}"))
        except ObjectGone:
            return None
        try:
            return {key: Sensitive(base64.b64decode(value, validate=True)) for key, value in found.data.items()}
        except binascii.Error:
            raise ClusterConflict(f"{ref} holds data that are no base64") from None

    async def type_of(self, ref: SecretRef) -> str:
        # As kubectl shows it: metadata have no type, and the object would bring its data.
        try:
            body = await self.client.request(
                "GET", path_of(ref), query={"includeObject": "None"}, accept=TABLE, what=f"look at the type of {ref}"
            )
        except ObjectGone:
            return ""
        table = _table.decode(body)
        column = [definition.name for definition in table.column_definitions].index("Type")
        return str(table.rows[0].cells[column])


@dataclass(slots=True)
class SecretEditor:
    """Writes Secrets, and takes each answer into the cache, so that its echo in the watch is no news."""

    client: Client
    cache: SecretCache

    async def create(self, desired: Desired, changed_at: str) -> Live:
        return await self._write(
            "POST", collection(desired.ref.namespace), _body(desired, changed_at), JSON, desired, f"create {desired.ref}"
        )

    async def rehearse(self, desired: Desired) -> None:
        # Admission and validation come before the API server sees that the name is taken.
        query = {"fieldManager": desired.manager, "dryRun": "All"}
        path, what = collection(desired.ref.namespace), f"rehearse {desired.ref}"
        with suppress(AlreadyExists):
            await self.client.request("POST", path, _body(desired, ""), query=query, accept=METADATA, what=what)

    async def apply(self, desired: Desired, live: Live, changed_at: str) -> Live:
        return await self._write("PATCH", path_of(desired.ref), _body(desired, changed_at, live), APPLY, desired, f"apply {desired.ref}")

    async def strip(self, live: Live, leftover: Leftover, keep_owners: Collection[str] | None = None) -> Live:
        metadata: dict[str, Any] = {"uid": live.uid, "resourceVersion": live.resource_version}
        if leftover.labels:
            metadata["labels"] = dict.fromkeys(sorted(leftover.labels))
        if leftover.annotations:
            metadata["annotations"] = dict.fromkeys(sorted(leftover.annotations))
        if keep_owners is not None:
            metadata["ownerReferences"] = [_reference(o) for o in live.owners if o.uid in keep_owners]
        body: dict[str, Any] = {"metadata": metadata}
        if leftover.data:
            body["data"] = dict.fromkeys(sorted(leftover.data))
        answer = await self.client.request(
            "PATCH",
            path_of(live.ref),
            _encode(body),
            query={"fieldManager": "keyturn"},
            accept=METADATA,
            content=MERGE,
            what=f"strip {live.ref}",
        )
        return self._keep(answer)

    async def delete(self, live: Live) -> None:
        body = _encode(
            {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": live.uid, "resourceVersion": live.resource_version}}
        )
        try:
            await self.client.request("DELETE", path_of(live.ref), body, accept=METADATA, what=f"delete {live.ref}")
        except ObjectGone:
            return

    async def _write(self, verb: str, path: str, body: bytes, content: str, desired: Desired, what: str) -> Live:
        query = {"fieldManager": desired.manager, **({"force": "true"} if content == APPLY else {})}
        return self._keep(await self.client.request(verb, path, body, query=query, accept=METADATA, content=content, what=what))

    def _keep(self, answer: bytes) -> Live:
        live = live_of(partial.decode(answer).metadata)
        self.cache.keep(live)
        return live


def _body(desired: Desired, changed_at: str, live: Live | None = None) -> bytes:
    metadata: dict[str, Any] = {
        "name": desired.ref.name,
        "labels": dict(desired.labels),
        "annotations": {**desired.annotations, CHANGED_AT_ANNOTATION: changed_at},
    }
    if live is not None:
        # Planned on that very state: a Secret that was freed, claimed or made anew since then is looked at again first.
        metadata |= {"uid": live.uid, "resourceVersion": live.resource_version}
    if desired.owner is not None:
        metadata["ownerReferences"] = [_reference(desired.owner)]
    data = {key: base64.b64encode(value.reveal()).decode() for key, value in desired.data.items()}
    return _encode({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": desired.type, "data": data})


def _reference(owner: Owner) -> dict[str, Any]:
    reference: dict[str, Any] = {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid}
    return reference | ({"controller": True} if owner.controller else {})


def collection(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


def path_of(ref: SecretRef) -> str:
    return f"{collection(ref.namespace)}/{ref.name}"


def is_newer(version: str, held: str) -> bool:
    try:
        return int(version) > int(held)
    except ValueError:
        return version != held
