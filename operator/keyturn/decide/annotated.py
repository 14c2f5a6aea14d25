"""Whom a ServiceAccount is at a cloud, where its annotations say so: those that the clouds' own webhooks read for pods.

Annotations are words of whoever may write the ServiceAccount: each is checked here as a spec's field is, and none is repeated in an
error. What a provider's spec says goes before them.
"""

from collections.abc import Mapping
from typing import Final

from keyturn.model.aws import AUDIENCE, AssumedRole, is_role
from keyturn.model.azure import is_client, is_tenant
from keyturn.model.errors import AuthFailed
from keyturn.model.tenant import ServiceAccount

AWS_ROLE: Final = "eks.amazonaws.com/role-arn"
AWS_AUDIENCE: Final = "eks.amazonaws.com/audience"
AZURE_CLIENT: Final = "azure.workload.identity/client-id"
AZURE_TENANT: Final = "azure.workload.identity/tenant-id"

_AWS: Final = "spec.provider.awsSecretsManager"
_AZURE: Final = "spec.provider.azureKeyVault"


def aws_roles(who: ServiceAccount, noted: Mapping[str, str], asked: AssumedRole | None) -> tuple[str, AssumedRole | None]:
    """The role that a token of ``who`` is exchanged for, and the one to assume on top of it. ``asked`` is the spec's.

    Raises `AuthFailed` where none is named, or not in a way that AWS takes.
    """
    if (noted.get(AWS_AUDIENCE) or AUDIENCE) != AUDIENCE:
        raise AuthFailed(
            f"the annotation {AWS_AUDIENCE} of {who} wants another audience than {AUDIENCE}, for which alone tokens for AWS are made;"
            f" remove it, and have the role's OIDC provider take {AUDIENCE}"
        )
    noted_role = noted.get(AWS_ROLE, "")
    if noted_role and not is_role(noted_role):
        raise AuthFailed(f"the annotation {AWS_ROLE} of {who} is no ARN of a role; write arn:aws:iam::ACCOUNT:role/NAME")
    if asked is None:
        if not noted_role:
            raise AuthFailed(f"no role is named for {who}; annotate it with {AWS_ROLE}, or set {_AWS}.role")
        return noted_role, None
    if not noted_role:
        if asked.external_id or asked.tags:
            raise AuthFailed(
                f"{_AWS}: externalID and sessionTags are for a role that is assumed on top of another, and a token of {who} is"
                f" exchanged for role itself; remove them, or name the other role in its annotation {AWS_ROLE}"
            )
        return asked.arn, None
    # Who is a role already needs its leave to assume it once more, which few roles give themselves.
    return noted_role, None if asked == AssumedRole(noted_role) else asked


def azure_client(who: ServiceAccount, noted: Mapping[str, str]) -> str:
    """The client id that ``who`` is annotated with. Raises `AuthFailed`."""
    if not (found := noted.get(AZURE_CLIENT, "")):
        raise AuthFailed(f"no client id is named for {who}; annotate it with {AZURE_CLIENT}, or set {_AZURE}.authSecretRef.clientId")
    if not is_client(found):
        raise AuthFailed(f"the annotation {AZURE_CLIENT} of {who} is no client id; correct it")
    return found


def azure_tenant(who: ServiceAccount, noted: Mapping[str, str]) -> str:
    """The tenant that ``who`` is annotated with. Raises `AuthFailed`."""
    if not (found := noted.get(AZURE_TENANT, "")):
        raise AuthFailed(f"no tenant is named for {who}; annotate it with {AZURE_TENANT}, or set {_AZURE}.tenantId")
    if not is_tenant(found):
        raise AuthFailed(f"the annotation {AZURE_TENANT} of {who} is no id and no domain of a tenant; correct it")
    return found
