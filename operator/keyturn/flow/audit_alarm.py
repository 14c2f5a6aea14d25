"""Says in the operator's own namespace that the audit trail takes nothing until a person acts.

An object without a pending change stays Ready then, and no tenant can mend it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from keyturn.decide.audit_told import ALARMS
from keyturn.flow.checkpoints import EVENT_S

LOOK_S: Final = 2.0


@dataclass(slots=True)
class Alarm:
    """Looks at ``problem``; one that begins with a word of `ALARMS` goes to ``tell`` (kind, reason, note) at once, and then hourly."""

    problem: Callable[[], str]
    tell: Callable[[str, str, str], None]
    monotonic: Callable[[], float]
    is_leading: Callable[[], bool]
    _told: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self.is_leading():
                self._look()
            await asyncio.sleep(LOOK_S)

    def _look(self) -> None:
        problem, now = self.problem(), self.monotonic()
        reason = problem.partition(":")[0]
        if reason in ALARMS.values() and now >= self._told.get(reason, float("-inf")) + EVENT_S:
            self._told[reason] = now
            self.tell("Warning", reason, problem)
