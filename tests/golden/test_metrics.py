"""The metrics that the operator shows are those that are declared; docs/metrics.md is made from the same."""

import ssl
from collections.abc import Mapping

from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from builders import condition, provider
from keyturn.app import assemble
from keyturn.kube.config import ClusterConfig
from keyturn.model.errors import Rejected
from keyturn.model.metrics import METRICS
from keyturn.model.status import ProviderStatus
from keyturn.settings import Settings

Told = tuple[str, str, frozenset[str], tuple[str, ...]]


async def test_what_is_shown_is_what_is_declared_and_nothing_else() -> None:
    engine = assemble(Settings(), ClusterConfig("https://127.0.0.1:1", ssl.create_default_context()), frozenset())
    try:
        metrics = engine.metrics
        metrics.synced("Synced", 0.1)
        metrics.wrote("status")
        metrics.failed("provider.read", "denied", "AccessDenied")
        metrics.called("fake", "get_many", "OK", 0.1)
        engine.cache.put(provider())
        shown = {family.name: told(family) for family in text_string_to_metric_families(metrics.exposition().decode())}
    finally:
        await engine.lease_client.close()
        await engine.client.close()
    assert shown == declared()


def declared() -> Mapping[str, Told]:
    """By the name that Prometheus gives a family: a counter's ends before ``_total``."""
    return {
        metric.name.removesuffix("_total"): (
            str(metric.sort),
            metric.says,
            frozenset(metric.labels),
            (*(str(float(bound)) for bound in metric.buckets), "+Inf") if metric.buckets else (),
        )
        for metric in METRICS
    }


def told(family: Family) -> Told:
    labels = frozenset(label for sample in family.samples for label in sample.labels)
    buckets = tuple(dict.fromkeys(sample.labels["le"] for sample in family.samples if "le" in sample.labels))
    return family.type, family.documentation, labels - {"le"}, buckets


async def test_provider_objects_are_counted_by_type_and_reason_and_by_no_word_that_a_tenant_may_choose() -> None:
    engine = assemble(Settings(), ClusterConfig("https://127.0.0.1:1", ssl.create_default_context()), frozenset())
    try:
        strange = ProviderStatus(1, (condition("Ready", "False", "my-own-word"),), "")
        for made in (
            provider("one", ready="True"),
            provider("two", ready="True"),
            provider("three", ready="False"),
            provider("new"),
            provider("strange", status=strange),
            provider("refused", order=Rejected("spec: no")),
            provider("of-others", ready="False", controller_class="others"),
            provider("going", ready="False", deleting=True),
        ):
            engine.cache.put(made)
        [family] = [f for f in text_string_to_metric_families(engine.metrics.exposition().decode()) if f.name == "keyturn_providers"]
    finally:
        await engine.lease_client.close()
        await engine.client.close()
    assert {(sample.labels["provider"], sample.labels["reason"]): sample.value for sample in family.samples} == {
        ("file", "Valid"): 2,
        ("file", "AuthFailed"): 1,
        ("file", "Progressing"): 1,
        ("file", "Other"): 1,
        ("none", "Progressing"): 1,
    }
