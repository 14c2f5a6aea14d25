"""The audit trail as log lines, where no database takes it. Sets up no logging by itself."""

import json
import logging
from datetime import UTC, datetime
from typing import Final

from keyturn.flow.audit_counts import AuditCounts
from keyturn.model.audit import AuditEntry, Findings, Outcome

LOGGER = "keyturn.audit"


class LogAudit:
    """An `AuditLog` that writes structured log lines; the database takes its place where there is one. Nothing waits, or fails."""

    problem: Final = ""
    is_away: Final = False
    lag: Final = 0
    oldest_s: Final = 0.0
    head: Final = None

    def __init__(self) -> None:
        self._log = logging.getLogger(LOGGER)
        self._serial = 0
        self._actions: dict[str, str] = {}
        self.counts = AuditCounts()
        self._epoch = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"

    async def intend(self, entry: AuditEntry) -> str:
        event = self._say("intent", entry)
        self._actions[event] = entry.action
        return event

    async def settle(self, intent: str, outcome: Outcome, reason: str = "", found: Findings | None = None) -> None:
        self.counts.ended(self._actions.pop(intent, ""), outcome, reason)
        told = {} if found is None else {"details": dict(found.details)} | ({} if found.keys is None else {"keys": list(found.keys)})
        self._log.info("settled", extra={"settles": intent, "outcome": str(outcome), "reason": reason, **told})

    def record(self, entry: AuditEntry, outcome: Outcome, reason: str = "") -> None:
        self.counts.ended(entry.action, outcome, reason)
        self._say("recorded", entry, outcome=str(outcome), reason=reason)

    def _say(self, message: str, entry: AuditEntry, **ended: str) -> str:
        self._serial += 1
        event = f"{self._epoch}-{self._serial}"
        told = {
            "event": event,
            "action": entry.action,
            "subject": entry.subject,
            "target": entry.target,
            "trigger": entry.trigger,
            "keys": list(entry.keys),
            "details": dict(entry.details),
            "attempt": entry.attempt,
        }
        self._log.info(message, extra={**told, **ended})
        return event


class AuditLines(logging.Formatter):
    """One JSON object a record of the audit trail, for programs that set up no logging of their own."""

    _FIELDS = ("event", "action", "subject", "target", "trigger", "keys", "details", "attempt", "settles", "outcome", "reason")

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "logger": record.name, "message": record.getMessage()}
        return json.dumps(line | {name: getattr(record, name) for name in self._FIELDS if hasattr(record, name)})
