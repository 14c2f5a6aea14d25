"""Decodes object metadata: typed and partial, so that what we do not need is not even built.

Whoever may write an object may widen its metadata to more than a megabyte, and names in memory take ten times their text.
So each object is decoded by itself, and of what others put there no more is kept than decisions can use.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from functools import lru_cache

import msgspec

from keyturn.model.ids import GROUP, SecretRef
from keyturn.model.plan import Fields, Live, Owner

# kubectl keeps a copy of what was applied here, data of a Secret included: not ours to hold.
KEPT_VALUE = 1024
_DROPPED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

_OURS, _MARK = "keyturn/", f"{GROUP}/"

FOREIGN_FIELDS = 16 << 10
"""So many bytes of managedFields of others are read, which name some hundred data keys."""
FOREIGN_NAMES = 200
"""So many labels are kept that are not ours, and so many annotations."""
SHARED_NAMES = 20
"""Sets of more names are not kept for others: somebody could make us hold any number of them."""
HELD_NAMES, HELD_VALUES = 2000, 128 << 10
"""A Secret with more names of all sorts, or longer values, is not held for as long as it is there, but looked at when needed."""


class OwnerReference(msgspec.Struct, rename="camel"):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    api_version: str = ""


class Leaf(msgspec.Struct, gc=False):
    """Whatever is below a field: its name alone counts."""


Names = dict[str, Leaf]


class HeldMetadata(msgspec.Struct):
    labels: Names = msgspec.field(name="f:labels", default_factory=dict)
    annotations: Names = msgspec.field(name="f:annotations", default_factory=dict)


class HeldData(msgspec.Struct):
    """What somebody else holds: decisions ask for data keys alone."""

    data: Names = msgspec.field(name="f:data", default_factory=dict)


class Held(HeldData):
    """What a manager of ours holds."""

    metadata: HeldMetadata = msgspec.field(name="f:metadata", default_factory=HeldMetadata)


class ManagedFields(msgspec.Struct, rename="camel"):
    manager: str = ""
    subresource: str = ""
    fields: msgspec.Raw = msgspec.field(name="fieldsV1", default=msgspec.Raw(b"{}"))


class Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
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
    items: list[msgspec.Raw] | None = None


class WatchEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class ErrorObject(msgspec.Struct):
    code: int = 0


partial = msgspec.json.Decoder(Partial)
partial_list = msgspec.json.Decoder(PartialList)
watch_event = msgspec.json.Decoder(WatchEvent)
error_object = msgspec.json.Decoder(ErrorObject)
_held = msgspec.json.Decoder(Held)
_held_data = msgspec.json.Decoder(HeldData)


def items_of(page: PartialList) -> Iterator[Metadata]:
    """Each object of a page in turn, so that one alone is decoded at a time."""
    return (partial.decode(item).metadata for item in page.items or ())


def live_of(found: Metadata) -> Live:
    """A Secret's metadata as the noun that decisions take."""
    managers: dict[str, Fields] = {}
    room, is_cut = FOREIGN_FIELDS, False
    for entry in found.managed_fields:
        if entry.subresource:
            continue
        if not entry.manager.startswith(_OURS):
            room -= len(entry.fields)
            if room < 0:
                is_cut = True
                continue
        held = _fields(entry)
        managers[entry.manager] = managers[entry.manager] | held if entry.manager in managers else _shared(held)
    ours = Fields()
    for name, fields in managers.items():
        ours = ours | fields if name.startswith(_OURS) else ours
    return Live(
        ref=SecretRef(found.namespace, found.name),
        uid=found.uid,
        resource_version=found.resource_version,
        labels=_kept(found.labels, ours.labels),
        annotations=_annotations(_kept(found.annotations, ours.annotations), ours.annotations),
        owners=tuple(Owner(o.kind, o.name, o.uid, o.controller, o.api_version) for o in found.owner_references),
        managers=managers,
        created=found.creation_timestamp,
        deleting=found.deletion_timestamp is not None,
        is_cut=is_cut or max(len(found.labels), len(found.annotations)) > FOREIGN_NAMES,
    )


def is_wide(live: Live) -> bool:
    """Whether it is more than we hold of one Secret."""
    names = sum(len(fields.data) + len(fields.labels) + len(fields.annotations) for fields in live.managers.values())
    names += len(live.managers) + len(live.labels) + len(live.annotations) + len(live.owners)
    return names > HELD_NAMES or sum(map(len, live.annotations.values())) > HELD_VALUES


def _kept(there: Mapping[str, str], ours: Collection[str]) -> Mapping[str, str]:
    """Ours, our marks, and as many others as there is room for."""
    if len(there) <= FOREIGN_NAMES:
        return there
    others = [name for name in there if name not in ours and not name.startswith(_MARK)]
    dropped = frozenset(others[FOREIGN_NAMES:])
    return {name: value for name, value in there.items() if name not in dropped}


def _annotations(there: Mapping[str, str], ours: Collection[str]) -> dict[str, str]:
    """All names, and the values that may be ours: others can be 256 KiB for each of many Secrets, by anybody's hand."""
    return {name: value if name in ours or len(value) <= KEPT_VALUE else "" for name, value in there.items() if name != _DROPPED_ANNOTATION}


def _fields(entry: ManagedFields) -> Fields:
    if not entry.manager.startswith(_OURS):
        return Fields(_names(_held_data.decode(entry.fields).data))
    held = _held.decode(entry.fields)
    return Fields(_names(held.data), _names(held.metadata.labels), _names(held.metadata.annotations))


@lru_cache(maxsize=256)
def _same(fields: Fields) -> Fields:
    return fields


def _shared(fields: Fields) -> Fields:
    """One for all Secrets of which a manager holds the same: most differ in their values alone."""
    is_short = len(fields.data) + len(fields.labels) + len(fields.annotations) <= SHARED_NAMES
    return _same(fields) if is_short else fields


def _names(held: Names) -> frozenset[str]:
    return frozenset(name[2:] for name in held if name.startswith("f:"))
