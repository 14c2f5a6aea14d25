"""The `kubernetes` member, from what users wrote to a `KubernetesConfig`."""

from typing import Final

from keyturn.model.errors import Rejected
from keyturn.model.ids import KeyPair, KeyRef
from keyturn.model.kubernetes import KubernetesConfig, OtherCluster
from keyturn.model.parse_refs import authority, key_ref, service_account
from keyturn.model.specs_kubernetes import Kubernetes, KubernetesAuth, KubernetesServer

FIELD: Final = "spec.provider.kubernetes"


def parse_kubernetes(spec: Kubernetes, namespace: str) -> KubernetesConfig:
    """``namespace`` is the provider object's own, '' for the cluster kind. Raises `Rejected`."""
    if spec.server is not None:
        return KubernetesConfig(spec.remote_namespace, _other(spec.server, spec.auth, namespace))
    if spec.auth.service_account is None:
        raise Rejected(f"{FIELD}.auth.serviceAccount: is needed, since no server is named; name a ServiceAccount, or a server")
    return KubernetesConfig(spec.remote_namespace, service_account(f"{FIELD}.auth.serviceAccount", spec.auth.service_account, namespace))


def _other(server: KubernetesServer, auth: KubernetesAuth, namespace: str) -> OtherCluster:
    trusted = authority(f"{FIELD}.server", server.ca_bundle, server.ca_provider, namespace)
    return OtherCluster(server.url.rstrip("/"), _login(auth, namespace), trusted)


def _login(auth: KubernetesAuth, namespace: str) -> KeyRef | KeyPair:
    if auth.token is not None:
        return key_ref(f"{FIELD}.auth.token.bearerToken", auth.token.bearer_token, namespace, "token")
    if auth.cert is not None:
        field = f"{FIELD}.auth.cert"
        return KeyPair(
            key_ref(f"{field}.clientCert", auth.cert.client_cert, namespace, "tls.crt"),
            key_ref(f"{field}.clientKey", auth.cert.client_key, namespace, "tls.key"),
        )
    # A tenant's server would take over whatever ServiceAccount it has the token of.
    raise Rejected(f"{FIELD}.auth: no token of a ServiceAccount of this cluster goes to another one; use token or cert")
