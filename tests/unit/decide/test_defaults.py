"""From variables to the default provider: what each configures, and how each slip is refused by the name of its variable."""

import pytest

from keyturn.decide.address import AddressRules
from keyturn.decide.defaults import default_provider, near_misses, secret_variables
from keyturn.decide.reach import Reach
from keyturn.model.database import DatabaseConfig
from keyturn.model.default import DefaultProvider
from keyturn.model.errors import Rejected
from keyturn.model.ids import Carrier, KeyPair, KeyRef
from keyturn.model.order import NOBODY, Access, Admission, EnvConfig, FileConfig, FileFormat
from keyturn.model.vault import AppRoleLogin, JwtLogin, TokenLogin, VaultConfig

VALUE = "kt-canary-default"
VAULT = {"SECRETS_PROVIDER": "hashicorp_vault", "VAULT_URL": "https://vault:8200", "VAULT_TOKEN": VALUE}
FILE = {"SECRETS_PROVIDER": "file", "SECRETS_FILE_PATH": "/srv/secrets"}
DATABASE = {"SECRETS_PROVIDER": "database", "DATABASE_URL": f"postgresql://me:{VALUE}@db/keyturn", "SECRET_KEY": VALUE}


def in_operator(**environment: str) -> DefaultProvider:
    return default_provider(environment, Reach(env_prefixes=("SHOP_",)), AddressRules())


def in_program(**environment: str) -> DefaultProvider:
    return default_provider(environment, Reach(is_own=True), AddressRules())


def vault(**environment: str) -> VaultConfig:
    return vault_of(in_operator(**(VAULT | environment)))


def vault_of(default: DefaultProvider) -> VaultConfig:
    assert isinstance(default.config, VaultConfig)
    return default.config


def test_without_a_word_it_is_the_environment_by_each_ones_own_prefix() -> None:
    assert in_program().config == EnvConfig("")
    assert in_operator().config == EnvConfig("KEYTURN_SECRET_")
    assert in_operator(SECRETS_ENV_PREFIX="").config == EnvConfig("KEYTURN_SECRET_")
    assert in_operator(SECRETS_ENV_PREFIX="SHOP_").config == EnvConfig("SHOP_")
    assert in_program(SECRETS_ENV_PREFIX="AWS_").config == EnvConfig("AWS_")


def test_a_folder_and_a_file_are_read_where_they_are() -> None:
    folder = in_operator(**FILE)
    assert (folder.folder, folder.config) == ("/srv/secrets", FileConfig(".", FileFormat.DIRECTORY))
    file = in_operator(**(FILE | {"SECRETS_FILE_PATH": "/srv/app.env", "SECRETS_FILE_FORMAT": "dotenv"}))
    assert (file.folder, file.config) == ("/srv", FileConfig("app.env", FileFormat.DOTENV))
    beside = in_program(SECRETS_PROVIDER="file", SECRETS_FILE_PATH="app.json", SECRETS_FILE_FORMAT="JSON")
    assert (beside.folder, beside.config) == (".", FileConfig("app.json", FileFormat.JSON))
    assert in_program(**(FILE | {"SECRETS_FILE_PATH": "/run/secrets"})).folder == "/run/secrets"


def test_the_database_is_the_own_one() -> None:
    assert in_operator(**DATABASE).config == DatabaseConfig()
    assert in_operator(SECRETS_PROVIDER="database", DATABASE_URL="sqlite:////x", SECRET_KEYS_FILE="/k").config == DatabaseConfig()


def test_the_key_of_the_own_database_may_be_kept_by_the_operator_and_a_program_elsewhere_has_to_be_given_one() -> None:
    without = DATABASE | {"SECRET_KEY": ""}
    assert in_operator(**without).config == DatabaseConfig()
    assert in_program(**without, KEYTURN_OPERATOR_NAMESPACE="keyturn-system").config == DatabaseConfig()
    with pytest.raises(Rejected, match="SECRET_KEY: is needed with SECRETS_PROVIDER=database, or SECRET_KEYS_FILE; make one with: openssl"):
        in_program(**without)


