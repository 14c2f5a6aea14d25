"""docs/metrics.md is what the declarations of the metrics give, and each alert there can fire and says what to do."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from keyturn.cli import cli
from keyturn.model.metric import Alert, Metric, Sort
from keyturn.model.metrics import METRICS
from pages import ROOT, blocks

PAGE = ROOT / "docs" / "metrics.md"
ALERTS = [(metric, alert) for metric in METRICS for alert in metric.alerts]
NAME = re.compile(r"\bkeyturn_\w+")
SELECTED = re.compile(r"(keyturn_\w+)\{([^}]*)\}")
MATCHED = re.compile(r'(\w+)(?:=|!=|=~|!~)"')
GROUPED = re.compile(r"\bby \(([^)]*)\)")
SHOWN = re.compile(r"\$labels\.(\w+)")
SCRAPED = {"namespace", "job"}
"""Labels that Prometheus gives by what it scrapes."""


def series() -> Iterator[tuple[str, set[str]]]:
    """The names that can stand in an expression, with the labels of each."""
    for metric in METRICS:
        labels = set(metric.labels)
        if metric.sort is Sort.HISTOGRAM:
            yield from ((f"{metric.name}_{end}", labels) for end in ("count", "sum"))
            yield f"{metric.name}_bucket", labels | {"le"}
        else:
            yield metric.name, labels


SERIES = dict(series())


def test_the_command_writes_the_page_that_is_checked_in(tmp_path: Path) -> None:
    made = tmp_path / "metrics.md"
    result = CliRunner().invoke(cli, ["metrics", "--out", str(made)])
    assert result.exit_code == 0, result.output
    assert made.read_text() == PAGE.read_text(), "run keyturn metrics --out docs/metrics.md"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_has_one_row_of_five_full_cells(metric: Metric) -> None:
    [row] = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{metric.name}` |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 5
    assert all(cells)


def test_the_rules_are_read_by_prometheus_as_they_are_declared() -> None:
    [page] = blocks(PAGE, "yaml")
    assert [
        (r["alert"], r["expr"], r.get("for", ""), r["labels"]["severity"], r["annotations"]["summary"], r["annotations"]["description"])
        for r in yaml.safe_load(page)["groups"][0]["rules"]
    ] == [(a.name, a.expr, a.lasting, a.severity, a.summary, a.todo) for _, a in ALERTS]


@pytest.mark.parametrize(("metric", "alert"), ALERTS, ids=lambda each: each.name)
def test_an_alert_asks_its_metric_by_labels_that_it_has_and_shows_labels_that_are_left(metric: Metric, alert: Alert) -> None:
    names = NAME.findall(alert.expr)
    assert set(names) <= SERIES.keys()
    assert any(name.startswith(metric.name) for name in names)
    for name, selectors in SELECTED.findall(alert.expr):
        assert set(MATCHED.findall(selectors)) <= SERIES[name]
    grouped = [{label.strip() for label in labels.split(",")} for labels in GROUPED.findall(alert.expr)]
    known = set.union(*(SERIES[name] for name in names)) | SCRAPED
    assert all(labels <= known for labels in grouped)
    left = grouped[0] if grouped else known
    assert set(SHOWN.findall(alert.summary + alert.todo)) <= left
    assert alert.todo.endswith(".")


def test_no_two_alerts_and_no_two_metrics_have_one_name() -> None:
    assert len({alert.name for _, alert in ALERTS}) == len(ALERTS)
    assert len({metric.name for metric in METRICS}) == len(METRICS)
