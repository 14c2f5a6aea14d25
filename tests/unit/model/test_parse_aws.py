"""What users write under awsSecretsManager becomes an `AwsConfig`, or is refused with the field's name and a remedy."""

from typing import Any

import pytest

from keyturn.model.aws import AssumedRole, AwsConfig, KeysLogin, OwnLogin, TenantLogin
from keyturn.model.errors import Rejected, Unavailable
from keyturn.model.ids import READER, Carrier, KeyRef, Kind
from keyturn.model.order import ProviderOrder
from keyturn.model.parse import parse_provider
from keyturn.model.reader import Reader
from keyturn.model.tenant import ServiceAccount

ROLE = "arn:aws:iam::123456789012:role/teams/shop"
KEYS = {"secretRef": {"accessKeyID": {"name": "aws", "key": "id"}, "secretAccessKey": {"name": "aws", "key": "secret"}}}
ACCOUNT = {"serviceAccountRef": {"name": "app"}}


def key(key: str, namespace: str = "shop") -> KeyRef:
    return KeyRef(Carrier.SECRET, namespace, "aws", key)


def parse(home: str = "shop", **spec: Any) -> ProviderOrder:
    kind = Kind.SECRET_PROVIDER if home else Kind.CLUSTER_SECRET_PROVIDER
    return parse_provider(kind, {"provider": {"awsSecretsManager": {"region": "eu-west-1"} | spec}}, home)


def test_keys_are_of_the_providers_own_namespace() -> None:
    order = parse(auth=KEYS)
    assert order.config == AwsConfig("eu-west-1", KeysLogin(key("id"), key("secret")))
    assert order.references == {key("id"), key("secret")}


def test_a_session_token_is_followed_too() -> None:
    keys = KEYS["secretRef"] | {"sessionToken": {"name": "aws", "key": "token"}}
    order = parse(auth={"secretRef": keys})
    assert order.config == AwsConfig("eu-west-1", KeysLogin(key("id"), key("secret"), key("token")))
    assert order.references == {key("id"), key("secret"), key("token")}


def test_without_auth_an_administrators_provider_is_the_operator_itself() -> None:
    order = parse(home="")
    assert order.config == AwsConfig("eu-west-1", OwnLogin())
    assert order.references == frozenset()


def test_a_service_account_may_be_told_a_role_and_what_is_on_top_of_its_own() -> None:
    who = TenantLogin(ServiceAccount("shop", "app"))
    assert parse(auth=ACCOUNT).config == AwsConfig("eu-west-1", who)
    assert parse(auth=ACCOUNT, role=ROLE).config == AwsConfig("eu-west-1", who, AssumedRole(ROLE))
    order = parse(auth=ACCOUNT, role=ROLE, externalID="me", sessionTags=[{"key": "a", "value": ""}])
    assert order.config == AwsConfig("eu-west-1", who, AssumedRole(ROLE, "me", (("a", ""),)))
    assert order.references == frozenset()


def test_a_role_is_assumed_by_whoever_has_keys_with_external_id_and_tags() -> None:
    tags = [{"key": "team", "value": "shop"}, {"key": "tier", "value": ""}]
    order = parse(auth=KEYS, role=ROLE, externalID="me/2", sessionTags=tags, prefix="prod/", endpoint="https://vpce.example.com/")
    role = AssumedRole(ROLE, "me/2", (("team", "shop"), ("tier", "")))
    assert order.config == AwsConfig("eu-west-1", KeysLogin(key("id"), key("secret")), role, "prod/", "https://vpce.example.com")


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "us-iso-east-1", "cn-north-1", "eusc-de-east-1", "ap-southeast-7"])
def test_every_region_is_one(region: str) -> None:
    config = parse(auth=KEYS, region=region).config
    assert isinstance(config, AwsConfig)
    assert config.region == region


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"auth": KEYS, "region": "eu-west-1.evil.example"}, "region: is no region"),
        ({"auth": KEYS, "region": "localhost"}, "region: is no region"),
        ({"auth": KEYS, "region": "eu-west-1/"}, "region: is no region"),
        ({"auth": KEYS, "role": "shop"}, "role: is no ARN"),
        ({"auth": KEYS, "role": "arn:aws:iam::1:user/shop"}, "role: is no ARN"),
        ({"auth": KEYS, "role": ROLE, "externalID": "a b"}, "externalID: has characters"),
        ({"auth": KEYS, "prefix": "a b"}, "prefix: has characters"),
        ({"auth": KEYS, "role": ROLE, "sessionTags": [{"key": "aws:a", "value": ""}]}, "sessionTags[0]: is no tag"),
        ({"auth": KEYS, "role": ROLE, "sessionTags": [{"key": "a", "value": "%"}]}, "sessionTags[0]: is no tag"),
        (
            {"auth": KEYS, "role": ROLE, "sessionTags": [{"key": "a", "value": ""}, {"key": "A", "value": ""}]},
            "sessionTags[1].key: is there",
        ),
        ({"auth": ACCOUNT, "externalID": "me"}, "externalID and sessionTags need a role to assume"),
        ({"auth": ACCOUNT, "role": "shop"}, "role: is no ARN"),
        ({"auth": {"serviceAccountRef": {"name": "app", "namespace": "other"}}, "role": ROLE}, "namespace"),
        ({}, "auth is needed in a SecretProvider"),
    ],
)
def test_what_would_reach_too_far_or_is_not_built_is_refused(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(Rejected, match=r"spec\.provider\.awsSecretsManager") as refused:
        parse(**spec)
    assert says in str(refused.value)


def test_a_role_that_the_operator_assumes_is_assumed_for_one_reader_at_a_time() -> None:
    order = parse(home="", role=ROLE, sessionTags=[{"key": "team", "value": "shop"}])
    assert order.config == AwsConfig("eu-west-1", OwnLogin(), AssumedRole(ROLE, READER, (("team", "shop"),)))
    assert order.is_per_reader
    config = order.read_by(Reader("shop", "1f-uid")).config
    assert config == AwsConfig("eu-west-1", OwnLogin(), AssumedRole(ROLE, "keyturn/1f-uid/shop", (("team", "shop"),)))


def test_without_the_clusters_uid_no_role_is_assumed_for_anybody() -> None:
    with pytest.raises(Unavailable, match="the uid of the namespace kube-system"):
        parse(home="", role=ROLE).read_by(Reader("shop"))


@pytest.mark.parametrize("spec", [{"externalID": "keyturn/1f-uid/bank"}, {"endpoint": "https://vpce.example.com"}], ids=str)
def test_nobody_chooses_the_external_id_under_the_operators_own_identity_nor_where_that_goes(spec: dict[str, str]) -> None:
    with pytest.raises(Rejected, match="externalID and endpoint need auth"):
        parse(home="", role=ROLE, **spec)


@pytest.mark.parametrize("spec", [{}, {"role": ROLE}], ids=str)
def test_a_tenant_never_has_the_operators_own_identity(spec: dict[str, str]) -> None:
    with pytest.raises(Rejected, match="auth is needed in a SecretProvider"):
        parse(**spec)


def test_no_external_id_that_is_written_stands_for_another() -> None:
    with pytest.raises(Rejected, match=r"externalID: has characters"):
        parse(auth=KEYS, role=ROLE, externalID="**")
