"""Since when each ManagedSecret is not as ordered: kept current with the cache, so that nobody has to look through it."""

import time
from dataclasses import dataclass, field

from keyturn.model.ids import ObjectRef
from keyturn.model.objects import Managed
from keyturn.model.order import Order
from keyturn.model.status import moment


@dataclass(slots=True)
class Unsynced:
    """Times are wall-clock seconds. ``oldest`` may be called in any thread, the rest on the event loop alone."""

    _since: dict[ObjectRef, tuple[str, float]] = field(default_factory=dict)

    def put(self, found: Managed) -> None:
        """Takes in how an object stands now."""
        if not _is_unsynced(found):
            self._since.pop(found.ref, None)
            return
        uid, since = self._since.get(found.ref, ("", 0.0))
        if uid != found.uid:
            self._since[found.ref] = (found.uid, _since(found))
        elif (told := _since(found)) < since:
            self._since[found.ref] = (uid, told)

    def drop(self, ref: ObjectRef) -> None:
        self._since.pop(ref, None)

    def by_age(self) -> list[tuple[ObjectRef, float]]:
        """What is not as ordered and for how many seconds, the oldest first."""
        now = time.time()
        # Copied as one step before it is sorted, so that the loop may go on changing it.
        held = sorted(self._since.items(), key=lambda item: item[1][1])
        return [(ref, max(0.0, now - since)) for ref, (_, since) in held]


def _is_unsynced(found: Managed) -> bool:
    """Whether there is work to do or a fault to mend. What is being deleted, or was suspended, is as its user wants it."""
    if found.deleting or (isinstance(found.order, Order) and found.order.suspend):
        return False
    return not found.status.is_ready or found.status.generation != found.generation


def _since(found: Managed) -> float:
    """When Ready turned, which outlives a restart of ours; of a spec that nobody has looked at yet, now."""
    ready = found.status.condition("Ready")
    told = moment(ready.since) if ready is not None and ready.status != "True" else None
    return told.timestamp() if told else time.time()
