"""From data and order to the Secret as it should be: fields, marks, owner, field manager."""

import hashlib
from collections.abc import Mapping

from keyturn.decide.fingerprint import FingerprintKey
from keyturn.model.ids import (
    CLASS_ANNOTATION,
    DEFAULT_PROVIDER,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MANAGED_LABEL,
    OWNER_ANNOTATION,
    REVISION_ANNOTATION,
    SOURCE_ANNOTATION,
    SecretRef,
)
from keyturn.model.material import Value
from keyturn.model.objects import Managed
from keyturn.model.order import CreationPolicy, Material, Order
from keyturn.model.plan import Desired, Owner
from keyturn.model.sensitive import Sensitive
from keyturn.model.status import LISTED, SourceStatus

TOLD_BYTES = 16 << 10
"""How much of a Secret's annotations (256 KiB for all) we take to say where its data come from."""


def manager_of(name: str) -> str:
    """The field manager of a ManagedSecret: by name, so that one made anew takes over its own fields.

    The API server takes at most 128 bytes.
    """
    full = f"keyturn/{name}"
    if len(full) <= 128:
        return full
    return f"keyturn/{name[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def sources_of(order: Order) -> tuple[SourceStatus, ...]:
    """Which values the order draws on, by the versions that it asks for, without repeats, in the order of the spec."""
    return tuple(dict.fromkeys(SourceStatus(str(e.provider or DEFAULT_PROVIDER), e.source.key, e.source.version) for e in order.entries))


def drawn_on(order: Order, material: Material) -> tuple[SourceStatus, ...]:
    """Of these the ones that gave something, by the versions that came as the provider names them: '' where it names none."""
    came = ((e, answer) for e in order.entries if isinstance(answer := material[e.provider, e.source], Value))
    return tuple(dict.fromkeys(SourceStatus(str(e.provider or DEFAULT_PROVIDER), e.source.key, answer.version) for e, answer in came))


def marks(managed: Managed, order: Order, controller_class: str) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations that the Secret carries whatever its data: ours, and the template's."""
    sources = sources_of(order)
    told = [f"{s.provider}:{s.key}{'@' + s.version if s.version else ''}" for s in sources[:LISTED]]
    while told and sum(len(text.encode()) for text in told) > TOLD_BYTES:
        told.pop()
    if len(sources) > len(told):
        told.append(f"(+{len(sources) - len(told)} more)")
    labels = {**order.target.labels, MANAGED_LABEL: "true", MANAGED_BY_LABEL: MANAGED_BY}
    annotations = {**order.target.annotations, OWNER_ANNOTATION: managed.ref.name, SOURCE_ANNOTATION: ", ".join(told)}
    if controller_class:
        annotations[CLASS_ANNOTATION] = controller_class
    return labels, annotations


def owner_of(managed: Managed, order: Order) -> Owner | None:
    """The ownerReference that the Secret carries: with it the garbage collector takes the Secret along."""
    return managed.as_owner if order.target.creation is CreationPolicy.OWNER else None


def render(
    managed: Managed, order: Order, material: Material, data: Mapping[str, Sensitive], revision: str, controller_class: str = ""
) -> Desired:
    """The Secret as ordered, without the time of its last change, which depends on what stands."""
    labels, annotations = marks(managed, order, controller_class)
    annotations[REVISION_ANNOTATION] = revision
    return Desired(
        ref=SecretRef(managed.ref.namespace, order.target.name),
        type=order.target.type,
        data=data,
        labels=labels,
        annotations=annotations,
        revision=revision,
        owner=owner_of(managed, order),
        manager=manager_of(managed.ref.name),
        sources=drawn_on(order, material),
    )


def revision_of(key: FingerprintKey, data: Mapping[str, Sensitive], former: str, former_data: Mapping[str, Sensitive] | None) -> str:
    """The revision of ``data``; the former one stays where the key's id changed and the data did not (cluster rule 16)."""
    if former_data is not None and former_data.keys() == data.keys() and all(former_data[k] == v for k, v in data.items()):
        return former
    return key.revision(data)
