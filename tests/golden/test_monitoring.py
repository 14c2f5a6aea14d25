"""What docs/monitoring.md has Prometheus scrape is what the manifests make."""

import yaml

from pages import ROOT, blocks

PAGE = (ROOT / "docs" / "monitoring.md").read_text()


def test_what_the_page_lets_prometheus_ask_is_what_the_manifests_make() -> None:
    monitor, prometheus = (yaml.safe_load(block) for block in blocks(PAGE, "yaml"))
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