def test_vault_is_told_its_server_its_engine_and_its_namespace() -> None:
    token = KeyRef(Carrier.ENVIRONMENT, "", "", "VAULT_TOKEN")
    assert vault() == VaultConfig("https://vault:8200", TokenLogin(token), mount="secret")
    other = {"VAULT_NAMESPACE": "team/", "VAULT_MOUNT_PATH": "/kv/", "VAULT_KV_VERSION": "v1", "VAULT_AUTH_NAMESPACE": "root"}
    found = vault(**other)
    assert (found.namespace, found.mount, found.engine, found.login_namespace) == ("team", "kv", 1, "root")
    assert vault(VAULT_URL="", VAULT_ADDR="https://other/").server == "https://other"


def test_vault_is_trusted_by_the_files_that_are_named() -> None:
    found = vault(VAULT_CACERT="/ca.pem", VAULT_CLIENT_CERT="/c.pem", VAULT_CLIENT_KEY="/k.pem")
    assert found.authority == KeyRef(Carrier.FILE, "", "/ca.pem", "VAULT_CACERT")
    assert found.client == KeyPair(
        KeyRef(Carrier.FILE, "", "/c.pem", "VAULT_CLIENT_CERT"), KeyRef(Carrier.FILE, "", "/k.pem", "VAULT_CLIENT_KEY")
    )


def test_each_way_to_log_in_to_vault() -> None:
    none = {"VAULT_TOKEN": ""}
    secret_id = KeyRef(Carrier.ENVIRONMENT, "", "", "VAULT_SECRET_ID")
    assert vault(**none, VAULT_ROLE_ID="r", VAULT_SECRET_ID=VALUE).login == AppRoleLogin("approle", "r", secret_id)
    in_file = KeyRef(Carrier.FILE, "", "/id", "VAULT_SECRET_ID_FILE")
    named = vault(**none, VAULT_ROLE_ID="r", VAULT_SECRET_ID_FILE="/id", VAULT_AUTH_MOUNT="shop")
    assert named.login == AppRoleLogin("shop", "r", in_file)
    assert vault(**none, VAULT_TOKEN_FILE="/sink").login == TokenLogin(KeyRef(Carrier.FILE, "", "/sink", "VAULT_TOKEN_FILE"))
    assert vault(**none, VAULT_KUBERNETES_ROLE="keyturn").login == JwtLogin("kubernetes", "keyturn", None)


