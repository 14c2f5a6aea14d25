"""How many rows of the audit trail denials may make: whoever may edit one object makes as many denials as it likes, and fills no disk."""

from dataclasses import dataclass, field
from typing import Final

from keyturn.decide.retry import Bucket

RATE_PER_S: Final = 1 / 60
OF_OBJECT: Final = 10.0
OF_NAMESPACE: Final = 100.0
"""So many at once, and then one a minute."""
MOST_NAMESPACES: Final = 1000
"""Whose budgets are looked through for those that are whole again."""


def _fresh(burst: float, now_s: float) -> Bucket:
    return Bucket.full(RATE_PER_S, burst, now_s)


def _spent(bucket: Bucket, now_s: float) -> tuple[Bucket, bool]:
    """The budget after it, and whether there was one."""
    after, wait_s = bucket.take(now_s)
    return (after.give_back(), False) if wait_s else (after, True)


@dataclass(slots=True)
class Own:
    """The budget of one object."""

    bucket: Bucket | None = None


@dataclass(slots=True)
class _Shared:
    bucket: Bucket
    unsaid: int = 0


@dataclass(slots=True)
class Denials:
    """The budgets of all namespaces, and how many denials of each were no row since the last one that was."""

    _shared: dict[str, _Shared] = field(default_factory=dict)

    def admit(self, namespace: str, own: Own, now_s: float) -> int | None:
        """Takes one from both budgets: how many were kept back in this namespace before it; None where it is kept back itself."""
        shared = self._shared.get(namespace)
        if shared is None:
            self._tidy(now_s)
            shared = self._shared[namespace] = _Shared(_fresh(OF_NAMESPACE, now_s))
        mine, is_free = _spent(own.bucket or _fresh(OF_OBJECT, now_s), now_s)
        if is_free:
            shared.bucket, is_free = _spent(shared.bucket, now_s)
            mine = mine if is_free else mine.give_back()
        own.bucket = mine
        if not is_free:
            shared.unsaid += 1
            return None
        unsaid, shared.unsaid = shared.unsaid, 0
        return unsaid

    def _tidy(self, now_s: float) -> None:
        if len(self._shared) >= MOST_NAMESPACES:
            whole_s = OF_NAMESPACE / RATE_PER_S
            self._shared = {name: each for name, each in self._shared.items() if each.unsaid or now_s - each.bucket.at_s < whole_s}
