"""The metrics that the operator shows: dashboards and alerts hang on names and labels."""

import ssl
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from builders import condition, provider
from golden.golden import assert_golden
from keyturn.app import assemble
from keyturn.kube.config import ClusterConfig
from keyturn.model.errors import Rejected
from keyturn.model.status import ProviderStatus
from keyturn.settings import Settings


async def test_names_types_labels_and_buckets_are_as_they_were() -> None:
    engine = assemble(Settings(), ClusterConfig("https://127.0.0.1:1", ssl.create_default_context()), frozenset())
    try:
        metrics = engine.metrics
        metrics.synced("Synced", 0.1)
        metrics.wrote("status")
        metrics.failed("provider.read", "denied", "AccessDenied")
        metrics.called("fake", "get_many", "OK", 0.1)
        engine.cache.put(provider())
        families = list(text_string_to_metric_families(metrics.exposition().decode()))
    finally:
        await engine.lease_client.close()
        await engine.client.close()
    assert_golden("metrics.txt", "".join(line for family in sorted(families, key=lambda found: found.name) for line in described(family)))


def described(family: Metric) -> Iterator[str]:
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
    buckets = dict.fromkeys(sample.labels["le"] for sample in family.samples if "le" in sample.labels)
    yield f"{family.name} {family.type} {{{', '.join(labels)}}}\n  {family.documentation}\n"
    if buckets:
        yield f"  le: {' '.join(buckets)}\n"


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
