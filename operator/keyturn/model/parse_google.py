"""The `googleSecretManager` member, from what users wrote to a `GoogleConfig`."""

import re
from typing import Final

from keyturn.model.errors import Rejected
from keyturn.model.google import AmbientLogin, FederatedLogin, GoogleConfig, GoogleLogin, KeyLogin, is_location, is_project
from keyturn.model.parse_refs import NOT_BUILT, key_ref, service_account
from keyturn.model.specs_google import GoogleAuth, GoogleFederation, GoogleSecretManager

FIELD: Final = "spec.provider.googleSecretManager"

# What a token is made for. Any other audience a tenant could have a server of its own for.
_POOL: Final = re.compile(
    r"//iam\.googleapis\.com/projects/[0-9]{1,19}/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+"
)


def parse_google(spec: GoogleSecretManager, namespace: str) -> GoogleConfig:
    """``namespace`` is the provider object's own, '' for the cluster kind, whose references name theirs. Raises `Rejected`."""
    if not is_project(spec.project_id):
        raise Rejected(f"{FIELD}.projectID: is no id or number of a project; write it as `gcloud projects list` shows it")
    if spec.location is not None and not is_location(spec.location):
        raise Rejected(f"{FIELD}.location: is no region of Google Cloud; write one such as europe-west3, or remove it for global secrets")
    return GoogleConfig(spec.project_id, _login(spec.auth, namespace), spec.location or "")


def _login(auth: GoogleAuth | None, namespace: str) -> GoogleLogin:
    if auth is None:
        if namespace:
            raise Rejected(f"{FIELD}.auth: is needed in a SecretProvider, since the operator's own identity is an admin's to give; add it")
        return AmbientLogin()
    if auth.secret_ref is not None:
        field = f"{FIELD}.auth.secretRef.secretAccessKeySecretRef"
        return KeyLogin(key_ref(field, auth.secret_ref.secret_access_key_secret_ref, namespace))
    if auth.workload_identity_federation is not None:
        return _federated(auth.workload_identity_federation, namespace)
    raise Rejected(f"{FIELD}.auth.workloadIdentity: {NOT_BUILT}; use workloadIdentityFederation with serviceAccountRef, or secretRef")


def _federated(federation: GoogleFederation, namespace: str) -> FederatedLogin:
    field = f"{FIELD}.auth.workloadIdentityFederation"
    if federation.service_account_ref is None:
        asked = "credConfig" if federation.cred_config is not None else "awsSecurityCredentials"
        raise Rejected(f"{field}.{asked}: {NOT_BUILT}; use serviceAccountRef with audience")
    audience = federation.audience or ""
    if not _POOL.fullmatch(audience):
        raise Rejected(
            f"{field}.audience: is not the full name of a pool's provider; write"
            " //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"
        )
    return FederatedLogin(service_account(f"{field}.serviceAccountRef", federation.service_account_ref, namespace), audience)
