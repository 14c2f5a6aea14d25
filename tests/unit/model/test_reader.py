"""A ClusterSecretProvider whose references name no namespace: what each reader is by it, and what no reader may say."""

from typing import Any

import pytest

from keyturn.model.errors import Rejected
from keyturn.model.ids import READER, Carrier, KeyRef, Kind, ObjectRef
from keyturn.model.objects import ProviderObject
from keyturn.model.order import ProviderOrder
from keyturn.model.parse import parse_provider
from keyturn.model.parse_refs import OWN
from keyturn.model.reader import Reader, depends_on_reader
from keyturn.model.status import ProviderStatus
from manifests.bases import GOOGLE_POOL

SHOP = Reader("shop", "1f-uid")
THERE = "vault-system"
AWS_ROLE = "arn:aws:iam::1:role/shop"

Json = dict[str, Any]


def ref(name: str, key: str = "key", namespace: str = "") -> Json:
    return {"name": name, "key": key} | ({"namespace": namespace} if namespace else {})


def account(namespace: str = "") -> Json:
    return {"name": "app"} | ({"namespace": namespace} if namespace else {})


def ca(namespace: str = "") -> Json:
    return {"type": "ConfigMap", "name": "ca"} | ({"namespace": namespace} if namespace else {})


def vault(auth: Json, **more: Any) -> Json:
    return {"hashicorpVault": {"server": "https://vault.vault.svc:8200", "auth": auth} | more}


def kubernetes(auth: Json, **server: Any) -> Json:
    there = {"server": {"url": "https://cluster.example.com:6443"} | server} if server else {}
    return {"kubernetes": {"remoteNamespace": "secrets", "auth": auth} | there}


def aws(**spec: Any) -> Json:
    return {"awsSecretsManager": {"region": "eu-west-1"} | spec}


def azure(**spec: Any) -> Json:
    return {"azureKeyVault": {"vaultUrl": "https://shop.vault.azure.net"} | spec}


def google(auth: Json) -> Json:
    return {"googleSecretManager": {"projectID": "shop", "auth": auth}}


PAIR = {"clientCert": ref("pair"), "secretRef": ref("pair")}

LOG_INS: dict[str, Json] = {
    "vault token, authority and client": vault(
        {"tokenSecretRef": ref("token")}, caProvider=ca(), tls={"certSecretRef": ref("pair"), "keySecretRef": ref("pair")}
    ),
    "vault appRole": vault({"appRole": {"roleRef": ref("role"), "secretRef": ref("id")}}),
    "vault kubernetes": vault({"kubernetes": {"role": "shop", "serviceAccountRef": account()}}),
    "vault kubernetes by a Secret": vault({"kubernetes": {"role": "shop", "secretRef": ref("token")}}),
    "vault jwt": vault({"jwt": {"kubernetesServiceAccountToken": {"serviceAccountRef": account()}}}),
    "vault jwt by a Secret": vault({"jwt": {"secretRef": ref("token")}}),
    "vault userPass": vault({"userPass": {"username": "shop", "secretRef": ref("word")}}),
    "vault cert": vault({"cert": PAIR}),
    "kubernetes here": kubernetes({"serviceAccount": account()}),
    "kubernetes token": kubernetes({"token": {"bearerToken": ref("token")}}, caProvider=ca()),
    "kubernetes cert": kubernetes({"cert": {"clientCert": ref("pair"), "clientKey": ref("pair")}}, caBundle="UEVN"),
    "aws keys": aws(auth={"secretRef": {"accessKeyID": ref("id"), "secretAccessKey": ref("secret"), "sessionToken": ref("token")}}),
    "aws account": aws(auth={"serviceAccountRef": account()}, role=AWS_ROLE),
    "azure secret": azure(authSecretRef={"tenantId": ref("t"), "clientId": ref("id"), "clientSecret": ref("secret")}),
    "azure certificate": azure(tenantId="t", authSecretRef={"clientId": ref("id"), "clientCertificate": ref("pem")}),
    "azure account": azure(
        authType="WorkloadIdentity", serviceAccountRef=account(), authSecretRef={"tenantId": ref("t"), "clientId": ref("id")}
    ),
    "google key": google({"secretRef": {"secretAccessKeySecretRef": ref("key")}}),
    "google workload identity": google({"workloadIdentity": {"serviceAccountRef": account()}}),
    "google aws": google(
        {
            "workloadIdentityFederation": {
                "audience": GOOGLE_POOL,
                "awsSecurityCredentials": {"region": "eu-west-1", "awsCredentialsSecretRef": {"name": "aws"}},
            }
        }
    ),
    "google account": google({"workloadIdentityFederation": {"serviceAccountRef": account(), "audience": GOOGLE_POOL}}),
}


def of_cluster(provider: Json) -> ProviderOrder:
    return parse_provider(Kind.CLUSTER_SECRET_PROVIDER, {"provider": provider})


def named(spec: Any) -> Any:
    """The same, where each reference names a namespace."""
    if isinstance(spec, dict):
        inner = {key: named(value) for key, value in spec.items()}
        return inner | {"namespace": THERE} if "name" in spec else inner
    return spec


@pytest.mark.parametrize("provider", LOG_INS.values(), ids=LOG_INS)
def test_without_a_namespace_each_reader_is_who_it_would_be_by_a_secret_provider_of_its_own(provider: Json) -> None:
    order = of_cluster(provider)
    assert order.is_per_reader
    mine = order.read_by(SHOP)
    assert not mine.is_per_reader
    assert repr(mine) == repr(parse_provider(Kind.SECRET_PROVIDER, {"provider": provider}, "shop"))
    assert {each.namespace for each in mine.references} <= {"shop"}
    assert repr(order.read_by(Reader("bank"))) != repr(mine)


