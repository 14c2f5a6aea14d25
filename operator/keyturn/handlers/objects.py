"""Kopf's events about our own kinds: into the cache, a reference on the queue, and nothing else.

No other kind of handler is ever registered: those write finalizers and annotations to users' objects.
"""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from keyturn.model.ids import GROUP, VERSION, Kind

Hear = Callable[[Kind, str | None, Mapping[str, Any]], None]


def register(registry: kopf.OperatorRegistry, kinds: tuple[Kind, ...], hear: Hear) -> None:
    """Registers one event handler for each kind; ``hear`` gets kind, event type (None = from a list) and object."""
    for kind in kinds:
        _register(registry, kind, hear)


def _register(registry: kopf.OperatorRegistry, kind: Kind, hear: Hear) -> None:
    @kopf.on.event(GROUP, VERSION, kind.plural, id=f"keyturn-{kind.plural}", registry=registry)
    async def heard(event: Mapping[str, Any], **_: object) -> None:
        hear(kind, event["type"], event["object"])
