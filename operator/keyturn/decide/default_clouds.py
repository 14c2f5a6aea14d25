"""The clouds' part of the default provider: by the variables that their own libraries know, from an environment to a noun.

Total, as ``defaults`` is. Where no credential is named it is the identity that the cloud gives the process.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from keyturn.model import aws, azure, google
from keyturn.model.errors import Rejected
from keyturn.model.ids import Carrier, KeyRef

AZURE_SECRET: Final = "AZURE_CLIENT_SECRET"  # noqa: S105  # the name of a variable

Environment = Mapping[str, str]


def aws_config(environment: Environment) -> aws.AwsConfig:
    """Whoever AWS's SDK finds: it reads its own variables, files and servers. Raises `Rejected`."""
    region = _first(environment, "AWS_REGION", "AWS_DEFAULT_REGION")
    if not region:
        raise Rejected("AWS_REGION: is needed with SECRETS_PROVIDER=aws_secrets_manager; set it to the secrets' region, such as eu-west-1")
    if not aws.is_region(region):
        name = "AWS_REGION" if _first(environment, "AWS_REGION") else "AWS_DEFAULT_REGION"
        raise Rejected(f"{name}: is no region of AWS; set it to one such as eu-west-1, without a zone's letter")
    return aws.AwsConfig(region, aws.OwnLogin())


def azure_config(environment: Environment) -> azure.AzureConfig:
    """By a service principal, a workload identity or a managed identity, whichever is named first here. Raises `Rejected`."""
    url = _first(environment, "AZURE_KEY_VAULT_URL")
    for cloud in azure.VAULT_SUFFIXES:
        if vault := azure.vault_of(url, cloud):
            return azure.AzureConfig(vault, _azure_login(environment), cloud)
    told = "is no vault of Azure's" if url else "is needed with SECRETS_PROVIDER=azure_key_vault"
    raise Rejected(f"AZURE_KEY_VAULT_URL: {told}; set it to https://NAME{azure.VAULT_SUFFIXES['PublicCloud']}")


def _azure_login(environment: Environment) -> azure.AzureLogin:
    secret = _variable(environment, AZURE_SECRET)
    certificate = _file(environment, "AZURE_CLIENT_CERTIFICATE_PATH")
    client = _variable(environment, "AZURE_CLIENT_ID")
    if not secret and not certificate:
        if _first(environment, "AZURE_FEDERATED_TOKEN_FILE"):
            return azure.OwnLogin()
        return azure.ManagedLogin(client)
    if secret and certificate:
        raise Rejected(f"{AZURE_SECRET} and AZURE_CLIENT_CERTIFICATE_PATH: are two ways to log in; leave one of them")
    tenant = _first(environment, "AZURE_TENANT_ID")
    if client is None or not azure.is_tenant(tenant):
        missing = "AZURE_CLIENT_ID" if client is None else "AZURE_TENANT_ID"
        raise Rejected(f"{missing}: is needed beside a client secret or certificate; set it to the application's")
    principal = azure.Principal(tenant, client)
    if secret:
        return azure.SecretLogin(principal, secret)
    assert certificate
    return azure.CertificateLogin(principal, certificate)


def google_config(environment: Environment) -> google.GoogleConfig:
    """By the credentials in a file, or as whoever the metadata server says that the process is. Raises `Rejected`."""
    project = _first(environment, "GCP_PROJECT_ID", "GOOGLE_CLOUD_PROJECT")
    if not google.is_project(project):
        told = "is no id or number of a project" if project else "is needed with SECRETS_PROVIDER=google_secret_manager"
        raise Rejected(f"GCP_PROJECT_ID: {told}; set it to one that `gcloud projects list` shows")
    location = _first(environment, "GCP_LOCATION")
    if location and not google.is_location(location):
        raise Rejected("GCP_LOCATION: is no region of Google Cloud; set it to one such as europe-west3, or unset it for global secrets")
    file = google_file(environment)
    return google.GoogleConfig(project, google.FileLogin(file) if file else google.AmbientLogin(), location)


def google_file(environment: Environment) -> KeyRef | None:
    """The file with the process's own credentials for Google, where it names one."""
    return _file(environment, "GOOGLE_APPLICATION_CREDENTIALS")


def google_places(environment: Environment) -> google.GooglePlaces:
    """Google's services as this process comes to them: by whom its environment trusts, and the metadata server that it names."""
    metadata = _first(environment, "GCE_METADATA_HOST")
    places = google.GooglePlaces(authority=_first(environment, "SSL_CERT_FILE"))
    return replace(places, metadata=f"http://{metadata}") if metadata else places


def _first(environment: Environment, *names: str) -> str:
    return next((given for name in names if (given := environment.get(name, "").strip())), "")


def _variable(environment: Environment, name: str) -> KeyRef | None:
    return KeyRef(Carrier.ENVIRONMENT, "", "", name) if _first(environment, name) else None


def _file(environment: Environment, name: str) -> KeyRef | None:
    path = _first(environment, name)
    return KeyRef(Carrier.FILE, "", path, name) if path else None
