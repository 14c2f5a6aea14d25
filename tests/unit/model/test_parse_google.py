"""What users write under googleSecretManager becomes a `GoogleConfig`, or is refused with the field's name and a remedy."""

from typing import Any

import pytest

from keyturn.model.errors import Rejected
from keyturn.model.google import AmbientLogin, AwsLogin, ClusterLogin, ConfigLogin, FederatedLogin, GoogleConfig, KeyLogin
from keyturn.model.ids import Carrier, KeyRef, Kind
from keyturn.model.order import ProviderOrder
from keyturn.model.parse import parse_provider
from keyturn.model.tenant import ServiceAccount
from manifests.bases import GOOGLE_POOL

KEY = {"secretRef": {"secretAccessKeySecretRef": {"name": "login", "key": "key.json"}}}


def federated(**more: Any) -> dict[str, Any]:
    return {"workloadIdentityFederation": {"audience": GOOGLE_POOL, "serviceAccountRef": {"name": "app"}} | more}


CONFIG = {"workloadIdentityFederation": {"credConfig": {"name": "c", "key": "k"}}}
AWS = {
    "workloadIdentityFederation": {
        "audience": GOOGLE_POOL,
        "awsSecurityCredentials": {"region": "eu-west-1", "awsCredentialsSecretRef": {"name": "aws"}},
    }
}


def of_cluster(**more: Any) -> dict[str, Any]:
    return {"workloadIdentity": {"serviceAccountRef": {"name": "app"}} | more}


def config(**more: Any) -> dict[str, Any]:
    return {"workloadIdentityFederation": CONFIG["workloadIdentityFederation"] | more}


def aws(region: str) -> dict[str, Any]:
    given = {"region": region, "awsCredentialsSecretRef": {"name": "aws"}}
    return {"workloadIdentityFederation": {"audience": GOOGLE_POOL, "awsSecurityCredentials": given}}


def parse(auth: dict[str, Any] | None, home: str = "shop", **more: Any) -> ProviderOrder:
    spec = {"projectID": "shop-1"} | more | ({"auth": auth} if auth is not None else {})
    kind = Kind.SECRET_PROVIDER if home else Kind.CLUSTER_SECRET_PROVIDER
    return parse_provider(kind, {"provider": {"googleSecretManager": spec}}, home)


def test_a_key_is_followed_in_its_secret() -> None:
    ref = KeyRef(Carrier.SECRET, "shop", "login", "key.json")
    order = parse(KEY)
    assert order.config == GoogleConfig("shop-1", KeyLogin(ref))
    assert order.references == {ref}


def test_a_location_means_the_secrets_of_one_region() -> None:
    assert parse(KEY, location="europe-west3").config == GoogleConfig(
        "shop-1", KeyLogin(KeyRef(Carrier.SECRET, "shop", "login", "key.json")), "europe-west3"
    )


def test_a_service_account_is_of_the_providers_own_namespace_or_of_the_one_that_an_admin_names() -> None:
    here = parse(federated())
    assert here.config == GoogleConfig("shop-1", FederatedLogin(ServiceAccount("shop", "app"), GOOGLE_POOL))
    assert here.references == frozenset()
    named = parse(federated(serviceAccountRef={"name": "app", "namespace": "ops"}), home="")
    assert named.config == GoogleConfig("shop-1", FederatedLogin(ServiceAccount("ops", "app"), GOOGLE_POOL))


def test_a_cluster_of_gke_is_named_in_part_or_not_at_all() -> None:
    who = ServiceAccount("shop", "app")
    assert parse(of_cluster()).config == GoogleConfig("shop-1", ClusterLogin(who))
    named = parse(of_cluster(clusterProjectID="example.com:shop", clusterLocation="europe-west3-a", clusterName="prod-1"))
    assert named.config == GoogleConfig("shop-1", ClusterLogin(who, "example.com:shop", "europe-west3-a", "prod-1"))
    assert named.references == frozenset()


