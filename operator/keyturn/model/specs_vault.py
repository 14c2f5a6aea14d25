"""The provider member for HashiCorp Vault and OpenBao."""

from typing import Annotated, Literal

from pydantic import Field

from keyturn.model.ids import Kind
from keyturn.model.specs_base import Rule, Spec, one_of
from keyturn.model.specs_types import CAProvider, NamedKeyRef, PemBundle, SecretKeyRef, ServiceAccountRef, Text, Url

VaultPath = Annotated[str, Field(min_length=1, max_length=512)]


class VaultTls(Spec):
    """Client certificate for a server that asks for one on every connection (mutual TLS)."""

    cert_secret_ref: SecretKeyRef
    """The certificate, in PEM. Default key: tls.crt."""

    key_secret_ref: SecretKeyRef
    """Its private key, in PEM. Default key: tls.key."""


class VaultAppRole(Spec):
    """Log-in by AppRole."""

    path: VaultPath | None = None
    """Where the auth method is mounted. Default: approle."""

    role_id: Text | None = None
    """The role's id."""

    role_ref: NamedKeyRef | None = None
    """The role's id from a Kubernetes Secret."""

    secret_ref: NamedKeyRef
    """The role's secret id."""

    rules = (one_of("exactly one of roleId and roleRef is needed; keep one", "role_id", "role_ref"),)


class VaultKubernetes(Spec):
    """Log-in by a token of a Kubernetes ServiceAccount."""

    mount_path: VaultPath | None = None
    """Where the auth method is mounted. Default: kubernetes."""

    role: Text
    """Role at Vault to log in as."""

    service_account_ref: ServiceAccountRef | None = None
    """ServiceAccount whose short-lived token (audience vault) logs in."""

    secret_ref: SecretKeyRef | None = None
    """A ServiceAccount token from a Kubernetes Secret. Default key: token."""

    rules = (
        Rule(
            "has(self.serviceAccountRef) != has(self.secretRef)",
            "exactly one of serviceAccountRef and secretRef is needed in a SecretProvider; keep one",
            lambda auth: (auth.service_account_ref is None) != (auth.secret_ref is None),
            Kind.SECRET_PROVIDER,
        ),
        Rule(
            "!(has(self.serviceAccountRef) && has(self.secretRef))",
            "serviceAccountRef and secretRef exclude each other; keep one",
            lambda auth: auth.service_account_ref is None or auth.secret_ref is None,
            Kind.CLUSTER_SECRET_PROVIDER,
        ),
    )


class VaultServiceAccountToken(Spec):
    """A short-lived token of a ServiceAccount."""

    service_account_ref: ServiceAccountRef
    """ServiceAccount whose short-lived token (audience vault) logs in."""


class VaultJwt(Spec):
    """Log-in by a JSON Web Token."""

    path: VaultPath | None = None
    """Where the auth method is mounted. Default: jwt."""

    role: Text | None = None
    """Role at Vault to log in as. Left out: the auth method's default role."""

    secret_ref: NamedKeyRef | None = None
    """The token, from a Kubernetes Secret."""

    kubernetes_service_account_token: VaultServiceAccountToken | None = None
    """A token of a ServiceAccount, made for this log-in."""

    rules = (
        one_of(
            "exactly one of secretRef and kubernetesServiceAccountToken is needed; keep one",
            "secret_ref",
            "kubernetes_service_account_token",
        ),
    )


class VaultUserPass(Spec):
    """Log-in by user and password."""

    path: VaultPath | None = None
    """Where the auth method is mounted. Default: userpass."""

    username: Text
    """Name of the user."""

    secret_ref: NamedKeyRef
    """The password."""


class VaultCert(Spec):
    """Log-in by a TLS client certificate."""

    path: VaultPath | None = None
    """Where the auth method is mounted. Default: cert."""

    client_cert: SecretKeyRef
    """The certificate, in PEM. Default key: tls.crt."""

    secret_ref: SecretKeyRef
    """Its private key, in PEM. Default key: tls.key."""


class VaultAuth(Spec):
    """Who logs in to Vault."""

    namespace: Text | None = None
    """Vault namespace to log in to. Left out: the provider's namespace."""

    token_secret_ref: NamedKeyRef | None = None
    """A token. It is not renewed: prefer another method."""

    app_role: VaultAppRole | None = None
    """AppRole."""

    kubernetes: VaultKubernetes | None = None
    """A token of a Kubernetes ServiceAccount, checked by Vault's Kubernetes auth method."""

    jwt: VaultJwt | None = None
    """A JSON Web Token, checked by Vault's JWT auth method."""

    user_pass: VaultUserPass | None = None
    """User and password."""

    cert: VaultCert | None = None
    """TLS client certificate."""

    rules = (
        one_of(
            "exactly one of tokenSecretRef, appRole, kubernetes, jwt, userPass and cert is needed; keep one",
            "token_secret_ref",
            "app_role",
            "kubernetes",
            "jwt",
            "user_pass",
            "cert",
        ),
    )


class HashicorpVault(Spec):
    """A key-value engine of HashiCorp Vault or OpenBao."""

    server: Url
    """Address of the server, such as https://vault.vault.svc:8200."""

    path: VaultPath | None = None
    """Where the key-value engine is mounted, such as secret. Left out: the first part of each key."""

    version: Literal["v1", "v2"] | None = None
    """Version of the key-value engine. Default: v2."""

    namespace: Text | None = None
    """Vault namespace that holds the engine. Left out: the root namespace."""

    ca_bundle: PemBundle | None = None
    """Certificates of the authority that signed the server's, as base64 of PEM. Excludes caProvider. Left out: the system's."""

    ca_provider: CAProvider | None = None
    """Where those certificates are kept. Excludes caBundle."""

    tls: VaultTls | None = None
    """Client certificate for a server that asks for one on every connection."""

    auth: VaultAuth
    """Who logs in."""

    rules = (
        Rule(
            "!(has(self.caBundle) && has(self.caProvider))",
            "caBundle and caProvider exclude each other; keep one",
            lambda vault: vault.ca_bundle is None or vault.ca_provider is None,
        ),
    )
