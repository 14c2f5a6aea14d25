"""Specs become orders; whatever cannot be is refused with the field's name and a remedy."""

from collections.abc import Iterator
from typing import Any

import pytest

from keyturn.model.errors import KeyConflict, Rejected
from keyturn.model.ids import Kind
from keyturn.model.material import SourceRef
from keyturn.model.order import (
    Access,
    Admission,
    CreationPolicy,
    Decoding,
    DeletionPolicy,
    Entry,
    EnvConfig,
    FakeConfig,
    FileConfig,
    FileFormat,
    Order,
    ProviderOrder,
    ProviderRef,
    RefreshPolicy,
    Selector,
    Target,
)
from keyturn.model.parse import NOT_BUILT, parse_managed_secret, parse_provider
from keyturn.model.sensitive import Sensitive
from keyturn.model.specs_base import RULES_KEY
from keyturn.model.specs_kinds import MODELS
from manifests import ASK_NOTHING, CASES, SLIPS, Case
from manifests.slips import Slip

FILES = ProviderRef(Kind.CLUSTER_SECRET_PROVIDER, "files")
VAULT = ProviderRef(Kind.SECRET_PROVIDER, "vault")


def parse(kind: Kind, spec: object, *, strict: bool = True) -> Order | ProviderOrder:
    if kind is Kind.MANAGED_SECRET:
        return parse_managed_secret("app", spec, strict=strict)
    return parse_provider(kind, spec, "shop" if kind is Kind.SECRET_PROVIDER else "", strict=strict)


def refusal(kind: Kind, spec: object) -> str:
    """What the parser says against a spec, '' where it says nothing."""
    try:
        parse(kind, spec)
    except Rejected as rejected:
        return str(rejected)
    return ""


def test_what_is_left_out_has_the_documented_defaults() -> None:
    order = parse_managed_secret("app", {"data": [{"secretKey": "password", "remoteRef": {"key": "shop/db"}}]})

    assert order == Order(
        entries=(Entry("password", None, SourceRef("shop/db"), field="spec.data[0]"),),
        target=Target("app", "Opaque", {}, {}, CreationPolicy.OWNER, DeletionPolicy.RETAIN),
        refresh=RefreshPolicy.PERIODIC,
        interval_s=3600,
    )


def test_every_field_that_is_built_reaches_the_order() -> None:
    remote = {"key": "shop/db", "property": "password", "version": "3", "decodingStrategy": "Base64URL"}
    order = parse_managed_secret(
        "app",
        {
            "providerRef": {"name": "vault"},
            "secretType": "database_credential",
            "refreshPolicy": "CreatedOnce",
            "refreshInterval": "1h30m",
            "data": [
                {"secretKey": "password", "remoteRef": remote},
                {"secretKey": "a", "remoteRef": {"key": "a"}, "optional": True, "providerRef": {"name": "vault", "kind": "SecretProvider"}},
                {
                    "secretKey": "b",
                    "remoteRef": {"key": "b"},
                    "default": "",
                    "providerRef": {"name": "files", "kind": "ClusterSecretProvider"},
                },
            ],
            "target": {
                "name": "db",
                "creationPolicy": "Orphan",
                "deletionPolicy": "Delete",
                "adopt": True,
                "template": {"type": "kubernetes.io/basic-auth", "metadata": {"labels": {"team": "shop"}, "annotations": {"a/b": "c d"}}},
            },
            "suspend": True,
        },
    )

    assert order == Order(
        entries=(
            Entry("password", VAULT, SourceRef("shop/db", "3"), "password", Decoding.BASE64_URL, field="spec.data[0]"),
            Entry("a", VAULT, SourceRef("a"), optional=True, field="spec.data[1]"),
            Entry("b", FILES, SourceRef("b"), default="", field="spec.data[2]"),
        ),
        target=Target(
            "db",
            "kubernetes.io/basic-auth",
            {"team": "shop"},
            {"a/b": "c d"},
            CreationPolicy.ORPHAN,
            DeletionPolicy.DELETE,
            adopt=True,
        ),
        refresh=RefreshPolicy.CREATED_ONCE,
        interval_s=5400,
        suspend=True,
    )


@pytest.mark.parametrize(
    ("provider", "config"),
    [
        ({"env": {}}, EnvConfig("KEYTURN_SECRET_")),
        ({"env": {"prefix": "KEYTURN_SECRET_SHOP_"}}, EnvConfig("KEYTURN_SECRET_SHOP_")),
        ({"file": {"path": "shop"}}, FileConfig("shop", FileFormat.DIRECTORY)),
        ({"file": {"path": "a.env", "format": "Dotenv"}}, FileConfig("a.env", FileFormat.DOTENV)),
        (
            {"fake": {"data": [{"key": "a", "value": "1"}, {"key": "a", "value": "0", "version": "old"}]}},
            FakeConfig({SourceRef("a"): Sensitive.of("1"), SourceRef("a", "old"): Sensitive.of("0")}),
        ),
    ],
    ids=["env", "env with a prefix", "file", "dotenv", "fake"],
)
def test_a_provider_that_is_built_gives_its_config(provider: dict[str, Any], config: object) -> None:
    [member] = provider
    order = parse_provider(Kind.CLUSTER_SECRET_PROVIDER, {"provider": provider})
    assert order == ProviderOrder(config, member=member)  # type: ignore[arg-type]  # a table


