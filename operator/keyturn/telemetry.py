"""Logs as JSON lines with redaction, and Prometheus metrics. The only place that knows either's format."""

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import NoneType
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from keyturn.model.errors import KeyturnError
from keyturn.model.metric import Metric, Sort
from keyturn.model.metrics import CALLS, LANES, PHASE, PHASES, SYNCS, WAITS, WRITES
from keyturn.model.metrics_audit import FAILURES
from keyturn.model.sensitive import Sensitive

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
MESSAGE_LIMIT = 4096


_SHOWN = (str, int, float, bool, list, tuple, dict, NoneType)
# What msgspec writes exactly as json does, in a fraction of the time. It knows more types than json, bytes among them.
_QUICK = frozenset({str, int, bool, NoneType})
_quick_encode = msgspec.json.Encoder().encode


class JsonLines(logging.Formatter):
    """One JSON object a record. An exception is told by its class and frames: its text may quote what it choked on."""

    def __init__(self) -> None:
        super().__init__()
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self._time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:MESSAGE_LIMIT],
        }
        line |= {key: _plain(value) for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = told(record.exc_info[1])
        return _as_json(line)

    def _time(self, created_s: float) -> str:
        """RFC 3339 with milliseconds in UTC; the calendar is asked once a second."""
        second = int(created_s)
        more, millis = divmod(round((created_s - second) * 1_000_000) // 1000, 1000)
        second += more
        known, text = self._second
        if known != second:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            # As one tuple, since records come from several threads.
            self._second = (second, text)
        return f"{text}.{millis:03}+00:00"


def _as_json(line: dict[str, Any]) -> str:
    if all(map(_is_quick, line.values())):
        try:
            return msgspec.json.format(_quick_encode(line), indent=0).decode()
        except UnicodeEncodeError:
            # Half a surrogate pair, of a file's name for instance: the stream escapes it.
            pass
    return json.dumps(line, ensure_ascii=False, default=lambda value: f"<{type(value).__name__}>")


def _is_quick(value: object) -> bool:
    kind = type(value)
    if kind is dict:
        return all(type(name) is str and type(held) in _QUICK for name, held in value.items())  # type: ignore[attr-defined]
    return kind in _QUICK or (kind is list and all(type(held) in _QUICK for held in value))  # type: ignore[attr-defined]


def _plain(value: object) -> object:
    if isinstance(value, Sensitive):
        return repr(value)
    return value if isinstance(value, _SHOWN) else str(type(value).__name__)


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
    # No line tells who wrote it, and finding that out for each costs more than the line itself.
    logging._srcfile = None
    for look_up in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, look_up, False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(OnlyOurText())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("keyturn").setLevel(level.upper())


@dataclass(slots=True, eq=False)
class _Readings(Collector):
    """Numbers that are read when they are asked for, under one name."""

    metric: Metric
    reads: list[tuple[dict[str, str], Callable[[], float]]] = field(default_factory=list)

    def collect(self) -> Iterator[Family]:
        kind = CounterMetricFamily if self.metric.sort is Sort.COUNTER else GaugeMetricFamily
        family = kind(self.metric.name, self.metric.says, labels=list(self.metric.labels))
        for labels, read in self.reads:
            family.add_metric([labels[name] for name in self.metric.labels], read())
        yield family


@dataclass(slots=True, eq=False)
class _Tally(Collector):
    """One gauge for each set of labels that there is when it is asked for."""

    metric: Metric
    read: Callable[[], Mapping[tuple[str, ...], float]]

    def collect(self) -> Iterator[Family]:
        family = GaugeMetricFamily(self.metric.name, self.metric.says, labels=list(self.metric.labels))
        for values, number in self.read().items():
            family.add_metric(values, number)
        yield family


class Metrics:
    """The operator's numbers. Labels are reasons, verbs, phases and provider types: nothing that a tenant names."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it
        self.registry = CollectorRegistry()
        self._syncs, self._calls = self._histogram(SYNCS), self._histogram(CALLS)
        self._writes, self._failures = self._counter(WRITES), self._counter(FAILURES)
        phases, waits = self._histogram(PHASE), self._histogram(WAITS)
        # Of these there are several an object, so that their children are looked up once.
        self._phases = {phase: phases.labels(phase) for phase in PHASES}
        self._waits = {lane: waits.labels(lane) for lane in LANES}
        self._readings: dict[str, _Readings] = {}

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.says, list(metric.labels), registry=self.registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.says, list(metric.labels), registry=self.registry, buckets=metric.buckets)

    def watch(self, metric: Metric, read: Callable[[], float], **labels: str) -> None:
        """Adds a number that is read when it is asked for, in another thread; one metric may come again with other labels."""
        readings = self._readings.get(metric.name)
        if readings is None:
            readings = self._readings[metric.name] = _Readings(metric)
        readings.reads.append((labels, read))
        if len(readings.reads) == 1:
            self.registry.register(readings)

    def tally(self, metric: Metric, read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """Adds numbers by the values of the metric's labels, which come and go; ``read`` as in `watch`."""
        self.registry.register(_Tally(metric, read))

    def synced(self, outcome: str, seconds: float) -> None:
        self._syncs.labels(outcome).observe(seconds)

    def waited(self, lane: str, seconds: float) -> None:
        self._waits[lane].observe(seconds)

    def passed(self, phase: str, seconds: float) -> None:
        self._phases[phase].observe(seconds)

    def wrote(self, what: str) -> None:
        self._writes.labels(what).inc()

    def failed(self, action: str, outcome: str, reason: str) -> None:
        self._failures.labels(action, outcome, reason).inc()

    def called(self, provider: str, call: str, result: str, seconds: float) -> None:
        self._calls.labels(provider, call, result).observe(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
