"""How many rows of the audit trail denials may make: whoever may edit one object makes as many denials as it likes, and fills no disk."""

from dataclasses import dataclass, field
from typing import Final

from keyturn.flow.budgets import Budget, Budgets, Own

OF_OBJECT: Final = Budget(10, 60)
OF_NAMESPACE: Final = Budget(100, 60)


@dataclass(slots=True)
class Denials:
    """How many denials of each namespace were no row since the last one that was."""

    budgets: Budgets = field(default_factory=lambda: Budgets(OF_OBJECT, OF_NAMESPACE))
    _unsaid: dict[str, int] = field(default_factory=dict)

    def admit(self, namespace: str, own: Own, now_s: float) -> int | None:
        """Takes one: how many were kept back in this namespace before it; None where it is kept back itself."""
        if self.budgets.wait_s(namespace, own, now_s):
            self._unsaid[namespace] = self._unsaid.get(namespace, 0) + 1
            return None
        return self._unsaid.pop(namespace, 0)