def test_conditions_become_admissions() -> None:
    order = parse_provider(
        Kind.CLUSTER_SECRET_PROVIDER,
        {
            "access": "ReadWrite",
            "controllerClass": "blue",
            "conditions": [
                {"namespaces": ["shop", "bar"], "access": "ReadWrite"},
                {"namespaceSelector": {}},
                {"namespaceSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]}},
                {"namespaceRegexes": ["^shop-"]},
            ],
            "provider": {"file": {"path": "shop"}},
        },
    )

    assert order == ProviderOrder(
        FileConfig("shop"),
        Access.READ_WRITE,
        (
            Admission(frozenset({"shop", "bar"}), access=Access.READ_WRITE),
            Admission(selector=Selector()),
            Admission(selector=Selector({"a": "b"}, (("c", "In", ("d",)),))),
            Admission(regexes=("^shop-",)),
        ),
        "blue",
        "file",
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_api_server_refuses_is_refused_here_too_with_the_field_and_the_remedy(case: Case) -> None:
    message = refusal(case.kind, case.refused)

    assert case.named in message
    assert (case.parser_says or case.says) in message


@pytest.mark.parametrize("case", CASES, ids=str)
def test_its_twin_is_parsed_or_waits_for_a_feature_only(case: Case) -> None:
    against = refusal(case.kind, case.accepted)

    assert not against or NOT_BUILT in against


@pytest.mark.parametrize("slip", SLIPS, ids=str)
def test_what_slips_through_the_api_server_is_refused_here(slip: Slip) -> None:
    message = refusal(slip.kind, slip.spec)

    assert message.startswith(f"{slip.named}: ")
    assert slip.says in message


@pytest.mark.parametrize("ask", ASK_NOTHING, ids=str)
def test_a_value_that_asks_for_nothing_is_accepted(ask: Slip) -> None:
    parse(ask.kind, ask.spec)


def test_every_rule_of_the_schema_has_a_refused_manifest() -> None:
    told = "\n".join(refusal(case.kind, case.refused) for case in CASES)
    untold = {message for model in MODELS.values() for message in _messages_in(model.model_json_schema()) if message not in told}

    # The form of a duration and the object's own name are told by the parser in words of their own.
    assert {message.split(";")[0] for message in untold} == {
        "is not a duration, or a number without a unit",
        "metadata.name: names that begin with keyturn- are the operator's own",
    }


def _messages_in(node: object) -> Iterator[str]:
    match node:
        case dict():
            yield from (rule["message"] for rule in node.get(RULES_KEY, ()))
            yield from (message for child in node.values() for message in _messages_in(child))
        case list():
            yield from (message for child in node for message in _messages_in(child))


def test_two_entries_for_one_key_are_a_conflict_that_names_both() -> None:
    entry = {"secretKey": "password", "remoteRef": {"key": "a"}}

    with pytest.raises(KeyConflict, match=r"spec\.data\[0\] and spec\.data\[2\] both write the key password; rename or remove"):
        parse_managed_secret("app", {"data": [entry, entry | {"secretKey": "other"}, entry]})


def test_the_operators_own_names_are_refused_as_the_default_target_too() -> None:
    spec = {"data": [{"secretKey": "a", "remoteRef": {"key": "a"}}]}

    with pytest.raises(Rejected, match=r"^metadata\.name: .*set spec\.target\.name to another name$"):
        parse_managed_secret("keyturn-master-key", spec)
    assert parse_managed_secret("keyturn-x", spec | {"target": {"name": "x"}}).target.name == "x"


def test_unknown_fields_are_ignored_when_the_operator_reads_and_named_when_asked_to_be_strict() -> None:
    spec = {"data": [{"secretKey": "a", "remoteRef": {"key": "a", "vesion": "1"}}]}

    parse(Kind.MANAGED_SECRET, spec, strict=False)
    assert refusal(Kind.MANAGED_SECRET, spec) == "spec.data[0].remoteRef.vesion: is no field of this kind; remove it"


def test_no_refusal_quotes_a_value_or_carries_a_cause_that_does() -> None:
    mark = "hunter2-hunter2"
    specs: list[tuple[Kind, dict[str, Any]]] = [
        (Kind.MANAGED_SECRET, {"data": [{"secretKey": "a", "remoteRef": {"key": "a"}, "optional": mark, "default": mark}]}),
        (Kind.MANAGED_SECRET, {"data": [{"secretKey": "a", "remoteRef": {"key": "a"}, "optional": True, "default": mark}]}),
        (Kind.MANAGED_SECRET, {"data": mark}),
        (Kind.SECRET_PROVIDER, {"provider": {"fake": {"data": [{"key": "a", "value": mark}, {"key": "a", "value": mark}]}}}),
        (Kind.SECRET_PROVIDER, {"provider": {"fake": {"data": [{"value": mark}]}}}),
        (Kind.SECRET_PROVIDER, {"provider": {"fake": {"data": [mark]}}}),
    ]
    for kind, spec in specs:
        with pytest.raises(Rejected) as caught:
            parse(kind, spec)
        assert mark not in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_many_findings_are_told_with_a_count() -> None:
    message = refusal(Kind.MANAGED_SECRET, {"data": [{}, {}, {}]})

    assert message == (
        "spec.data[0].secretKey: is required; add it; spec.data[0].remoteRef: is required; add it;"
        " spec.data[1].secretKey: is required; add it; and 3 more"
    )
