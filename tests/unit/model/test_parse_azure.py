"""What users write under azureKeyVault becomes an `AzureConfig`, or is refused with the field's name and a remedy."""

from typing import Any

import pytest

from keyturn.model.azure import AzureConfig, CertificateLogin, ManagedLogin, OwnLogin, Principal, SecretLogin, TenantLogin
from keyturn.model.errors import Rejected
from keyturn.model.ids import Carrier, KeyRef, Kind
from keyturn.model.order import ProviderOrder
from keyturn.model.parse import parse_provider
from keyturn.model.tenant import ServiceAccount

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
URL = "https://shop.vault.azure.net"


def ref(key: str, namespace: str = "") -> dict[str, str]:
    return {"name": "login", "key": key} | ({"namespace": namespace} if namespace else {})


def key(name: str, namespace: str = "shop") -> KeyRef:
    return KeyRef(Carrier.SECRET, namespace, "login", name)


def parse(home: str = "shop", **spec: Any) -> ProviderOrder:
    kind = Kind.SECRET_PROVIDER if home else Kind.CLUSTER_SECRET_PROVIDER
    return parse_provider(kind, {"provider": {"azureKeyVault": {"vaultUrl": URL} | spec}}, home)


PRINCIPAL = {"clientId": ref("id"), "clientSecret": ref("secret")}
HERE = Principal(TENANT, key("id"))


@pytest.mark.parametrize(
    ("spec", "login", "references"),
    [
        ({"tenantId": TENANT, "authSecretRef": PRINCIPAL}, SecretLogin(HERE, key("secret")), {key("id"), key("secret")}),
        (
            {"authSecretRef": PRINCIPAL | {"tenantId": ref("tenant")}, "authType": "ServicePrincipal"},
            SecretLogin(Principal(key("tenant"), key("id")), key("secret")),
            {key("tenant"), key("id"), key("secret")},
        ),
        (
            {"tenantId": TENANT, "authSecretRef": {"clientId": ref("id"), "clientCertificate": ref("pem")}},
            CertificateLogin(HERE, key("pem")),
            {key("id"), key("pem")},
        ),
        (
            {
                "tenantId": TENANT,
                "authType": "WorkloadIdentity",
                "serviceAccountRef": {"name": "reader"},
                "authSecretRef": {"clientId": ref("id")},
            },
            TenantLogin(ServiceAccount("shop", "reader"), TENANT, key("id")),
            {key("id")},
        ),
        (
            {
                "authType": "WorkloadIdentity",
                "serviceAccountRef": {"name": "reader"},
                "authSecretRef": {"clientId": ref("id"), "tenantId": ref("tenant")},
            },
            TenantLogin(ServiceAccount("shop", "reader"), key("tenant"), key("id")),
            {key("id"), key("tenant")},
        ),
        (
            {"authType": "WorkloadIdentity", "serviceAccountRef": {"name": "reader"}},
            TenantLogin(ServiceAccount("shop", "reader")),
            set(),
        ),
    ],
)
def test_a_tenant_logs_in_by_what_it_names(spec: dict[str, Any], login: object, references: set[KeyRef]) -> None:
    order = parse(**spec)
    assert order.config == AzureConfig("shop.vault.azure.net", login)  # type: ignore[arg-type]  # pytest does not know
    assert order.references == references
    assert not order.config.is_ambient


