"""docs/monitoring.md tells of every metric that there is and of no other, and has an alert for each."""

import re
import ssl
from collections.abc import Iterable

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from builders import provider
from keyturn.app import assemble
from keyturn.kube.config import ClusterConfig
from keyturn.settings import Settings
from keyturn.telemetry import PHASES
from pages import ROOT, blocks

PAGE = (ROOT / "docs" / "monitoring.md").read_text()
ROW = re.compile(r"^\| `(keyturn_\w+)` \|([^|]*)\|", re.MULTILINE)
NAME = re.compile(r"\bkeyturn_\w+")
SELECTED = re.compile(r"(keyturn_\w+)\{(\w+)")


@pytest.fixture
async def families() -> Iterable[Metric]:
    engine = assemble(Settings(), ClusterConfig("https://127.0.0.1:1", ssl.create_default_context()), frozenset())
    metrics = engine.metrics
    metrics.synced("Synced", 0.1)
    metrics.wrote("status")
    metrics.failed("provider.read", "denied", "AccessDenied")
    metrics.called("fake", "get_many", "OK", 0.1)
    engine.cache.put(provider())
    await engine.lease_client.close()
    await engine.client.close()
    return list(text_string_to_metric_families(metrics.exposition().decode()))


def shown(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


async def test_the_page_has_each_metric_with_its_labels(families: Iterable[Metric]) -> None:
    told = {name: set(re.findall(r"`(\w+)`", labels)[:1]) for name, labels in ROW.findall(PAGE)}
    there = {shown(family): {label for s in family.samples for label in s.labels} - {"le"} for family in families}
    assert set(told) == set(there)
    for name, labels in told.items():
        assert labels <= there[name], name
        assert bool(labels) == bool(there[name]), name


async def test_each_alert_is_about_a_metric_that_there_is_and_each_metric_has_one(families: Iterable[Metric]) -> None:
    *_, page = (yaml.safe_load(block) for block in blocks(PAGE, "yaml"))
    series = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    used: set[str] = set()
    for rule in page["groups"][0]["rules"]:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "ticket", "info")
        names = set(NAME.findall(rule["expr"]))
        assert names <= set(series), rule["alert"]
        assert all(label in series[name] for name, label in SELECTED.findall(rule["expr"])), rule["alert"]
        used |= names
    assert {shown(family) for family in families} <= {re.sub(r"_(bucket|count|sum)$", "", name) for name in used}


def test_what_the_page_lets_prometheus_ask_is_what_the_manifests_make() -> None:
    monitor, prometheus, _ = (yaml.safe_load(block) for block in blocks(PAGE, "yaml"))
    operator = ROOT / "deploy" / "operator"
    deployment, service = (yaml.safe_load((operator / f"{name}.yaml").read_text()) for name in ("deployment", "service"))
    [labels] = yaml.safe_load((operator / "kustomization.yaml").read_text())["labels"]
    [port] = deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels["pairs"].items()
    assert monitor["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == [port["name"]]
    kept = prometheus["scrape_configs"][0]["relabel_configs"][0]
    assert kept["regex"] == f"{labels['pairs']['app.kubernetes.io/name']};{port['name']}"
    assert f"The Service `{service['metadata']['name']}`" in PAGE
    assert f"has the port `{port['name']}`, {port['containerPort']}" in PAGE


def test_the_page_has_each_phase() -> None:
    for phase in PHASES:
        assert f"`{phase}`" in PAGE
