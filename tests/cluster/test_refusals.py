"""What nobody gets, whoever asks: the operator's own reach, others' providers, and Secrets that are more than data."""

import base64
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cluster.api import Api, ApiError, Json
from cluster.process import Operator
from cluster.shop import Shop, cluster_provider, condition, fake, managed_secret, secret_provider
from cluster.waiting import always, eventually

FILES = {"file": {"path": "any", "format": "Directory"}}


class Made:
    """Cluster providers of one test."""

    def __init__(self, api: Api, prefix: str) -> None:
        self.api = api
        self.names: list[str] = []
        self._prefix = prefix

    def provider(self, provider: Json, **spec: object) -> dict[str, str]:
        """Makes one; a reference to it."""
        name = f"{self._prefix}-{len(self.names)}"
        self.api.create(cluster_provider(name, provider, **spec))
        self.names.append(name)
        return {"kind": "ClusterSecretProvider", "name": name}

    def ready(self, ref: dict[str, str]) -> Json:
        """Its Ready condition, as soon as there is one."""
        return eventually(lambda: condition(self.api.get("ClusterSecretProvider", "", ref["name"]).get("status", {}), "Ready"))


@pytest.fixture
def made(shop: Shop) -> Iterator[Made]:
    made = Made(shop.api, shop.namespace)
    yield made
    for name in made.names:
        with suppress(ApiError):
            shop.api.delete("ClusterSecretProvider", "", name)


def refused(api: Api, wish: Json) -> str:
    """Why the API server refuses it."""
    with pytest.raises(ApiError) as refusal:
        api.create(wish)
    assert refusal.value.status in (400, 403, 422), refusal.value
    return str(refusal.value)


@pytest.mark.parametrize("provider", [FILES, {"env": {}}, {"env": {"prefix": "KEYTURN_SECRET_"}}], ids=["file", "env", "env-prefix"])
def test_the_operators_files_and_environment_are_not_for_a_namespaced_provider(shop: Shop, provider: Json) -> None:
    why = refused(shop.api, secret_provider(shop.namespace, "mine", provider))
    assert "ClusterSecretProvider" in why


@pytest.mark.parametrize("prefix", ["", "K", "KEYTURN_", "KEYTURN_SECRE", "SECRETS_", "DATABASE_URL", "AWS_", "PATH", "VAULT_", "HOME"])
def test_no_prefix_reaches_the_operators_own_settings(made: Made, shop: Shop, prefix: str) -> None:
    try:
        ref = made.provider({"env": {"prefix": prefix}})
    except ApiError as refusal:
        assert refusal.status == 422  # noqa: PT017  # both ways are right; what must not be is a value
        return
    assert made.ready(ref)["status"] == "False"
    shop.order("app", {"value": "OPERATOR_NAMESPACE"}, providerRef=ref)
    eventually(lambda: shop.ready("app").get("status") == "False")
    assert shop.find("app") is None


def test_the_environment_is_read_below_its_prefix(made: Made, shop: Shop, operator: Operator) -> None:
    ref = made.provider({"env": {"prefix": "KEYTURN_SECRET_"}}, conditions=[{"namespaces": [shop.namespace]}])
    shop.synced("app", {"api-key": "STRIPE"}, providerRef=ref, refreshInterval="0")
    assert shop.data("app") == {"api-key": operator.settings["KEYTURN_SECRET_STRIPE"]}
    shop.order("lower", {"api-key": "stripe"}, providerRef=ref)
    shop.wait("lower", "SourceNotFound")


@pytest.mark.parametrize("path", ["..", "../..", "a/../../b", "/etc", "/proc/self", "/var/run/secrets"])
def test_no_path_leads_out_of_the_file_root(made: Made, shop: Shop, path: str) -> None:
    try:
        ref = made.provider({"file": {"path": path, "format": "Directory"}})
    except ApiError as refusal:
        assert refusal.status == 422  # noqa: PT017  # as above
        return
    assert made.ready(ref)["status"] == "False"
    shop.order("app", {"value": "passwd"}, providerRef=ref)
    eventually(lambda: shop.ready("app").get("status") == "False")
    assert shop.find("app") is None


