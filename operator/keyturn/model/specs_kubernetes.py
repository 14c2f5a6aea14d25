"""The provider member for Secrets of another namespace or cluster."""

from keyturn.model.specs_base import Rule, Spec, one_of
from keyturn.model.specs_types import CAProvider, NamespaceName, PemBundle, SecretKeyRef, ServiceAccountRef, Url


class KubernetesServer(Spec):
    """Another cluster."""

    url: Url
    """Address of its API server."""

    ca_bundle: PemBundle | None = None
    """Certificates of the authority that signed the server's, as base64 of PEM. Excludes caProvider."""

    ca_provider: CAProvider | None = None
    """Where those certificates are kept. Excludes caBundle."""

    rules = (
        Rule(
            "!(has(self.caBundle) && has(self.caProvider))",
            "caBundle and caProvider exclude each other; keep one",
            lambda server: server.ca_bundle is None or server.ca_provider is None,
        ),
    )


class KubernetesCert(Spec):
    """A client certificate."""

    client_cert: SecretKeyRef
    """The certificate, in PEM. Default key: tls.crt."""

    client_key: SecretKeyRef
    """Its private key, in PEM. Default key: tls.key."""


class KubernetesToken(Spec):
    """A bearer token."""

    bearer_token: SecretKeyRef
    """The token. Default key: token."""


class KubernetesAuth(Spec):
    """Who logs in to the API server."""

    cert: KubernetesCert | None = None
    """A client certificate, for another cluster."""

    token: KubernetesToken | None = None
    """A bearer token, for another cluster."""

    service_account: ServiceAccountRef | None = None
    """A ServiceAccount whose short-lived token logs in, for this cluster only."""

    rules = (one_of("exactly one of cert, token and serviceAccount is needed; keep one", "cert", "token", "service_account"),)


class Kubernetes(Spec):
    """Secrets of another namespace, or of another cluster."""

    server: KubernetesServer | None = None
    """The other cluster. Left out: this one."""

    remote_namespace: NamespaceName
    """Namespace that holds the Secrets."""

    auth: KubernetesAuth
    """Who logs in."""

    rules = (
        Rule(
            "has(self.server) != has(self.auth.serviceAccount)",
            "auth.serviceAccount is for this cluster, and auth.cert and auth.token are for another one, since no token of a"
            " ServiceAccount is sent to an address of a tenant's choice; change auth, or server",
            lambda kubernetes: (kubernetes.server is None) == (kubernetes.auth.service_account is not None),
        ),
    )