@pytest.mark.parametrize("provider", LOG_INS.values(), ids=LOG_INS)
def test_with_its_namespaces_a_provider_is_one_and_the_same_for_all(provider: Json) -> None:
    order = of_cluster(named(provider))
    assert not order.is_per_reader
    assert order.read_by(SHOP) == order
    assert {each.namespace for each in order.references} <= {THERE}


@pytest.mark.parametrize(
    "provider",
    [
        vault({"tokenSecretRef": ref("token")}, caProvider=ca(THERE)),
        vault({"appRole": {"roleRef": ref("role", namespace=THERE), "secretRef": ref("id")}}),
        vault({"kubernetes": {"role": "shop", "serviceAccountRef": account()}}, caProvider=ca(THERE)),
        azure(
            tenantId="t", authType="WorkloadIdentity", serviceAccountRef=account(), authSecretRef={"clientId": ref("id", namespace=THERE)}
        ),
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_an_admin_may_say_where_and_as_whom_a_reader_logs_in_by_a_credential_of_its_own(provider: Json) -> None:
    order = of_cluster(provider)
    assert order.is_per_reader
    assert THERE in {each.namespace for each in order.read_by(SHOP).references}


@pytest.mark.parametrize(
    ("provider", "whose"),
    [
        (vault({"tokenSecretRef": ref("token", namespace=THERE)}, caProvider=ca()), f"Secret/{THERE}/token"),
        (vault({"appRole": {"roleRef": ref("role"), "secretRef": ref("id", namespace=THERE)}}), f"Secret/{THERE}/id"),
        (vault({"kubernetes": {"role": "r", "serviceAccountRef": account(THERE)}}, caProvider=ca()), f"ServiceAccount/{THERE}/app"),
        (vault({"kubernetes": {"role": "r"}}, caProvider=ca()), OWN),
        (vault({"cert": PAIR | {"secretRef": ref("pair", namespace=THERE)}}), f"Secret/{THERE}/pair"),
        (kubernetes({"token": {"bearerToken": ref("token", namespace=THERE)}}, caProvider=ca()), f"Secret/{THERE}/token"),
        (
            aws(auth={"secretRef": {"accessKeyID": ref("id"), "secretAccessKey": ref("secret", namespace=THERE)}}),
            f"Secret/{THERE}/secret",
        ),
        (azure(tenantId="t", authSecretRef={"clientId": ref("id"), "clientSecret": ref("s", namespace=THERE)}), f"Secret/{THERE}/s"),
        (
            google(
                {
                    "workloadIdentityFederation": {
                        "credConfig": {"name": "c", "key": "json"},
                        "externalTokenEndpoint": "https://tokens.test/",
                    }
                }
            ),
            OWN,
        ),
        (
            azure(authType="ManagedIdentity", authSecretRef={"clientId": ref("id")}),
            OWN,
        ),
        (
            azure(authType="WorkloadIdentity", authSecretRef={"tenantId": ref("t")}),
            OWN,
        ),
        (
            azure(tenantId="t", authType="WorkloadIdentity", serviceAccountRef=account(THERE), authSecretRef={"clientId": ref("id")}),
            f"ServiceAccount/{THERE}/app",
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else next(iter(given)),
)
def test_a_reader_steers_no_credential_that_is_not_its_own(provider: Json, whose: str) -> None:
    with pytest.raises(Rejected, match="of whoever reads would steer the log-in") as refused:
        of_cluster(provider)
    assert str(refused.value).startswith(f"spec.provider.{next(iter(provider))}: ")
    assert f"the log-in by {whose}; name its namespace too" in str(refused.value)


@pytest.mark.parametrize("provider", [{"fake": {"data": [{"key": "a", "value": "*"}]}}, {"env": {}}, {"database": {}}, aws()], ids=str)
def test_what_is_the_same_for_all_depends_on_nobody(provider: Json) -> None:
    assert not of_cluster(provider).is_per_reader


@pytest.mark.parametrize("noun", [None, "*", b"*", 1, ("*",), {"namespace": "*"}, KeyRef(Carrier.SECRET, "a", READER, READER)], ids=str)
def test_only_an_open_namespace_depends_on_a_reader(noun: object) -> None:
    assert not depends_on_reader(noun)


def provider(order: ProviderOrder | Rejected) -> ProviderObject:
    return ProviderObject(ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "", "vault"), "uid", 3, "7", False, order, ProviderStatus())


def test_as_one_reads_by_it_a_provider_has_a_name_of_its_own_and_is_the_same_incarnation() -> None:
    shared = provider(of_cluster(LOG_INS["vault appRole"]))
    mine = shared.read_by(SHOP)
    assert str(mine.ref) == "ClusterSecretProvider/shop/vault"
    assert (mine.ref.reader, shared.ref.reader) == ("shop", "")
    assert mine.is_same_order(shared)
    assert shared.ref.holds(mine.ref)
    assert shared.ref.holds(shared.ref)
    assert not mine.ref.holds(shared.ref)
    assert not mine.ref.holds(shared.read_by(Reader("bank")).ref)


@pytest.mark.parametrize("order", [of_cluster({"env": {}}), Rejected("spec: is none")], ids=["same for all", "invalid"])
def test_a_provider_that_is_the_same_for_all_stays_itself(order: ProviderOrder | Rejected) -> None:
    shared = provider(order)
    assert not shared.is_per_reader
    assert shared.read_by(SHOP) is shared


def test_a_secret_provider_is_nobody_elses() -> None:
    own = ObjectRef(Kind.SECRET_PROVIDER, "shop", "vault")
    assert own.reader == ""
    assert own.holds(own)
    assert not own.holds(ObjectRef(Kind.SECRET_PROVIDER, "bank", "vault"))
    assert not own.holds(ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "shop", "vault"))