def test_no_secret_of_the_operators_own_names_is_a_target(shop: Shop) -> None:
    provider = shop.provider
    by_name = managed_secret(shop.namespace, "app", provider, {"password": "password"}, target={"name": "keyturn-fingerprint-key"})
    assert "keyturn-" in refused(shop.api, by_name)
    by_default = managed_secret(shop.namespace, "keyturn-mine", provider, {"password": "password"})
    try:
        shop.api.create(by_default)
    except ApiError as refusal:
        assert refusal.status == 422  # noqa: PT017  # as above
    else:
        assert "keyturn-" in shop.wait("keyturn-mine", "InvalidSpec")["message"]
        assert shop.find("keyturn-mine") is None


def test_the_operators_namespace_is_no_place_for_a_managed_secret(shop: Shop, made: Made) -> None:
    ref = made.provider({"file": {"path": shop.namespace, "format": "Directory"}})
    shop.source(password=shop.value())
    namespace = "keyturn-system"
    shop.api.create(managed_secret(namespace, shop.namespace, ref, {"password": "password"}))
    try:
        ready = eventually(lambda: condition(shop.api.get("ManagedSecret", namespace, shop.namespace).get("status", {}), "Ready"))
        assert ready["reason"] == "InvalidSpec"
        assert "operator's own namespace" in ready["message"]
        assert shop.api.find("Secret", namespace, shop.namespace) is None
    finally:
        shop.api.delete("ManagedSecret", namespace, shop.namespace)


@pytest.mark.parametrize(
    "kind",
    ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "helm.sh/release.v1", "example.com/any", "opaque"],
)
def test_types_off_the_list_are_refused(shop: Shop, kind: str) -> None:
    shop.source(password=shop.value())
    wish = managed_secret(shop.namespace, "app", shop.provider, {"password": "password"}, target={"template": {"type": kind}})
    try:
        shop.api.create(wish)
    except ApiError as refusal:
        assert refusal.status == 422  # noqa: PT017  # as above
        return
    assert kind in shop.wait("app", "InvalidSpec")["message"]
    assert shop.find("app") is None


def test_a_provider_of_another_namespace_cannot_be_read(shop: Shop) -> None:
    other = f"{shop.namespace}-2"
    shop.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    try:
        shop.api.create(secret_provider(other, "theirs", fake(password="theirs")))
        shop.order("app", providerRef={"kind": "SecretProvider", "name": "theirs"})
        assert "namespace" in shop.wait("app", "ProviderNotFound")["message"]
        assert shop.find("app") is None
        wish = managed_secret(shop.namespace, "sneaky", {"kind": "SecretProvider", "name": "theirs", "namespace": other}, {"a": "password"})
        assert "namespace" in _strictly_refused(shop.api, wish)
        wish["spec"]["providerRef"] = {"kind": "SecretProvider", "name": f"{other}/theirs"}
        assert "name" in refused(shop.api, wish)
    finally:
        shop.api.delete("Namespace", "", other)


def test_a_provider_of_the_own_namespace_is_waited_for(shop: Shop, canary: object) -> None:
    shop.order("app", providerRef={"kind": "SecretProvider", "name": "mine"})
    shop.wait("app", "ProviderNotFound")
    shop.api.create(secret_provider(shop.namespace, "mine", fake(password="mine")))
    shop.wait("app")
    assert shop.data("app") == {"password": "mine"}
    shop.api.merge("SecretProvider", shop.namespace, "mine", {"spec": {"provider": fake(password="changed")}})
    eventually(lambda: shop.data("app") == {"password": "changed"})


def by_name(shop: Shop) -> Json:
    return {"namespaces": [shop.namespace]}


def by_regex(shop: Shop) -> Json:
    return {"namespaceRegexes": [f"^{shop.namespace[:9]}"]}


def by_label(shop: Shop) -> Json:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": shop.namespace}}}


def by_expression(shop: Shop) -> Json:
    return {
        "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [shop.namespace]}]}
    }


