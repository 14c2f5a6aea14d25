"""The `awsSecretsManager` member, from what users wrote to an `AwsConfig`."""

import re
from collections.abc import Sequence
from typing import Final

from keyturn.model.aws import AssumedRole, AwsConfig, AwsLogin, KeysLogin, OwnLogin, TenantLogin, is_region, is_role
from keyturn.model.errors import Rejected
from keyturn.model.ids import READER
from keyturn.model.parse_refs import key_ref, service_account
from keyturn.model.specs_aws import AwsAuth, AwsSecretRef, AwsSecretsManager, AwsTag
from keyturn.model.specs_types import ServiceAccountRef

FIELD: Final = "spec.provider.awsSecretsManager"

_EXTERNAL_ID: Final = re.compile(r"[\w+=,.@:/-]+", re.ASCII)
_PREFIX: Final = re.compile(r"[\w/+=.@-]+", re.ASCII)
_TAG: Final = re.compile(r"[\w .:/=+@-]*")


def parse_aws(spec: AwsSecretsManager, namespace: str) -> AwsConfig:
    """``namespace`` is the provider object's own, '' for the cluster kind. Raises `Rejected`."""
    if not is_region(spec.region):
        raise Rejected(f"{FIELD}.region: is no region of AWS; write it as in eu-west-1")
    if spec.role is not None and not is_role(spec.role):
        raise Rejected(f"{FIELD}.role: is no ARN of a role; write arn:aws:iam::ACCOUNT:role/NAME")
    if spec.prefix is not None and not _PREFIX.fullmatch(spec.prefix):
        raise Rejected(f"{FIELD}.prefix: has characters that no name of a secret has; use letters, digits and /_+=.@- alone")
    return AwsConfig(
        region=spec.region,
        login=_login(spec.auth, namespace),
        role=_role(spec),
        prefix=spec.prefix or "",
        endpoint=(spec.endpoint or "").rstrip("/"),
    )


def _login(auth: AwsAuth | None, namespace: str) -> AwsLogin:
    match auth and (auth.secret_ref or auth.service_account_ref):
        case AwsSecretRef(access_key_id=key_id, secret_access_key=secret, session_token=token):
            field = f"{FIELD}.auth.secretRef"
            return KeysLogin(
                key_ref(f"{field}.accessKeyID", key_id, namespace),
                key_ref(f"{field}.secretAccessKey", secret, namespace),
                key_ref(f"{field}.sessionToken", token, namespace) if token else None,
            )
        case ServiceAccountRef() as account:
            return TenantLogin(service_account(f"{FIELD}.auth.serviceAccountRef", account, namespace))
        case _:
            return OwnLogin()


def _role(spec: AwsSecretsManager) -> AssumedRole | None:
    """The role to assume. A ServiceAccount without one in its annotations is this one by its token, as `AssumedRole` says."""
    if spec.role is None:
        return None
    if spec.auth is None:
        # Whoever may write a ManagedSecret would read by it what its trust policy meant for others.
        return AssumedRole(spec.role, READER, _tags(spec.session_tags or ()))
    if spec.external_id is not None and not _EXTERNAL_ID.fullmatch(spec.external_id):
        raise Rejected(f"{FIELD}.externalID: has characters that AWS does not take in one; use letters, digits and _+=,.@:/- alone")
    return AssumedRole(spec.role, spec.external_id or "", _tags(spec.session_tags or ()))


def _tags(tags: Sequence[AwsTag]) -> tuple[tuple[str, str], ...]:
    seen = set[str]()
    for i, tag in enumerate(tags):
        field = f"{FIELD}.sessionTags[{i}]"
        if not _TAG.fullmatch(tag.key) or not _TAG.fullmatch(tag.value) or tag.key.lower().startswith("aws:"):
            raise Rejected(
                f"{field}: is no tag that AWS takes; use letters, digits, spaces and _.:/=+-@ alone, and no key beginning with aws:"
            )
        if tag.key.lower() in seen:
            raise Rejected(f"{field}.key: is there twice, since AWS takes small and capital letters for one; remove one of the two")
        seen.add(tag.key.lower())
    return tuple((tag.key, tag.value) for tag in tags)
