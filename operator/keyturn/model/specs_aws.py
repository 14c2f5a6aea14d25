"""The provider member for AWS Secrets Manager.

Without ``auth`` the operator's own identity reads, which is for an administrator's ClusterSecretProvider only.
"""

from typing import Annotated

from pydantic import Field

from keyturn.model.ids import Kind
from keyturn.model.specs_base import Rule, Spec, one_of
from keyturn.model.specs_types import NamedKeyRef, ServiceAccountRef, Text, Url


class AwsSecretRef(Spec):
    """Static credentials of an IAM user, or temporary ones, from Kubernetes Secrets."""

    access_key_id: NamedKeyRef = Field(alias="accessKeyID")
    """The access key's id."""

    secret_access_key: NamedKeyRef
    """The secret access key."""

    session_token: NamedKeyRef | None = None
    """The session token, where the credentials are temporary."""


class AwsAuth(Spec):
    """Who logs in to AWS."""

    service_account_ref: ServiceAccountRef | None = None
    """ServiceAccount whose token is exchanged for the role in its annotation eks.amazonaws.com/role-arn (IRSA), or for role
    where it has none."""

    secret_ref: AwsSecretRef | None = None
    """Credentials from Kubernetes Secrets."""

    rules = (one_of("exactly one of serviceAccountRef and secretRef is needed; keep one", "service_account_ref", "secret_ref"),)


class AwsTag(Spec):
    """One tag of the session."""

    key: Annotated[str, Field(min_length=1, max_length=128)]
    """Name of the tag."""

    value: Annotated[str, Field(max_length=256)]
    """Value of the tag."""


class AwsSecretsManager(Spec):
    """AWS Secrets Manager. Stages by version: AWSPREVIOUS, or uuid/ and a version's id."""

    region: Text
    """Region of the secrets, such as eu-west-1."""

    role: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """ARN of a role to assume with the credentials of auth. Beside serviceAccountRef: on top of the role in the
    ServiceAccount's annotation; where there is none, the role that its token is exchanged for. Without auth the operator
    itself assumes it, for each namespace apart, with an external id that names the namespace."""

    external_id: Annotated[str, Field(min_length=2, max_length=1224)] | None = Field(default=None, alias="externalID")
    """External id for assuming the role, not for exchanging a token for it. Needs auth: under the operator's own identity it is
    keyturn/, the cluster's id and the namespace of the ManagedSecret, so that no tenant can pose as another."""

    session_tags: list[AwsTag] | None = Field(default=None, max_length=50)
    """Tags of the session in which the role is assumed, on top of another where a token is exchanged."""

    prefix: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Put before every key."""

    endpoint: Url | None = None
    """Another address of the service, such as a VPC endpoint. Needs auth, so that the operator's own credentials are never
    sent to an address of a tenant's choice."""

    auth: AwsAuth | None = None
    """Who logs in. Left out: the operator's own identity, by the SDK's chain; for a ClusterSecretProvider only."""

    rules = (
        Rule(
            "has(self.auth)",
            "auth is needed in a SecretProvider, since the operator's own identity serves a ClusterSecretProvider only; add it",
            lambda aws: aws.auth is not None,
            Kind.SECRET_PROVIDER,
        ),
        Rule(
            "(!has(self.externalID) && !has(self.endpoint)) || has(self.auth)",
            "externalID and endpoint need auth; add it, or remove them",
            lambda aws: (aws.external_id is None and aws.endpoint is None) or aws.auth is not None,
        ),
        Rule(
            "has(self.role) || (!has(self.externalID) && !has(self.sessionTags))",
            "externalID and sessionTags need a role to assume; add role, or remove them",
            lambda aws: aws.role is not None or (aws.external_id is None and aws.session_tags is None),
        ),
    )