def test_credentials_are_held_and_never_shown() -> None:
    found = in_operator(**VAULT)
    [(ref, held)] = found.credentials.items()
    assert (ref.key, held.reveal().decode()) == ("VAULT_TOKEN", VALUE)
    assert VALUE not in repr(found)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"SECRETS_PROVIDER": VALUE}, "SECRETS_PROVIDER: is none of the providers that there are; set it to one of env, file,"),
        ({"SECRETS_ENV_PREFIX": "AWS_"}, "SECRETS_ENV_PREFIX: 'AWS_' is not allowed; start it with KEYTURN_SECRET_ or SHOP_"),
        ({"SECRETS_PROVIDER": "file"}, "SECRETS_FILE_PATH: is needed with SECRETS_PROVIDER=file"),
        (FILE | {"SECRETS_FILE_PATH": "srv"}, "SECRETS_FILE_PATH: 'srv' is no absolute path"),
        (FILE | {"SECRETS_FILE_PATH": "/srv/../proc"}, r"SECRETS_FILE_PATH: is no plain path; write it without '\.\.'"),
        (FILE | {"SECRETS_FILE_PATH": "/proc/self"}, "SECRETS_FILE_PATH: '/proc/self' reaches folders of the system"),
        (FILE | {"SECRETS_FILE_PATH": "/var/run/secrets"}, "SECRETS_FILE_PATH: .* reaches folders of the system"),
        (
            FILE | {"SECRETS_FILE_FORMAT": "toml"},
            "SECRETS_FILE_FORMAT: 'toml' is no format; set it to one of Directory, JSON, YAML, Dotenv",
        ),
        (FILE | {"SECRETS_FILE_PATH": "/", "SECRETS_FILE_FORMAT": "JSON"}, "SECRETS_FILE_PATH: "),
        (DATABASE | {"DATABASE_URL": " "}, "DATABASE_URL: is needed with SECRETS_PROVIDER=database; set it to postgresql://"),
        (VAULT | {"VAULT_URL": ""}, "VAULT_URL: is needed with SECRETS_PROVIDER=hashicorp_vault; set it to https://"),
        (VAULT | {"VAULT_URL": "http://vault"}, "VAULT_URL: http would send the log-in in clear"),
        (VAULT | {"VAULT_URL": "", "VAULT_ADDR": f"https://me:{VALUE}@vault"}, "VAULT_ADDR: is no plain URL"),
        (
            VAULT | {"VAULT_TOKEN": ""},
            "VAULT_TOKEN: is needed with SECRETS_PROVIDER=hashicorp_vault, or VAULT_TOKEN_FILE, or VAULT_ROLE_ID",
        ),
        (VAULT | {"VAULT_KUBERNETES_ROLE": "x"}, "VAULT_TOKEN and VAULT_KUBERNETES_ROLE: are several ways to log in; leave one of them"),
        (VAULT | {"VAULT_ROLE_ID": "r"}, "VAULT_TOKEN and VAULT_ROLE_ID: are several ways to log in; leave one of them"),
        (VAULT | {"VAULT_ADDR": "https://other"}, "VAULT_URL and VAULT_ADDR: name different servers; leave one of them"),
        (VAULT | {"VAULT_TOKEN": "", "VAULT_ROLE_ID": "r"}, "VAULT_SECRET_ID: is needed beside VAULT_ROLE_ID"),
        (VAULT | {"VAULT_KV_VERSION": "3"}, "VAULT_KV_VERSION: is neither 1 nor 2"),
        (VAULT | {"VAULT_CLIENT_KEY": "/k"}, "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY: are a pair of files; set both, or none"),
        (VAULT | {"VAULT_SKIP_VERIFY": "true"}, "VAULT_SKIP_VERIFY: certificates are always checked"),
        ({"SECRETS_PROVIDER_NAMESPACES": "*,shop"}, r"SECRETS_PROVIDER_NAMESPACES: \* means all namespaces"),
        ({"SECRETS_PROVIDER_NAMESPACES": "shop, Bank"}, "SECRETS_PROVIDER_NAMESPACES: 'Bank' is no name of a namespace"),
    ],
    ids=str,
)
def test_a_slip_is_refused_by_the_name_of_its_variable(environment: dict[str, str], told: str) -> None:
    with pytest.raises(Rejected, match=f"^{told}") as refused:
        in_operator(**environment)
    assert VALUE not in str(refused.value)


@pytest.mark.parametrize("server", ["http://127.0.0.1:8200", "http://localhost:8200", "http://[::1]:8200", "HTTP://127.9.9.9/"])
def test_a_program_may_speak_in_clear_to_its_own_machine(server: str) -> None:
    assert vault_of(in_program(**(VAULT | {"VAULT_URL": server}))).server == server.rstrip("/")


