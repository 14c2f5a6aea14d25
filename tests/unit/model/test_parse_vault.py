"""What users write under hashicorpVault becomes a `VaultConfig`, or is refused with the field's name and a remedy."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from keyturn.model.errors import Rejected
from keyturn.model.ids import Carrier, KeyPair, KeyRef, Kind
from keyturn.model.parse import parse_provider
from keyturn.model.parse_vault import parse_vault
from keyturn.model.sensitive import Sensitive
from keyturn.model.specs_vault import HashicorpVault, VaultAuth
from keyturn.model.tenant import ServiceAccount
from keyturn.model.vault import AppRoleLogin, CertLogin, JwtLogin, TokenLogin, UserPassLogin, VaultConfig, VaultLogin

SERVER = "https://vault.vault.svc:8200"
PEM = b"-----BEGIN CERTIFICATE-----"
TOKEN = {"tokenSecretRef": {"name": "vault", "key": "token"}}


def parse(auth: Mapping[str, Any] = TOKEN, *, home: str = "shop", **more: Any) -> VaultConfig:
    return parse_vault(HashicorpVault.model_validate({"server": SERVER, "auth": auth} | more), home)


def key(name: str, key: str, namespace: str = "shop") -> KeyRef:
    return KeyRef(Carrier.SECRET, namespace, name, key)


LOGIN = TokenLogin(key("vault", "token"))


def test_what_is_left_out_has_the_documented_defaults() -> None:
    assert parse() == VaultConfig(SERVER, LOGIN, mount="", engine=2, namespace="", login_namespace="", authority=None, client=None)


@pytest.mark.parametrize(
    ("spec", "config"),
    [
        ({"server": f"{SERVER}/"}, VaultConfig(SERVER, LOGIN)),
        ({"path": "secret"}, VaultConfig(SERVER, LOGIN, mount="secret")),
        ({"path": "/team/kv/"}, VaultConfig(SERVER, LOGIN, mount="team/kv")),
        ({"version": "v1"}, VaultConfig(SERVER, LOGIN, engine=1)),
        ({"version": "v2"}, VaultConfig(SERVER, LOGIN)),
        ({"namespace": "/team/"}, VaultConfig(SERVER, LOGIN, namespace="team", login_namespace="team")),
        (
            {"namespace": "team", "auth": TOKEN | {"namespace": "root/"}},
            VaultConfig(SERVER, LOGIN, namespace="team", login_namespace="root"),
        ),
        ({"auth": TOKEN | {"namespace": "team"}}, VaultConfig(SERVER, LOGIN, login_namespace="team")),
        ({"caBundle": base64.b64encode(PEM).decode()}, VaultConfig(SERVER, LOGIN, authority=Sensitive(PEM))),
        (
            {"caProvider": {"type": "ConfigMap", "name": "ca"}},
            VaultConfig(SERVER, LOGIN, authority=KeyRef(Carrier.CONFIG_MAP, "shop", "ca", "ca.crt")),
        ),
        ({"caProvider": {"type": "Secret", "name": "ca", "key": "root"}}, VaultConfig(SERVER, LOGIN, authority=key("ca", "root"))),
        (
            {"tls": {"certSecretRef": {"name": "pair"}, "keySecretRef": {"name": "pair"}}},
            VaultConfig(SERVER, LOGIN, client=KeyPair(key("pair", "tls.crt"), key("pair", "tls.key"))),
        ),
        (
            {"tls": {"certSecretRef": {"name": "a", "key": "c"}, "keySecretRef": {"name": "b", "key": "k"}}},
            VaultConfig(SERVER, LOGIN, client=KeyPair(key("a", "c"), key("b", "k"))),
        ),
    ],
)
def test_each_field_reaches_the_configuration(spec: Mapping[str, Any], config: VaultConfig) -> None:
    assert parse(**spec) == config


SECRET = {"name": "login", "key": "k"}
REF = key("login", "k")
ACCOUNT = {"name": "app"}


@pytest.mark.parametrize(
    ("auth", "login"),
    [
        ({"tokenSecretRef": SECRET}, TokenLogin(REF)),
        ({"appRole": {"roleId": "shop", "secretRef": SECRET}}, AppRoleLogin("approle", "shop", REF)),
        (
            {"appRole": {"path": "/team/role/", "roleRef": {"name": "role", "key": "id"}, "secretRef": SECRET}},
            AppRoleLogin("team/role", key("role", "id"), REF),
        ),
        ({"kubernetes": {"role": "shop", "secretRef": {"name": "login"}}}, JwtLogin("kubernetes", "shop", key("login", "token"))),
        ({"kubernetes": {"mountPath": "k8s", "role": "shop", "secretRef": SECRET}}, JwtLogin("k8s", "shop", REF)),
        ({"kubernetes": {"role": "shop"}}, JwtLogin("kubernetes", "shop", None)),
        ({"kubernetes": {"role": "shop", "serviceAccountRef": ACCOUNT}}, JwtLogin("kubernetes", "shop", ServiceAccount("shop", "app"))),
        (
            {"jwt": {"path": "oidc", "kubernetesServiceAccountToken": {"serviceAccountRef": ACCOUNT}}},
            JwtLogin("oidc", "", ServiceAccount("shop", "app")),
        ),
        ({"jwt": {"secretRef": SECRET}}, JwtLogin("jwt", "", REF)),
        ({"jwt": {"path": "oidc", "role": "shop", "secretRef": SECRET}}, JwtLogin("oidc", "shop", REF)),
        ({"userPass": {"username": "joe", "secretRef": SECRET}}, UserPassLogin("userpass", "joe", REF)),
        ({"userPass": {"path": "people", "username": "joe", "secretRef": SECRET}}, UserPassLogin("people", "joe", REF)),
        (
            {"cert": {"clientCert": {"name": "pair"}, "secretRef": {"name": "pair"}}},
            CertLogin("cert", KeyPair(key("pair", "tls.crt"), key("pair", "tls.key"))),
        ),
        (
            {"cert": {"path": "pki", "clientCert": SECRET, "secretRef": {"name": "pair", "key": "key"}}},
            CertLogin("pki", KeyPair(REF, key("pair", "key"))),
        ),
    ],
)
def test_each_log_in_becomes_its_noun(auth: Mapping[str, Any], login: VaultLogin) -> None:
    assert parse(auth).login == login


@pytest.mark.parametrize(
    ("spec", "refs"),
    [
        ({}, {key("vault", "token")}),
        ({"auth": {"kubernetes": {"role": "shop"}}}, set()),
        ({"auth": {"appRole": {"roleId": "id", "secretRef": SECRET}}}, {REF}),
        ({"auth": {"appRole": {"roleRef": {"name": "role", "key": "id"}, "secretRef": SECRET}}}, {REF, key("role", "id")}),
        ({"auth": {"jwt": {"secretRef": SECRET}}}, {REF}),
        ({"auth": {"userPass": {"username": "joe", "secretRef": SECRET}}}, {REF}),
        (
            {"auth": {"cert": {"clientCert": {"name": "pair"}, "secretRef": {"name": "pair"}}}},
            {key("pair", "tls.crt"), key("pair", "tls.key")},
        ),
        (
            {
                "caProvider": {"type": "ConfigMap", "name": "ca"},
                "tls": {"certSecretRef": {"name": "pair"}, "keySecretRef": {"name": "pair"}},
            },
            {key("vault", "token"), KeyRef(Carrier.CONFIG_MAP, "shop", "ca", "ca.crt"), key("pair", "tls.crt"), key("pair", "tls.key")},
        ),
        ({"caBundle": base64.b64encode(PEM).decode()}, {key("vault", "token")}),
    ],
)
def test_the_references_are_all_that_the_log_in_and_the_connection_need(spec: Mapping[str, Any], refs: set[KeyRef]) -> None:
    assert parse(**spec).references == refs


def test_the_cluster_kind_refers_to_the_namespaces_that_it_names() -> None:
    config = parse(
        {"appRole": {"roleId": "id", "secretRef": SECRET | {"namespace": "vault"}}},
        home="",
        caProvider={"type": "Secret", "name": "ca", "namespace": "trust"},
    )
    assert config.references == {key("login", "k", "vault"), key("ca", "ca.crt", "trust")}


OWN = "a SecretProvider reads its own namespace only; remove it"


@pytest.mark.parametrize(
    ("spec", "home", "told"),
    [
        ({"auth": {"tokenSecretRef": SECRET | {"namespace": "other"}}}, "shop", f"auth.tokenSecretRef.namespace: {OWN}"),
        ({"caProvider": {"type": "Secret", "name": "ca", "namespace": "other"}}, "shop", f"caProvider.namespace: {OWN}"),
        (
            {"auth": {"kubernetes": {"role": "r", "serviceAccountRef": {"name": "s", "namespace": "other"}}}},
            "shop",
            f"auth.kubernetes.serviceAccountRef.namespace: {OWN}",
        ),
        ({"caBundle": "no base64!"}, "shop", "caBundle: is not base64; encode the PEM text once more"),
        (
            {
                "auth": {"cert": {"clientCert": {"name": "p"}, "secretRef": {"name": "p"}}},
                "tls": {"certSecretRef": {"name": "p"}, "keySecretRef": {"name": "p"}},
            },
            "shop",
            "tls: auth.cert brings the client certificate already; remove tls",
        ),
    ],
)
def test_what_cannot_be_names_its_field_and_a_remedy(spec: Mapping[str, Any], home: str, told: str) -> None:
    with pytest.raises(Rejected) as raised:
        parse(home=home, **spec)
    assert str(raised.value) == f"spec.provider.hashicorpVault.{told}"


def test_an_auth_that_names_no_log_in_is_refused_also_where_no_rule_was_asked() -> None:
    spec = HashicorpVault.model_construct(
        server=SERVER, auth=VaultAuth.model_construct(), path=None, version=None, namespace=None, ca_bundle=None, ca_provider=None, tls=None
    )
    with pytest.raises(Rejected, match="one of tokenSecretRef, appRole, kubernetes, jwt, userPass and cert is needed; add one"):
        parse_vault(spec, "shop")


def test_the_order_of_a_provider_object_carries_the_configuration_and_its_references() -> None:
    order = parse_provider(Kind.SECRET_PROVIDER, {"provider": {"hashicorpVault": {"server": SERVER, "auth": TOKEN}}}, namespace="shop")
    assert order.config == VaultConfig(SERVER, LOGIN)
    assert order.references == {LOGIN.token}