@pytest.mark.parametrize(
    ("spec", "login"),
    [
        ({"authType": "ManagedIdentity"}, ManagedLogin()),
        ({"authType": "ManagedIdentity", "authSecretRef": {"clientId": ref("id", "ops")}}, ManagedLogin(key("id", "ops"))),
        ({"authType": "WorkloadIdentity"}, OwnLogin()),
        (
            {"authType": "WorkloadIdentity", "tenantId": TENANT, "authSecretRef": {"clientId": ref("id", "ops")}},
            OwnLogin(TENANT, key("id", "ops")),
        ),
    ],
)
def test_the_operators_own_identity_is_for_the_cluster_kind_alone(spec: dict[str, Any], login: object) -> None:
    config = parse("", **spec).config
    assert config == AzureConfig("shop.vault.azure.net", login)  # type: ignore[arg-type]  # pytest does not know
    assert isinstance(config, AzureConfig)
    assert config.is_ambient
    with pytest.raises(Rejected, match="the operator's own identity serves a ClusterSecretProvider only"):
        parse(**{name: each for name, each in spec.items() if name != "authSecretRef"})


@pytest.mark.parametrize(
    ("url", "environment", "vault"),
    [
        ("https://shop.vault.azure.net/", None, "shop.vault.azure.net"),
        ("https://Shop-1.vault.azure.net:443/", "PublicCloud", "shop-1.vault.azure.net"),
        ("https://shop.vault.usgovcloudapi.net", "USGovernmentCloud", "shop.vault.usgovcloudapi.net"),
        ("https://shop.vault.azure.cn", "ChinaCloud", "shop.vault.azure.cn"),
        ("https://shop.vault.microsoftazure.de", "GermanCloud", "shop.vault.microsoftazure.de"),
    ],
)
def test_a_vault_is_one_host_of_its_cloud(url: str, environment: str | None, vault: str) -> None:
    spec: dict[str, Any] = {"vaultUrl": url, "tenantId": TENANT, "authSecretRef": PRINCIPAL} | (
        {"environment": environment} if environment else {}
    )
    config = parse(**spec).config
    assert isinstance(config, AzureConfig)
    assert (config.vault, config.environment) == (vault, environment or "PublicCloud")


@pytest.mark.parametrize(
    ("spec", "home", "says"),
    [
        ({"vaultUrl": "http://shop.vault.azure.net"}, "shop", "vaultUrl: a vault answers by https alone"),
        ({"vaultUrl": "https://shop.vault.azure.net.evil.example"}, "shop", "vaultUrl must be https://NAME"),
        ({"vaultUrl": "https://evil.example\\.vault.azure.net"}, "shop", "vaultUrl: is no vault of this cloud"),
        ({"vaultUrl": "https://a.b.vault.azure.net"}, "shop", "vaultUrl: is no vault of this cloud"),
        ({"vaultUrl": "https://127.0.0.1%2f.vault.azure.net"}, "shop", "vaultUrl: is no vault of this cloud"),
        ({"vaultUrl": "https://shop.vault.azure.net", "environment": "ChinaCloud"}, "shop", "the suffix of the environment's vaults"),
        ({"tenantId": "a/b"}, "shop", "tenantId: is no id and no domain of a tenant"),
        ({"tenantId": ".."}, "shop", "tenantId: is no id and no domain of a tenant"),
        ({"authSecretRef": PRINCIPAL | {"clientId": {"name": "login"}}}, "shop", "authSecretRef.clientId.key: is required; add it"),
        ({"authSecretRef": PRINCIPAL | {"clientCertificate": ref("pem")}}, "shop", "exclude each other; keep one"),
        ({"authSecretRef": {"clientId": ref("id"), "tenantId": ref("t")}}, "shop", "either clientSecret or clientCertificate"),
        ({"authSecretRef": PRINCIPAL, "authType": "ManagedIdentity"}, "", "authSecretRef: ManagedIdentity takes no client secret"),
        ({"serviceAccountRef": {"name": "reader"}}, "shop", "serviceAccountRef needs authType WorkloadIdentity"),
    ],
)
def test_what_would_reach_too_far_is_refused(spec: dict[str, Any], home: str, says: str) -> None:
    with pytest.raises(Rejected, match=r"spec\.provider\.azureKeyVault") as refused:
        parse(home, **({"tenantId": TENANT, "authSecretRef": PRINCIPAL} | spec))
    assert says in str(refused.value)