@pytest.mark.parametrize("server", ["http://vault:8200", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.nip.io"])
def test_a_program_sends_no_log_in_in_clear_unless_its_user_says_so(server: str) -> None:
    told = r"^VAULT_URL: http would send the log-in in clear; use https, or set KEYTURN_ALLOW_PLAIN_HTTP=true$"
    for word in ("", "false", "maybe"):
        with pytest.raises(Rejected, match=told):
            in_program(**(VAULT | {"VAULT_URL": server, "KEYTURN_ALLOW_PLAIN_HTTP": word}))
    assert vault_of(in_program(**(VAULT | {"VAULT_URL": server, "KEYTURN_ALLOW_PLAIN_HTTP": "true"}))).server == server


def test_an_operator_hears_of_plain_http_by_its_flag_alone() -> None:
    with pytest.raises(Rejected, match="--allow-plain-http"):
        in_operator(**(VAULT | {"VAULT_URL": "http://127.0.0.1", "KEYTURN_ALLOW_PLAIN_HTTP": "true"}))


def test_a_server_that_is_named_twice_alike_is_one() -> None:
    assert vault(VAULT_ADDR="https://vault:8200/").server == "https://vault:8200"


def test_a_variable_that_is_nearly_ours_is_told_with_the_likely_one_and_others_are_let_be() -> None:
    slips = {
        "SECRETS_PROVIDER_NAMESPACE": "SECRETS_PROVIDER_NAMESPACES",
        "SECRETS_ENVPREFIX": "SECRETS_ENV_PREFIX",
        "SECRET_PROVIDER": "SECRETS_PROVIDER",
        "SECRETS_FILEPATH": "SECRETS_FILE_PATH",
    }
    others = (
        "SECRETS_PROVIDER",
        "SECRETS_ENV_PREFIX",
        "SECRETS_MANAGER_ARN",
        "SECRETS_DIR",
        "SECRET_KEY_BASE",
        "SECRETS_PROVIDER\n",
        "SHOP",
    )
    assert near_misses(dict.fromkeys((*slips, *others), VALUE)) == slips


@pytest.mark.parametrize(
    ("word", "slip", "meant"),
    [
        ("azure_key_vault", "AZURE_KEYVAULT_URL", "AZURE_KEY_VAULT_URL"),
        ("google_secret_manager", "GCP_PROJECTID", "GCP_PROJECT_ID"),
        ("google_secret_manager", "GOOGLE_APPLICATION_CREDENTIAL", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("aws_secrets_manager", "AWS_REGIONS", "AWS_REGION"),
        ("hashicorp_vault", "VAULT_MOUNTPATH", "VAULT_MOUNT_PATH"),
    ],
)
def test_a_variable_that_is_nearly_one_of_the_providers_is_told_where_that_one_is_missing(word: str, slip: str, meant: str) -> None:
    given = {"SECRETS_PROVIDER": word, slip: VALUE}
    assert near_misses(given) == {slip: meant}
    assert near_misses(given | {meant: VALUE}) == {}
    assert near_misses(given | {"SECRETS_PROVIDER": "env"}) == {}


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("azure_key_vault", "AZURE_AUTHORITY_HOST"),
        ("azure_key_vault", "AZURE_FEDERATED_TOKEN_FILE"),
        ("azure_key_vault", "AZURE_CLIENT_CERTIFICATE_PATH"),
        ("aws_secrets_manager", "AWS_PROFILE"),
        ("aws_secrets_manager", "AWS_ROLE_ARN"),
        ("aws_secrets_manager", "AWS_STS_REGIONAL_ENDPOINTS"),
        ("google_secret_manager", "GOOGLE_CLOUD_QUOTA_PROJECT"),
        ("google_secret_manager", "GCE_METADATA_HOST"),
        ("hashicorp_vault", "VAULT_SECRET_ID"),
        ("hashicorp_vault", "VAULT_CACERT"),
        ("hashicorp_vault", "VAULT_PORT"),
        ("hashicorp_vault", "VAULT_SERVICE_HOST"),
    ],
)
def test_what_a_providers_own_library_reads_is_no_slip(word: str, name: str) -> None:
    assert near_misses({"SECRETS_PROVIDER": word, name: VALUE}) == {}


@pytest.mark.parametrize(
    ("listed", "admissions", "is_open"),
    [
        ("", (NOBODY,), False),
        (" , ", (NOBODY,), False),
        ("shop, bank ,", (Admission(frozenset({"shop", "bank"})),), True),
        ("*", (), True),
    ],
)
def test_namespaces_are_admitted_as_listed_and_none_by_default(listed: str, admissions: tuple[Admission, ...], is_open: bool) -> None:  # noqa: FBT001  # a column of the table
    order = in_operator(SECRETS_PROVIDER_NAMESPACES=listed).order()
    assert (order.admissions, order.is_open) == (admissions, is_open)
    assert order.access is Access.READ_ONLY


def test_an_operator_takes_all_that_is_secret_away_and_a_program_what_it_uses() -> None:
    every = {"DATABASE_URL", "DATABASE_OWNER_URL", "SECRET_KEY", "SECRET_KEY_PREVIOUS", "VAULT_TOKEN", "VAULT_SECRET_ID"}
    every |= {"AZURE_CLIENT_SECRET", "AUDIT_SIGNING_KEY", "AUDIT_SIGNING_KEY_PREVIOUS"}
    assert set(secret_variables("env", Reach())) == every
    program = Reach(is_own=True)
    assert not secret_variables("env", program)
    assert set(secret_variables("hashicorp_vault", program)) == {"VAULT_TOKEN", "VAULT_SECRET_ID"}
    assert set(secret_variables("database", program)) == every - {"VAULT_TOKEN", "VAULT_SECRET_ID", "AZURE_CLIENT_SECRET"}
