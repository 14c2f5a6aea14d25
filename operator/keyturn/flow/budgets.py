"""How often the objects of a namespace may have something done at once: whoever may edit them wears out nobody else."""

from dataclasses import dataclass, field
from typing import Final

from keyturn.decide.retry import Bucket

MOST_NAMESPACES: Final = 1000
"""Whose budgets are looked through for those that are whole again."""


@dataclass(frozen=True, slots=True)
class Budget:
    """So many at once, and then one in so many seconds."""

    burst: float
    each_s: float

    def fresh(self, now_s: float) -> Bucket:
        """As nobody has taken from it."""
        return Bucket.full(1 / self.each_s, self.burst, now_s)


@dataclass(slots=True)
class Own:
    """What is left to one object."""

    bucket: Bucket | None = None


@dataclass(slots=True)
class Budgets:
    """What is left to each namespace; ``of_object`` is a part of ``of_namespace``."""

    of_object: Budget
    of_namespace: Budget
    _shared: dict[str, Bucket] = field(default_factory=dict)

    def wait_s(self, namespace: str, own: Own, now_s: float) -> float:
        """Takes one from the object's and from the namespace's; or from neither, and says in how many seconds there may be one."""
        shared = self._shared.get(namespace) or self._began(now_s)
        mine, wait_s = _spent(own.bucket or self.of_object.fresh(now_s), now_s)
        if not wait_s:
            shared, wait_s = _spent(shared, now_s)
            mine = mine.give_back() if wait_s else mine
        self._shared[namespace], own.bucket = shared, mine
        return wait_s

    def _began(self, now_s: float) -> Bucket:
        if len(self._shared) >= MOST_NAMESPACES:
            whole_s = self.of_namespace.burst * self.of_namespace.each_s
            self._shared = {name: each for name, each in self._shared.items() if now_s - each.at_s < whole_s}
        return self.of_namespace.fresh(now_s)


def _spent(bucket: Bucket, now_s: float) -> tuple[Bucket, float]:
    """The budget after it, and 0; or the budget as it was, and how long it lacks one."""
    after, wait_s = bucket.take(now_s)
    return (after.give_back() if wait_s else after), wait_s
