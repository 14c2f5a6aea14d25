"""What users write under kubernetes becomes a `KubernetesConfig`, or is refused with the field's name and a remedy."""

import base64
from typing import Any

import pytest

from keyturn.model.errors import Rejected
from keyturn.model.ids import Carrier, KeyPair, KeyRef, Kind
from keyturn.model.kubernetes import KubernetesConfig, OtherCluster
from keyturn.model.order import ProviderOrder
from keyturn.model.parse import parse_provider
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount

URL = "https://cluster.example.com:6443"
PEM = b"-----BEGIN CERTIFICATE-----"
TOKEN = {"token": {"bearerToken": {"name": "login"}}}
CERT = {"cert": {"clientCert": {"name": "pair"}, "clientKey": {"name": "pair"}}}


def key(name: str, key: str, namespace: str = "shop", carrier: Carrier = Carrier.SECRET) -> KeyRef:
    return KeyRef(carrier, namespace, name, key)


def parse(auth: dict[str, Any], server: dict[str, Any] | None = None, home: str = "shop") -> ProviderOrder:
    spec = {"remoteNamespace": "vault", "auth": auth} | ({"server": server} if server else {})
    kind = Kind.SECRET_PROVIDER if home else Kind.CLUSTER_SECRET_PROVIDER
    return parse_provider(kind, {"provider": {"kubernetes": spec}}, home)


def test_a_service_account_is_of_the_providers_own_namespace_or_of_the_one_that_an_admin_names() -> None:
    here = parse({"serviceAccount": {"name": "reader"}})
    assert here.config == KubernetesConfig("vault", ServiceAccount("shop", "reader"))
    assert here.references == frozenset()
    named = parse({"serviceAccount": {"name": "reader", "namespace": "ops"}}, home="")
    assert named.config == KubernetesConfig("vault", ServiceAccount("ops", "reader"))


@pytest.mark.parametrize(
    ("auth", "server", "other", "references"),
    [
        (TOKEN, {"url": f"{URL}/"}, OtherCluster(URL, key("login", "token")), {key("login", "token")}),
        (
            {"token": {"bearerToken": {"name": "login", "key": "word"}}},
            {"url": URL, "caBundle": base64.b64encode(PEM).decode()},
            OtherCluster(URL, key("login", "word"), Sensitive(PEM)),
            {key("login", "word")},
        ),
        (
            CERT,
            {"url": URL, "caProvider": {"type": "ConfigMap", "name": "ca"}},
            OtherCluster(URL, KeyPair(key("pair", "tls.crt"), key("pair", "tls.key")), key("ca", "ca.crt", carrier=Carrier.CONFIG_MAP)),
            {key("pair", "tls.crt"), key("pair", "tls.key"), key("ca", "ca.crt", carrier=Carrier.CONFIG_MAP)},
        ),
    ],
)
def test_another_cluster_has_a_credential_in_a_secret(
    auth: dict[str, Any], server: dict[str, Any], other: OtherCluster, references: set[KeyRef]
) -> None:
    order = parse(auth, server)
    assert order.config == KubernetesConfig("vault", other)
    assert order.references == references


@pytest.mark.parametrize(
    ("auth", "server", "home", "says"),
    [
        ({"serviceAccount": {"name": "reader"}}, {"url": URL}, "shop", "no token of a ServiceAccount is sent to an address"),
        (TOKEN, None, "shop", "auth.serviceAccount is for this cluster"),
        ({"serviceAccount": {"name": "reader", "namespace": "other"}}, None, "shop", "namespace"),
        (TOKEN, {"url": URL, "caBundle": "%%"}, "shop", "caBundle"),
        ({}, None, "shop", "exactly one of cert, token and serviceAccount"),
        (TOKEN | CERT, {"url": URL}, "shop", "exactly one of cert, token and serviceAccount"),
    ],
)
def test_what_would_reach_too_far_is_refused(auth: dict[str, Any], server: dict[str, Any] | None, home: str, says: str) -> None:
    with pytest.raises(Rejected, match=r"spec\.provider\.kubernetes") as refused:
        parse(auth, server, home)
    assert says in str(refused.value)
