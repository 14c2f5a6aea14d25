"""Decodes object metadata: typed and partial, so that what we do not need is not even built."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from keyturn.model.ids import SecretRef
from keyturn.model.plan import Fields, Live, Owner

# kubectl keeps a copy of what was applied here, data of a Secret included: not ours to hold.
KEPT_VALUE = 1024
_DROPPED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


class OwnerReference(msgspec.Struct, rename="camel"):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    api_version: str = ""


class ManagedFields(msgspec.Struct, rename="camel"):
    manager: str = ""
    subresource: str = ""
    fields: dict[str, Any] = msgspec.field(name="fieldsV1", default_factory=dict)


class Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    managed_fields: list[ManagedFields] = []
    deletion_timestamp: datetime | None = None
    creation_timestamp: datetime | None = None


class Partial(msgspec.Struct):
    """A PartialObjectMetadata, or any object read as one."""

    metadata: Metadata


class ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class PartialList(msgspec.Struct):
    metadata: ListMeta
    items: list[Partial] | None = None


class WatchEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class ErrorObject(msgspec.Struct):
    code: int = 0


partial = msgspec.json.Decoder(Partial)
partial_list = msgspec.json.Decoder(PartialList)
watch_event = msgspec.json.Decoder(WatchEvent)
error_object = msgspec.json.Decoder(ErrorObject)


def live_of(found: Metadata) -> Live:
    """A Secret's metadata as the noun that decisions take."""
    managers: dict[str, Fields] = {}
    for entry in found.managed_fields:
        if not entry.subresource:
            managers[entry.manager] = managers.get(entry.manager, Fields()) | _fields(entry.fields)
    return Live(
        ref=SecretRef(found.namespace, found.name),
        uid=found.uid,
        resource_version=found.resource_version,
        labels=found.labels,
        annotations=_annotations(found, managers),
        owners=tuple(Owner(o.kind, o.name, o.uid, o.controller, o.api_version) for o in found.owner_references),
        managers=managers,
        created=found.creation_timestamp,
        deleting=found.deletion_timestamp is not None,
    )


def _annotations(found: Metadata, managers: Mapping[str, Fields]) -> dict[str, str]:
    """All names, and the values that may be ours: others can be 256 KiB for each of many Secrets, by anybody's hand."""
    ours = frozenset().union(*(fields.annotations for name, fields in managers.items() if name.startswith("keyturn/")))
    return {
        name: value if name in ours or len(value) <= KEPT_VALUE else ""
        for name, value in found.annotations.items()
        if name != _DROPPED_ANNOTATION
    }


def _fields(held: dict[str, Any]) -> Fields:
    metadata = held.get("f:metadata") or {}
    return Fields(_names(held.get("f:data")), _names(metadata.get("f:labels")), _names(metadata.get("f:annotations")))


def _names(held: dict[str, Any] | None) -> frozenset[str]:
    return frozenset(name[2:] for name in held or () if name.startswith("f:"))
