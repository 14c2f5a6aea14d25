"""What the operator says of itself in the audit trail: that it starts, leads, does not any more, and ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.flow.world import World
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.status import timestamp

OPERATOR: Final = "operator"


@dataclass(slots=True)
class Office:
    """``facts`` are what it runs with, ``settings`` the names of those that are not the default.

    A replica that only stands by changes nothing and says nothing: its rows begin with its first term.
    """

    world: World
    facts: Mapping[str, str]
    settings: tuple[str, ...] = ()
    _has_led: bool = False
    _epoch: int | None = None

    def begin(self, epoch: int, anchor: str) -> None:
        """Our term begins; ``anchor`` is the end of the trail that the Lease knew."""
        if not self._has_led:
            started = {"started": timestamp(self.world.started), **self.facts}
            self._say("operator.start", started, settings=self.settings)
        self._has_led, self._epoch = True, epoch
        self._say("operator.lead", {"epoch": str(epoch), "anchor": anchor})

    def leave(self) -> None:
        """Another replica may lead from now on."""
        if self._epoch is not None:
            self._say("operator.leave", {"epoch": str(self._epoch)})
        self._epoch = None

    def end(self, problem: str = "") -> None:
        """The process ends, by a ``problem`` where it was not told to."""
        if self._has_led:
            self._say("operator.stop", {"problem": problem} if problem else {}, "Failed" if problem else "")
        self._has_led, self._epoch = False, None

    def _say(self, action: str, details: Mapping[str, str], reason: str = "", settings: tuple[str, ...] = ()) -> None:
        told = {name: text for name, text in details.items() if text}
        entry = AuditEntry(action, OPERATOR, OPERATOR, keys=settings, details=told)
        self.world.audit.record(entry, Outcome.FAILURE if reason else Outcome.SUCCESS, reason)
