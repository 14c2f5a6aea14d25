"""The `azureKeyVault` member, from what users wrote to an `AzureConfig`."""

from typing import Final

from keyturn.model.azure import (
    VAULT_SUFFIXES,
    AzureConfig,
    AzureLogin,
    CertificateLogin,
    ManagedLogin,
    OwnLogin,
    Principal,
    SecretLogin,
    TenantLogin,
    is_tenant,
    vault_of,
)
from keyturn.model.errors import Rejected
from keyturn.model.ids import KeyRef
from keyturn.model.parse_refs import key_ref, service_account
from keyturn.model.specs_azure import AzureAuth, AzureKeyVault

FIELD: Final = "spec.provider.azureKeyVault"
_AUTH: Final = f"{FIELD}.authSecretRef"
_NO_AUTH: Final = AzureAuth.model_construct()


def parse_azure(spec: AzureKeyVault, namespace: str) -> AzureConfig:
    """``namespace`` is the provider object's own, '' for the cluster kind. Raises `Rejected`."""
    environment = spec.environment or "PublicCloud"
    return AzureConfig(_vault(spec.vault_url, environment), _login(spec, namespace), environment)


def _vault(url: str, environment: str) -> str:
    suffix = VAULT_SUFFIXES[environment]
    if not url.startswith("https://"):
        raise Rejected(f"{FIELD}.vaultUrl: a vault answers by https alone; write https://NAME{suffix}")
    if not (host := vault_of(url, environment)):
        raise Rejected(
            f"{FIELD}.vaultUrl: is no vault of this cloud; write https://NAME{suffix}, where NAME has letters, digits and - alone"
        )
    return host


def _login(spec: AzureKeyVault, namespace: str) -> AzureLogin:
    auth = spec.auth_secret_ref or _NO_AUTH
    kind = spec.auth_type or "ServicePrincipal"
    if kind == "ServicePrincipal":
        return _service_principal(spec, auth, namespace)
    if auth.client_secret or auth.client_certificate:
        raise Rejected(f"{_AUTH}: {kind} takes no client secret and no certificate; remove them, or use authType ServicePrincipal")
    if spec.service_account_ref is not None:
        who = service_account(f"{FIELD}.serviceAccountRef", spec.service_account_ref, namespace)
        return TenantLogin(who, _tenant(spec, auth, namespace), _client(auth, namespace))
    if namespace:
        raise Rejected(f"{FIELD}.authType: {kind} is the operator's own identity, for a ClusterSecretProvider; add serviceAccountRef")
    client_id = _client(auth, namespace)
    return ManagedLogin(client_id) if kind == "ManagedIdentity" else OwnLogin(_tenant(spec, auth, namespace), client_id)


def _service_principal(spec: AzureKeyVault, auth: AzureAuth, namespace: str) -> AzureLogin:
    tenant, client_id = _tenant(spec, auth, namespace), _client(auth, namespace)
    if tenant is None or client_id is None:
        raise Rejected(f"{_AUTH}: a service principal needs clientId here, and tenantId here or beside; add them")
    principal = Principal(tenant, client_id)
    if auth.client_secret:
        return SecretLogin(principal, key_ref(f"{_AUTH}.clientSecret", auth.client_secret, namespace))
    if auth.client_certificate:
        return CertificateLogin(principal, key_ref(f"{_AUTH}.clientCertificate", auth.client_certificate, namespace))
    raise Rejected(f"{_AUTH}: a service principal needs clientSecret or clientCertificate; add one")


def _client(auth: AzureAuth, namespace: str) -> KeyRef | None:
    return key_ref(f"{_AUTH}.clientId", auth.client_id, namespace) if auth.client_id else None


def _tenant(spec: AzureKeyVault, auth: AzureAuth, namespace: str) -> str | KeyRef | None:
    if spec.tenant_id:
        if not is_tenant(spec.tenant_id):
            raise Rejected(f"{FIELD}.tenantId: is no id and no domain of a tenant; correct it")
        return spec.tenant_id
    return key_ref(f"{_AUTH}.tenantId", auth.tenant_id, namespace) if auth.tenant_id else None
