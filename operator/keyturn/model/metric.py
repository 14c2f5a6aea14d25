"""What a metric is, and the alert that goes with it: told once, for what counts, for docs/metrics.md, and for who is woken by it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Sort(StrEnum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Severity(StrEnum):
    """Whose an alert is."""

    PAGE = "page"
    TICKET = "ticket"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule of Prometheus. ``lasting``: how long it has to hold first; ``todo``: the next step of whoever gets it."""

    name: str
    expr: str
    severity: Severity
    summary: str
    todo: str
    lasting: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """``says`` is what Prometheus is told of it, and ``more`` what the page says besides; ``labels`` by name, with what they hold.

    All but ``says`` may be Markdown. A metric without an alert is one that nobody looks at, so there is none.
    """

    name: str
    sort: Sort
    says: str
    alerts: tuple[Alert, *tuple[Alert, ...]]
    labels: Mapping[str, str] = field(default_factory=dict)
    more: str = ""
    buckets: tuple[float, ...] = ()
