"""The `hashicorpVault` member, from what users wrote to a `VaultConfig`."""

import base64
import binascii
from typing import Final, assert_never

from keyturn.model.errors import Rejected
from keyturn.model.ids import Carrier, KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.specs_types import CAProvider, SecretKeyRef
from keyturn.model.specs_vault import HashicorpVault, VaultAppRole, VaultAuth, VaultCert, VaultJwt, VaultKubernetes, VaultUserPass
from keyturn.model.vault import AppRoleLogin, CertLogin, JwtLogin, KeyPair, TokenLogin, UserPassLogin, VaultConfig, VaultLogin

FIELD: Final = "spec.provider.hashicorpVault"
NOT_BUILT: Final = "is not available in this version of Keyturn"


def parse_vault(spec: HashicorpVault, namespace: str) -> VaultConfig:
    """``namespace`` is the provider object's own, '' for the cluster kind, whose references name theirs. Raises `Rejected`."""
    login = _login(spec.auth, namespace)
    config = VaultConfig(
        server=spec.server.rstrip("/"),
        login=login,
        mount=(spec.path or "").strip("/"),
        engine=1 if spec.version == "v1" else 2,
        namespace=(spec.namespace or "").strip("/"),
        login_namespace=(spec.auth.namespace or spec.namespace or "").strip("/"),
        authority=_authority(spec, namespace),
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
        case SecretKeyRef() as token:
            return TokenLogin(_ref(f"{field}.tokenSecretRef", token, namespace))
        case VaultAppRole(path=path, role_id=role_id, role_ref=role_ref, secret_ref=secret_ref):
            role = _ref(f"{field}.appRole.roleRef", role_ref, namespace) if role_ref else role_id or ""
            return AppRoleLogin(_mount(path, "approle"), role, _ref(f"{field}.appRole.secretRef", secret_ref, namespace))
        case VaultKubernetes(mount_path=path, role=role, service_account_ref=None, secret_ref=token):
            return JwtLogin(
                _mount(path, "kubernetes"), role, _ref(f"{field}.kubernetes.secretRef", token, namespace, "token") if token else None
            )
        case VaultKubernetes():
            raise Rejected(f"{field}.kubernetes.serviceAccountRef: {NOT_BUILT}; use secretRef")
        case VaultJwt(path=path, role=role, secret_ref=SecretKeyRef() as token):
            return JwtLogin(_mount(path, "jwt"), role or "", _ref(f"{field}.jwt.secretRef", token, namespace))
        case VaultJwt():
            raise Rejected(f"{field}.jwt.kubernetesServiceAccountToken: {NOT_BUILT}; use secretRef")
        case VaultUserPass(path=path, username=username, secret_ref=secret_ref):
            return UserPassLogin(_mount(path, "userpass"), username, _ref(f"{field}.userPass.secretRef", secret_ref, namespace))
        case VaultCert(path=path, client_cert=certificate, secret_ref=key):
            return CertLogin(_mount(path, "cert"), _pair(f"{field}.cert", certificate, "clientCert", key, "secretRef", namespace))
        case None:
            raise Rejected(f"{field}: one of tokenSecretRef, appRole, kubernetes, jwt, userPass and cert is needed; add one")
        case other:
            assert_never(other)


def _authority(spec: HashicorpVault, namespace: str) -> Sensitive | KeyRef | None:
    if spec.ca_bundle:
        try:
            return Sensitive(base64.b64decode(spec.ca_bundle, validate=True))
        except (binascii.Error, ValueError):
            raise Rejected(f"{FIELD}.caBundle: is not base64; encode the PEM text once more") from None
    return _ref(f"{FIELD}.caProvider", spec.ca_provider, namespace, "ca.crt") if spec.ca_provider else None


def _pair(field: str, certificate: SecretKeyRef, certificate_field: str, key: SecretKeyRef, key_field: str, namespace: str) -> KeyPair:
    return KeyPair(
        _ref(f"{field}.{certificate_field}", certificate, namespace, "tls.crt"), _ref(f"{field}.{key_field}", key, namespace, "tls.key")
    )


def _ref(field: str, ref: SecretKeyRef | CAProvider, namespace: str, default: str = "") -> KeyRef:
    carrier = Carrier(ref.type) if isinstance(ref, CAProvider) else Carrier.SECRET
    if not (key := ref.key or default):
        raise Rejected(f"{field}.key: is needed; name the key of the Secret that holds it")
    if namespace and ref.namespace not in (None, namespace):
        raise Rejected(f"{field}.namespace: a SecretProvider reads its own namespace only; remove it")
    if not (where := namespace or ref.namespace or ""):
        raise Rejected(f"{field}.namespace: a log-in of the ManagedSecret's own namespace {NOT_BUILT}; name a namespace")
    return KeyRef(carrier, where, ref.name, key)


def _mount(path: str | None, default: str) -> str:
    return (path or default).strip("/")
