"""The clouds as default providers: the variables that their own libraries know become a noun, or are refused by name."""

import pytest

from keyturn.decide.address import AddressRules
from keyturn.decide.default_clouds import google_places
from keyturn.decide.defaults import default_provider
from keyturn.decide.reach import Reach
from keyturn.model import aws, azure, google
from keyturn.model.errors import Rejected
from keyturn.model.ids import Carrier, KeyRef

VALUE = "kt-canary-cloud"
AWS = {"SECRETS_PROVIDER": "aws_secrets_manager", "AWS_REGION": "eu-west-1"}
AZURE = {"SECRETS_PROVIDER": "azure_key_vault", "AZURE_KEY_VAULT_URL": "https://shop.vault.azure.net"}
GOOGLE = {"SECRETS_PROVIDER": "google_secret_manager", "GCP_PROJECT_ID": "shop-1"}
IDS = {"AZURE_TENANT_ID": "t-1", "AZURE_CLIENT_ID": "c-1"}


def variable(name: str) -> KeyRef:
    return KeyRef(Carrier.ENVIRONMENT, "", "", name)


def file(path: str, name: str) -> KeyRef:
    return KeyRef(Carrier.FILE, "", path, name)


PRINCIPAL = azure.Principal("t-1", variable("AZURE_CLIENT_ID"))


@pytest.mark.parametrize("reach", [Reach(), Reach(is_own=True)], ids=["operator", "program"])
@pytest.mark.parametrize(
    ("environment", "config"),
    [
        (AWS, aws.AwsConfig("eu-west-1", aws.OwnLogin())),
        (AWS | {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-1"}, aws.AwsConfig("us-east-1", aws.OwnLogin())),
        (AZURE, azure.AzureConfig("shop.vault.azure.net", azure.ManagedLogin())),
        (AZURE | IDS, azure.AzureConfig("shop.vault.azure.net", azure.ManagedLogin(variable("AZURE_CLIENT_ID")))),
        (AZURE | IDS | {"AZURE_FEDERATED_TOKEN_FILE": "/t"}, azure.AzureConfig("shop.vault.azure.net", azure.OwnLogin())),
        (
            AZURE | IDS | {"AZURE_CLIENT_SECRET": VALUE},
            azure.AzureConfig("shop.vault.azure.net", azure.SecretLogin(PRINCIPAL, variable("AZURE_CLIENT_SECRET"))),
        ),
        (
            AZURE | IDS | {"AZURE_CLIENT_CERTIFICATE_PATH": "/c.pem", "AZURE_KEY_VAULT_URL": "https://Shop.vault.azure.cn/"},
            azure.AzureConfig(
                "shop.vault.azure.cn",
                azure.CertificateLogin(PRINCIPAL, file("/c.pem", "AZURE_CLIENT_CERTIFICATE_PATH")),
                "ChinaCloud",
            ),
        ),
        (GOOGLE, google.GoogleConfig("shop-1", google.AmbientLogin())),
        (
            GOOGLE | {"GCP_LOCATION": "europe-west3", "GOOGLE_APPLICATION_CREDENTIALS": "/k.json"},
            google.GoogleConfig("shop-1", google.FileLogin(file("/k.json", "GOOGLE_APPLICATION_CREDENTIALS")), "europe-west3"),
        ),
        (GOOGLE | {"GCP_PROJECT_ID": "", "GOOGLE_CLOUD_PROJECT": "123"}, google.GoogleConfig("123", google.AmbientLogin())),
    ],
)
def test_the_variables_of_the_clouds_become_their_nouns(environment: dict[str, str], config: object, reach: Reach) -> None:
    assert default_provider(environment, reach, AddressRules()).config == config


def test_only_what_stands_in_variables_is_kept_as_a_credential() -> None:
    found = default_provider(AZURE | IDS | {"AZURE_CLIENT_SECRET": VALUE}, Reach(), AddressRules())
    assert {ref.key: held.reveal() for ref, held in found.credentials.items()} == {
        "AZURE_CLIENT_ID": b"c-1",
        "AZURE_CLIENT_SECRET": VALUE.encode(),
    }


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (AWS | {"AWS_REGION": " "}, "AWS_REGION: is needed with SECRETS_PROVIDER=aws_secrets_manager"),
        (AWS | {"AWS_REGION": "eu-west-1a"}, "AWS_REGION: is no region of AWS; set it to one such as eu-west-1"),
        (AWS | {"AWS_REGION": "", "AWS_DEFAULT_REGION": "evil.example/"}, "AWS_DEFAULT_REGION: is no region of AWS"),
        (AZURE | {"AZURE_KEY_VAULT_URL": ""}, "AZURE_KEY_VAULT_URL: is needed with SECRETS_PROVIDER=azure_key_vault"),
        (AZURE | {"AZURE_KEY_VAULT_URL": "https://vault.example.com"}, "AZURE_KEY_VAULT_URL: is no vault of Azure's"),
        (AZURE | {"AZURE_KEY_VAULT_URL": "http://shop.vault.azure.net"}, "AZURE_KEY_VAULT_URL: is no vault of Azure's"),
        (AZURE | {"AZURE_CLIENT_SECRET": VALUE}, "AZURE_CLIENT_ID: is needed beside a client secret"),
        (AZURE | {"AZURE_CLIENT_SECRET": VALUE, "AZURE_CLIENT_ID": "c-1"}, "AZURE_TENANT_ID: is needed beside a client secret"),
        (
            AZURE | IDS | {"AZURE_CLIENT_SECRET": VALUE, "AZURE_CLIENT_CERTIFICATE_PATH": "/c.pem"},
            "AZURE_CLIENT_SECRET and AZURE_CLIENT_CERTIFICATE_PATH: are two ways to log in",
        ),
        (GOOGLE | {"GCP_PROJECT_ID": ""}, "GCP_PROJECT_ID: is needed with SECRETS_PROVIDER=google_secret_manager"),
        (GOOGLE | {"GCP_PROJECT_ID": "../x"}, "GCP_PROJECT_ID: is no id or number of a project"),
        (GOOGLE | {"GCP_LOCATION": "evil.example.com/"}, "GCP_LOCATION: is no region"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_variables_name(environment: dict[str, str], told: str) -> None:
    with pytest.raises(Rejected) as raised:
        default_provider(environment, Reach(), AddressRules())
    assert told in str(raised.value)
    assert VALUE not in str(raised.value)


def test_the_ways_to_google_are_the_environments_where_it_says_any() -> None:
    assert google_places({"SSL_CERT_FILE": " ", "GCE_METADATA_HOST": ""}) == google.GooglePlaces()
    found = google_places({"SSL_CERT_FILE": "/ca.pem", "GCE_METADATA_HOST": "127.0.0.1:8080"})
    assert found == google.GooglePlaces(metadata="http://127.0.0.1:8080", authority="/ca.pem")