@pytest.mark.parametrize("admit", [by_name, by_regex, by_label, by_expression])
def test_a_condition_admits_what_it_names_and_nothing_else(shop: Shop, made: Made, admit: object) -> None:
    assert callable(admit)
    shop.source(password=(value := shop.value()))
    files = {"file": {"path": shop.namespace, "format": "Directory"}}
    ref = made.provider(files, conditions=[{"namespaces": ["another"]}])
    shop.order("app", providerRef=ref)
    ready = shop.wait("app", "ProviderNotAllowed")
    assert shop.namespace in ready["message"]
    assert condition(shop.status("app"), "Stalled")["status"] == "True"
    shop.api.merge("ClusterSecretProvider", "", ref["name"], {"spec": {"conditions": [{"namespaces": ["another"]}, admit(shop)]}})
    shop.wait("app")
    assert shop.data("app") == {"password": value}
    shop.api.merge("ClusterSecretProvider", "", ref["name"], {"spec": {"conditions": [{"namespaces": ["another"]}]}})
    shop.wait("app", "ProviderNotAllowed")
    assert shop.data("app") == {"password": value}, "what was once given is not taken away"


def test_a_namespaces_labels_count_at_once_both_ways(shop: Shop, made: Made) -> None:
    shop.source(password=shop.value())
    files = {"file": {"path": shop.namespace, "format": "Directory"}}
    ref = made.provider(files, conditions=[{"namespaceSelector": {"matchLabels": {"team": shop.namespace}}}])
    shop.order("app", providerRef=ref, refreshInterval="1s")
    shop.wait("app", "ProviderNotAllowed")
    _label(shop, shop.namespace)
    shop.wait("app", deadline_s=5)
    before = shop.data("app")
    _label(shop, None)
    shop.wait("app", "ProviderNotAllowed", deadline_s=5)
    shop.source(password=shop.value())
    always(lambda: shop.data("app") == before, 3, "a namespace that is no longer admitted still gets new values")
    _label(shop, shop.namespace)
    shop.wait("app", deadline_s=5)
    eventually(lambda: shop.data("app") not in ({}, before))


def test_a_label_that_changed_while_the_operator_was_down_counts_after_its_start(shop: Shop, made: Made, operator: Operator) -> None:
    shop.source(password=shop.value())
    files = {"file": {"path": shop.namespace, "format": "Directory"}}
    ref = made.provider(files, conditions=[{"namespaceSelector": {"matchLabels": {"team": shop.namespace}}}])
    _label(shop, shop.namespace)
    shop.synced("app", providerRef=ref, refreshInterval="1s")
    before = shop.data("app")
    assert operator.stop() == 0
    _label(shop, None)
    shop.source(password=shop.value())
    operator.start()
    always(lambda: shop.data("app") == before, 3, "a namespace that is no longer admitted got a new value")
    shop.wait("app", "ProviderNotAllowed")


def test_without_a_provider_none_is_taken_by_default(shop: Shop) -> None:
    wish = managed_secret(shop.namespace, "app", {}, {"password": "STRIPE"})
    del wish["spec"]["providerRef"]
    shop.api.create(wish)
    shop.wait("app", "ProviderNotAllowed")
    assert shop.find("app") is None


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"target": {"creationPolicy": "Merge"}}, "creationPolicy"),
        ({"target": {"immutable": True}}, "immutable"),
        ({"delivery": {"mode": "Envelope", "serviceAccounts": ["app"]}}, "delivery"),
        ({"rollout": {"restart": "Auto"}}, "rollout"),
        ({"dataFrom": [{"extract": {"key": "app"}}]}, "dataFrom"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_built_yet_is_refused_and_never_ignored(shop: Shop, spec: Json, word: str) -> None:
    shop.source(password=shop.value())
    shop.order("app", **spec)
    assert word in shop.wait("app", "InvalidSpec")["message"]
    assert shop.find("app") is None


def test_values_that_no_secret_can_hold_are_a_clear_refusal(shop: Shop) -> None:
    shop.source(large=base64.b64encode(b"x" * 800_000).decode()[:1_000_000], more="y" * 600_000)
    shop.order("app", {"large": "large", "more": "more"})
    assert "bytes" in shop.wait("app", "SourceInvalid")["message"]
    assert shop.find("app") is None


def _label(shop: Shop, team: str | None) -> None:
    shop.api.merge("Namespace", "", shop.namespace, {"metadata": {"labels": {"team": team}}})


def _strictly_refused(api: Api, wish: Json) -> str:
    """As kubectl asks: a field that is not known is an error."""
    with pytest.raises(ApiError) as refusal:
        api.create(wish, fieldValidation="Strict")
    return str(refusal.value)
