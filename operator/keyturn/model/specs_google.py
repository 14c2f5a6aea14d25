"""The provider member for Google Secret Manager.

Without ``auth`` the operator's own identity reads, which is for an administrator's ClusterSecretProvider only.
"""

from typing import Annotated

from pydantic import Field

from keyturn.model.ids import Kind
from keyturn.model.specs_base import Rule, Spec, one_of
from keyturn.model.specs_types import DataKey, NamedKeyRef, NamespaceName, SecretKeyRef, ServiceAccountRef, Subdomain, Text, TokenUrl


class GoogleSecretRef(Spec):
    """The key of a Google service account, from a Kubernetes Secret."""

    secret_access_key_secret_ref: NamedKeyRef
    """The service account's key as JSON."""


class GoogleWorkloadIdentity(Spec):
    """GKE Workload Identity."""

    service_account_ref: ServiceAccountRef
    """ServiceAccount whose token is exchanged. Where it has the annotation iam.gke.io/gcp-service-account, that Google service
    account is logged in as, else the ServiceAccount itself."""

    cluster_location: Text | None = None
    """Region or zone of the cluster. Left out: asked of the metadata server."""

    cluster_name: Text | None = None
    """Name of the cluster. Left out: asked of the metadata server."""

    cluster_project_id: Text | None = Field(default=None, alias="clusterProjectID")
    """Id of the cluster's project, whose pool PROJECT.svc.id.goog the token is for. Left out: asked of the metadata server."""


class ConfigMapRef(Spec):
    """One key of a ConfigMap."""

    name: Subdomain
    """Name of the ConfigMap."""

    key: DataKey
    """Key within it."""

    namespace: NamespaceName | None = None
    """Namespace of the ConfigMap, for a ClusterSecretProvider, which has to name it. A SecretProvider always means its own
    namespace and must leave it out."""

    rules = SecretKeyRef.rules


class SecretRef(Spec):
    """A whole Kubernetes Secret."""

    name: Subdomain
    """Name of the Secret."""

    namespace: NamespaceName | None = None
    """Namespace of the Secret, for a ClusterSecretProvider only. Left out: the namespace of the ManagedSecret that is being
    synced. A SecretProvider always means its own namespace and must leave it out."""

    rules = SecretKeyRef.rules


class GoogleAwsCredentials(Spec):
    """AWS credentials that are exchanged for a Google token."""

    region: Text
    """AWS region."""

    aws_credentials_secret_ref: SecretRef
    """Secret with the keys aws_access_key_id, aws_secret_access_key and, where they are temporary, aws_session_token. They
    sign a request by which AWS tells Google who they are; none of them is sent to Google, but for aws_session_token."""


class GoogleFederation(Spec):
    """Workload identity federation: a token of somebody else is exchanged for one of Google."""

    audience: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Audience: the full name of the workload identity pool's provider. Needed with serviceAccountRef and
    awsSecurityCredentials. With credConfig it takes the place of the one that stands there."""

    service_account_ref: ServiceAccountRef | None = None
    """ServiceAccount whose token is exchanged, where the cluster is the identity provider. Where it has the annotation
    iam.gke.io/gcp-service-account, that Google service account is logged in as."""

    cred_config: ConfigMapRef | None = None
    """External account configuration, as JSON in a ConfigMap. Its credential_source must be the url that
    externalTokenEndpoint names: files, programs and the environment are the operator's."""

    aws_security_credentials: GoogleAwsCredentials | None = None
    """AWS credentials that are exchanged."""

    external_token_endpoint: TokenUrl | None = None
    """Address that credConfig's credential_source.url must be, and that is asked for the token. It is dialed by the rules for
    tenants' servers: https, and no address that those rules refuse."""

    rules = (
        one_of(
            "exactly one of serviceAccountRef, credConfig and awsSecurityCredentials is needed; keep one",
            "service_account_ref",
            "cred_config",
            "aws_security_credentials",
        ),
        Rule(
            "has(self.credConfig) || has(self.audience)",
            "audience is needed with serviceAccountRef and awsSecurityCredentials; add it",
            lambda federation: federation.cred_config is not None or federation.audience is not None,
        ),
    )


class GoogleAuth(Spec):
    """Who logs in to Google Cloud."""

    secret_ref: GoogleSecretRef | None = None
    """The key of a service account, from a Kubernetes Secret."""

    workload_identity: GoogleWorkloadIdentity | None = None
    """GKE Workload Identity of a ServiceAccount."""

    workload_identity_federation: GoogleFederation | None = None
    """A token of another identity provider, exchanged."""

    rules = (
        one_of(
            "exactly one of secretRef, workloadIdentity and workloadIdentityFederation is needed; keep one",
            "secret_ref",
            "workload_identity",
            "workload_identity_federation",
        ),
    )


class GoogleSecretManager(Spec):
    """Google Secret Manager."""

    project_id: Text = Field(alias="projectID")
    """Project that holds the secrets."""

    location: Text | None = None
    """Region, for regional secrets. Left out: global secrets."""

    auth: GoogleAuth | None = None
    """Who logs in. Left out: application default credentials of the operator; for a ClusterSecretProvider only."""

    rules = (
        Rule(
            "has(self.auth)",
            "auth is needed in a SecretProvider, since the operator's own identity serves a ClusterSecretProvider only; add it",
            lambda google: google.auth is not None,
            Kind.SECRET_PROVIDER,
        ),
    )