def test_a_configuration_is_followed_in_its_config_map() -> None:
    ref = KeyRef(Carrier.CONFIG_MAP, "shop", "c", "k")
    bare = parse(CONFIG)
    assert bare.config == GoogleConfig("shop-1", ConfigLogin(ref))
    assert bare.references == {ref}
    endpoint = "https://tokens.test/oidc?audience=google"
    full = parse(config(audience=GOOGLE_POOL, externalTokenEndpoint=endpoint))
    assert full.config == GoogleConfig("shop-1", ConfigLogin(ref, endpoint, GOOGLE_POOL))


def test_keys_of_aws_are_followed_in_their_secret() -> None:
    refs = [KeyRef(Carrier.SECRET, "shop", "aws", f"aws_{key}") for key in ("access_key_id", "secret_access_key", "session_token")]
    order = parse(AWS)
    assert order.config == GoogleConfig("shop-1", AwsLogin(GOOGLE_POOL, "eu-west-1", *refs))
    assert order.references == set(refs)


def test_without_auth_the_operators_own_identity_reads_for_the_cluster_kind_alone() -> None:
    assert parse(None, home="").config == GoogleConfig("shop-1", AmbientLogin())
    with pytest.raises(Rejected, match="auth is needed in a SecretProvider"):
        parse(None)


@pytest.mark.parametrize("project", ["shop", "shop-1", "123456789012", "example.com:shop-1"])
def test_a_project_is_an_id_or_a_number(project: str) -> None:
    config = parse(KEY, projectID=project).config
    assert isinstance(config, GoogleConfig)
    assert config.project == project


@pytest.mark.parametrize(
    ("auth", "more", "says"),
    [
        (KEY, {"projectID": "../x"}, r"projectID: is no id or number"),
        (KEY, {"projectID": "shop/locations/x"}, r"projectID: is no id or number"),
        (KEY, {"projectID": "Shop\n"}, r"projectID: is no id or number"),
        (KEY, {"location": "europe-west3.evil.test"}, r"location: is no region"),
        (KEY, {"location": "evil.test:443/"}, r"location: is no region"),
        (KEY, {"location": "{location}"}, r"location: is no region"),
        (of_cluster(clusterProjectID="123456789012"), {}, r"clusterProjectID: is no id of a project"),
        (of_cluster(clusterProjectID="https://vault"), {}, r"clusterProjectID: is no id of a project"),
        (of_cluster(clusterProjectID="shop.svc.id.goog:x/"), {}, r"clusterProjectID: is no id of a project"),
        (of_cluster(clusterLocation="europe/../x"), {}, r"clusterLocation: is no region or zone"),
        (of_cluster(clusterName="Prod"), {}, r"clusterName: cannot be a cluster's name"),
        (config(audience="vault"), {}, r"audience: is none that Google's token service has"),
        (config(externalTokenEndpoint="https://a@b/"), {}, r"externalTokenEndpoint: must be an https:// address"),
        (federated(externalTokenEndpoint="https://a/"), {}, r"externalTokenEndpoint: is for credConfig alone"),
        (aws("evil.test/"), {}, r"awsSecurityCredentials.region: is no region of AWS"),
        (aws("eu-west-1.evil"), {}, r"awsSecurityCredentials.region: is no region of AWS"),
        (federated(audience="vault"), {}, r"audience: is not the full name"),
        (federated(audience=f"https:{GOOGLE_POOL}"), {}, r"audience: is not the full name"),
        (federated(audience=f"{GOOGLE_POOL}\n"), {}, r"audience: is not the full name"),
    ],
)
def test_what_is_none_of_googles_or_would_lead_elsewhere_is_refused_with_its_field(
    auth: dict[str, Any], more: dict[str, Any], says: str
) -> None:
    with pytest.raises(Rejected, match=says):
        parse(auth, **more)
