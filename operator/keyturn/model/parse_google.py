"""The `googleSecretManager` member, from what users wrote to a `GoogleConfig`."""

import re
from typing import Final

from keyturn.model.errors import Rejected
from keyturn.model.google import (
    AmbientLogin,
    AwsLogin,
    ClusterLogin,
    ConfigLogin,
    FederatedLogin,
    GoogleConfig,
    GoogleLogin,
    KeyLogin,
    is_audience,
    is_location,
    is_pool,
    is_project,
)
from keyturn.model.ids import Carrier, KeyRef
from keyturn.model.parse_refs import key_of, key_ref, service_account
from keyturn.model.specs_google import GoogleAuth, GoogleAwsCredentials, GoogleFederation, GoogleSecretManager, GoogleWorkloadIdentity

FIELD: Final = "spec.provider.googleSecretManager"

# It becomes part of a host's name that AWS's signature is made for.
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}")
_PROVIDER: Final = "//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"


def parse_google(spec: GoogleSecretManager, namespace: str) -> GoogleConfig:
    """``namespace`` is the provider object's own, '' for the cluster kind. Raises `Rejected`."""
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
    if auth.workload_identity is not None:
        return _of_cluster(auth.workload_identity, namespace)
    assert auth.workload_identity_federation is not None  # the rules of the spec: one of the three is there
    return _federated(auth.workload_identity_federation, namespace)


def _of_cluster(identity: GoogleWorkloadIdentity, namespace: str) -> ClusterLogin:
    field = f"{FIELD}.auth.workloadIdentity"
    project, location, cluster = identity.cluster_project_id or "", identity.cluster_location or "", identity.cluster_name or ""
    # The pool is called after the id; no cluster is in one that is called after a number.
    if project and (project.isdecimal() or not is_project(project)):
        raise Rejected(f"{field}.clusterProjectID: is no id of a project; write it as `gcloud projects list` shows it")
    if location and not is_location(location):
        raise Rejected(f"{field}.clusterLocation: is no region or zone of Google Cloud; write one such as europe-west3")
    if cluster and not is_location(cluster):
        raise Rejected(f"{field}.clusterName: cannot be a cluster's name; write it as `gcloud container clusters list` shows it")
    return ClusterLogin(service_account(f"{field}.serviceAccountRef", identity.service_account_ref, namespace), project, location, cluster)


def _federated(federation: GoogleFederation, namespace: str) -> GoogleLogin:
    field = f"{FIELD}.auth.workloadIdentityFederation"
    audience, endpoint = federation.audience or "", federation.external_token_endpoint or ""
    if federation.cred_config is not None:
        if audience and not is_audience(audience):
            raise Rejected(
                f"{field}.audience: is none that Google's token service has; write {_PROVIDER}, or remove it for credConfig's own"
            )
        kept = key_of(f"{field}.credConfig", Carrier.CONFIG_MAP, federation.cred_config, federation.cred_config.key, namespace)
        return ConfigLogin(kept, endpoint, audience)
    if endpoint:
        raise Rejected(f"{field}.externalTokenEndpoint: is for credConfig alone; remove it")
    if not is_pool(audience):
        raise Rejected(f"{field}.audience: is not the full name of a pool's provider; write {_PROVIDER}")
    if federation.aws_security_credentials is not None:
        return _of_aws(f"{field}.awsSecurityCredentials", audience, federation.aws_security_credentials, namespace)
    assert federation.service_account_ref is not None  # the rules of the spec: one of the three is there
    return FederatedLogin(service_account(f"{field}.serviceAccountRef", federation.service_account_ref, namespace), audience)


def _of_aws(field: str, audience: str, given: GoogleAwsCredentials, namespace: str) -> AwsLogin:
    if not _REGION.fullmatch(given.region):
        raise Rejected(f"{field}.region: is no region of AWS; write it as in eu-west-1")

    def kept(key: str) -> KeyRef:
        ref = given.aws_credentials_secret_ref
        return key_of(f"{field}.awsCredentialsSecretRef", Carrier.SECRET, ref, key, namespace)

    return AwsLogin(audience, given.region, kept("aws_access_key_id"), kept("aws_secret_access_key"), kept("aws_session_token"))
