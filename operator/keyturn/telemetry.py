"""Logs as JSON lines with redaction, and Prometheus metrics. The only place that knows either's format."""

import json
import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import KeyturnError
from keyturn.model.sensitive import Sensitive

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
MESSAGE_LIMIT = 4096


class JsonLines(logging.Formatter):
    """One JSON object a record. An exception is told by its class and frames: its text may quote what it choked on."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:MESSAGE_LIMIT],
        }
        line |= {key: _plain(value) for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = told(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=lambda value: f"<{type(value).__name__}>")


def _plain(value: object) -> object:
    if isinstance(value, Sensitive):
        return repr(value)
    return value if isinstance(value, str | int | float | bool | list | tuple | dict | None) else str(type(value).__name__)


def told(error: BaseException) -> str:
    """An exception as far as it is safe: class and frames; the text of our own errors alone."""
    text = f": {error}" if isinstance(error, KeyturnError) else ""
    frames = "".join(traceback.format_tb(error.__traceback__)[-12:])
    return f"{type(error).__module__}.{type(error).__qualname__}{text}\n{frames}"


class OnlyOurText(logging.Filter):
    """Lets libraries speak at WARNING and above only, whatever the level: their debug lines print bodies and headers."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name.startswith("keyturn") or record.levelno >= logging.WARNING


def set_up_logs(level: str) -> None:
    """Sends JSON lines to standard error, in place of whatever was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(OnlyOurText())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("keyturn").setLevel(level.upper())


class Metrics:
    """The operator's numbers. Labels are reasons, verbs and provider types: nothing that a tenant names."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it
        self.registry = CollectorRegistry()
        self._syncs = Histogram(
            "keyturn_sync_duration_seconds",
            "Time of one sync of a ManagedSecret, by how it ended.",
            ["outcome"],
            registry=self.registry,
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
        )
        self._writes = Counter(
            "keyturn_cluster_writes_total", "Writes to the API server, by what was written.", ["what"], registry=self.registry
        )
        self._calls = Histogram(
            "keyturn_provider_call_duration_seconds",
            "Time of one call to a provider, by its type, the call and the class of its result.",
            ["provider", "call", "result"],
            registry=self.registry,
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
        )

    def watch(self, name: str, description: str, read: Callable[[], float], **labels: str) -> None:
        """Adds a gauge that is read when it is asked for."""
        gauge = Gauge(name, description, list(labels), registry=self.registry)
        (gauge.labels(**labels) if labels else gauge).set_function(read)

    def synced(self, outcome: str, seconds: float) -> None:
        self._syncs.labels(outcome).observe(seconds)

    def wrote(self, what: str) -> None:
        self._writes.labels(what).inc()

    def called(self, provider: str, call: str, result: str, seconds: float) -> None:
        self._calls.labels(provider, call, result).observe(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


class LogAudit:
    """An `AuditLog` that writes structured log lines; the database takes its place where there is one."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._log = logger or logging.getLogger("keyturn.audit")
        self._serial = 0
        self._epoch = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"

    async def intend(self, entry: AuditEntry) -> str:
        self._serial += 1
        event = f"{self._epoch}-{self._serial}"
        self._log.info(
            "intent",
            extra={
                "event": event,
                "action": entry.action,
                "subject": entry.subject,
                "target": entry.target,
                "trigger": entry.trigger,
                "keys": list(entry.keys),
                "details": dict(entry.details),
            },
        )
        return event

    async def settle(self, intent: str, outcome: Outcome, reason: str = "") -> None:
        self._log.info("settled", extra={"settles": intent, "outcome": str(outcome), "reason": reason})
