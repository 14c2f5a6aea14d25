"""The provider member for Azure Key Vault.

With the operator's own identity it is for an administrator's ClusterSecretProvider only.
"""

from typing import Literal

from keyturn.model.azure import VAULT_SUFFIXES
from keyturn.model.ids import Kind
from keyturn.model.specs_base import Rule, Spec
from keyturn.model.specs_types import NamedKeyRef, ServiceAccountRef, Text, Url


class AzureAuth(Spec):
    """Credentials of a service principal, or the ids of an identity, from Kubernetes Secrets."""

    client_id: NamedKeyRef | None = None
    """The client id of the service principal or identity. Left out beside serviceAccountRef: the one in the ServiceAccount's
    annotation azure.workload.identity/client-id."""

    tenant_id: NamedKeyRef | None = None
    """The tenant id, where tenantId does not say it."""

    client_secret: NamedKeyRef | None = None
    """The client secret of the service principal."""

    client_certificate: NamedKeyRef | None = None
    """The client certificate of the service principal, with its RSA private key, in PEM."""

    rules = (
        Rule(
            "!(has(self.clientSecret) && has(self.clientCertificate))",
            "clientSecret and clientCertificate exclude each other; keep one",
            lambda auth: auth.client_secret is None or auth.client_certificate is None,
        ),
    )


class AzureKeyVault(Spec):
    """Azure Key Vault secrets."""

    vault_url: Url
    """Address of the vault, such as https://shop.vault.azure.net. Its host must end as the vaults of the environment do."""

    tenant_id: Text | None = None
    """Tenant to log in to. Left out beside serviceAccountRef, here and in authSecretRef: the one in the ServiceAccount's
    annotation azure.workload.identity/tenant-id."""

    auth_type: Literal["ServicePrincipal", "ManagedIdentity", "WorkloadIdentity"] | None = None
    """ServicePrincipal: credentials from authSecretRef. WorkloadIdentity: a token of serviceAccountRef. ManagedIdentity: the
    operator's own identity; for a ClusterSecretProvider only. Default: ServicePrincipal."""

    auth_secret_ref: AzureAuth | None = None
    """Credentials, for ServicePrincipal; the client id, for the other two."""

    service_account_ref: ServiceAccountRef | None = None
    """ServiceAccount whose token is exchanged, for WorkloadIdentity. Left out: the operator's own; for a ClusterSecretProvider
    only."""

    environment: Literal["PublicCloud", "USGovernmentCloud", "ChinaCloud", "GermanCloud"] | None = None
    """The cloud that holds the vault. Default: PublicCloud."""

    rules = (
        Rule(
            "self.vaultUrl.matches('^https?://[^/:]+' + {"
            + ", ".join(f"'{cloud}': '{suffix}'" for cloud, suffix in VAULT_SUFFIXES.items())
            + "}[has(self.environment) ? self.environment : 'PublicCloud'].replace('.', '[.]') + '(:443)?/?$')",
            "vaultUrl must be https://NAME and the suffix of the environment's vaults, .vault.azure.net in PublicCloud; correct it",
            lambda azure: _is_vault_of(azure.vault_url, azure.environment or "PublicCloud"),
        ),
        Rule(
            "(has(self.authType) && self.authType != 'ServicePrincipal') || (has(self.authSecretRef) && has(self.authSecretRef.clientId)"
            " && (has(self.authSecretRef.clientSecret) || has(self.authSecretRef.clientCertificate))"
            " && (has(self.tenantId) || has(self.authSecretRef.tenantId)))",
            "authType ServicePrincipal needs tenantId, and authSecretRef with clientId and either clientSecret or clientCertificate;"
            " add them",
            lambda azure: azure.auth_type not in (None, "ServicePrincipal") or _is_principal(azure),
        ),
        Rule(
            "!has(self.serviceAccountRef) || (has(self.authType) && self.authType == 'WorkloadIdentity')",
            "serviceAccountRef needs authType WorkloadIdentity; set it, or remove serviceAccountRef",
            lambda azure: azure.service_account_ref is None or azure.auth_type == "WorkloadIdentity",
        ),
        Rule(
            "!has(self.authType) || self.authType == 'ServicePrincipal'"
            " || (self.authType == 'WorkloadIdentity' && has(self.serviceAccountRef))",
            "the operator's own identity serves a ClusterSecretProvider only; use authType ServicePrincipal,"
            " or WorkloadIdentity with serviceAccountRef",
            lambda azure: (
                azure.auth_type in (None, "ServicePrincipal")
                or (azure.auth_type == "WorkloadIdentity" and azure.service_account_ref is not None)
            ),
            Kind.SECRET_PROVIDER,
        ),
    )


def _is_vault_of(url: str, environment: str) -> bool:
    host = url.removeprefix("https://").removeprefix("http://").removesuffix("/").removesuffix(":443")
    return "/" not in host and ":" not in host and host.removesuffix(VAULT_SUFFIXES[environment]) not in ("", host)


def _is_principal(azure: AzureKeyVault) -> bool:
    auth = azure.auth_secret_ref
    if auth is None or auth.client_id is None or (azure.tenant_id is None and auth.tenant_id is None):
        return False
    return auth.client_secret is not None or auth.client_certificate is not None
