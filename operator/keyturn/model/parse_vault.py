"""The `hashicorpVault` member, from what users wrote to a `VaultConfig`."""

from typing import Final, assert_never

from keyturn.model.errors import Rejected
from keyturn.model.ids import KeyPair, KeyRef
from keyturn.model.parse_refs import authority, key_ref, service_account
from keyturn.model.specs_types import NamedKeyRef, SecretKeyRef
from keyturn.model.specs_vault import HashicorpVault, VaultAppRole, VaultAuth, VaultCert, VaultJwt, VaultKubernetes, VaultUserPass
from keyturn.model.tenant import ServiceAccount
from keyturn.model.vault import AppRoleLogin, CertLogin, JwtLogin, TokenLogin, UserPassLogin, VaultConfig, VaultLogin

FIELD: Final = "spec.provider.hashicorpVault"


def parse_vault(spec: HashicorpVault, namespace: str) -> VaultConfig:
    """``namespace`` is the provider object's own, '' for the cluster kind. Raises `Rejected`."""
    login = _login(spec.auth, namespace)
    config = VaultConfig(
        server=spec.server.rstrip("/"),
        login=login,
        mount=(spec.path or "").strip("/"),
        engine=1 if spec.version == "v1" else 2,
        namespace=(spec.namespace or "").strip("/"),
        login_namespace=(spec.auth.namespace or spec.namespace or "").strip("/"),
        authority=authority(FIELD, spec.ca_bundle, spec.ca_provider, namespace),
        client=_pair(f"{FIELD}.tls", spec.tls.cert_secret_ref, "certSecretRef", spec.tls.key_secret_ref, "keySecretRef", namespace)
        if spec.tls
        else None,
    )
    if config.client and isinstance(login, CertLogin):
        raise Rejected(f"{FIELD}.tls: auth.cert brings the client certificate already; remove tls")
    return config


def _login(auth: VaultAuth, namespace: str) -> VaultLogin:
    field = f"{FIELD}.auth"
    match auth.token_secret_ref or auth.app_role or auth.kubernetes or auth.jwt or auth.user_pass or auth.cert:
        case NamedKeyRef() as token:
            return TokenLogin(key_ref(f"{field}.tokenSecretRef", token, namespace))
        case VaultAppRole(path=path, role_id=role_id, role_ref=role_ref, secret_ref=secret_ref):
            role = key_ref(f"{field}.appRole.roleRef", role_ref, namespace) if role_ref else role_id or ""
            return AppRoleLogin(_mount(path, "approle"), role, key_ref(f"{field}.appRole.secretRef", secret_ref, namespace))
        case VaultKubernetes(mount_path=path, role=role) as by:
            return JwtLogin(_mount(path, "kubernetes"), role, _reviewed(f"{field}.kubernetes", by, namespace))
        case VaultJwt(path=path, role=role) as by:
            return JwtLogin(_mount(path, "jwt"), role or "", _jwt(f"{field}.jwt", by, namespace))
        case VaultUserPass(path=path, username=username, secret_ref=secret_ref):
            return UserPassLogin(_mount(path, "userpass"), username, key_ref(f"{field}.userPass.secretRef", secret_ref, namespace))
        case VaultCert(path=path, client_cert=certificate, secret_ref=key):
            return CertLogin(_mount(path, "cert"), _pair(f"{field}.cert", certificate, "clientCert", key, "secretRef", namespace))
        case None:
            raise Rejected(f"{field}: one of tokenSecretRef, appRole, kubernetes, jwt, userPass and cert is needed; add one")
        case other:
            assert_never(other)


def _reviewed(field: str, by: VaultKubernetes, namespace: str) -> KeyRef | ServiceAccount | None:
    if by.service_account_ref is not None:
        return service_account(f"{field}.serviceAccountRef", by.service_account_ref, namespace)
    return key_ref(f"{field}.secretRef", by.secret_ref, namespace, "token") if by.secret_ref else None


def _jwt(field: str, by: VaultJwt, namespace: str) -> KeyRef | ServiceAccount:
    if by.secret_ref is not None:
        return key_ref(f"{field}.secretRef", by.secret_ref, namespace)
    if by.kubernetes_service_account_token is None:
        raise Rejected(f"{field}: exactly one of secretRef and kubernetesServiceAccountToken is needed; add one")
    account = by.kubernetes_service_account_token.service_account_ref
    return service_account(f"{field}.kubernetesServiceAccountToken.serviceAccountRef", account, namespace)


def _pair(field: str, certificate: SecretKeyRef, certificate_field: str, key: SecretKeyRef, key_field: str, namespace: str) -> KeyPair:
    return KeyPair(
        key_ref(f"{field}.{certificate_field}", certificate, namespace, "tls.crt"),
        key_ref(f"{field}.{key_field}", key, namespace, "tls.key"),
    )


def _mount(path: str | None, default: str) -> str:
    return (path or default).strip("/")
