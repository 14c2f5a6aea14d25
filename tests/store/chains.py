"""A trail as tests look at it: all of its rows, and what `keyturn audit verify` finds of their chain alone."""

from collections.abc import AsyncIterator, Sequence

from keyturn.decide.hashchain import Walk
from keyturn.model.audit import Chained
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_reading import parts
from keyturn.store.audit_walk import ALONE, Pace, followed


def all_rows(trail: AuditTrail, after: int = 0) -> AsyncIterator[Sequence[Chained]]:
    """Those behind this number in their order, in parts."""
    return parts(trail._database, after)


async def verified(trail: AuditTrail, walk: Walk, pace: Pace = ALONE) -> str:
    """What is wrong with its first bad row, '' where all is as it was written."""
    return str(await followed(trail._database, walk, pace) or "")
