"""From the variables of an environment to the default provider that they configure.

Total: any variables give a noun, or `Rejected` that names the variable and the remedy. Reads no environment and no file itself, and
no message quotes what could be secret, nor anything else that stands in a variable with a secret's name.
"""

import difflib
import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from keyturn.decide.address import AddressRules, check_scheme, sends_in_clear
from keyturn.decide.default_clouds import AZURE_SECRET, aws_config, azure_config, google_config
from keyturn.decide.reach import ENV_PREFIX, Reach, check_prefix, is_closed
from keyturn.model.azure import AzureConfig
from keyturn.model.database import DatabaseConfig
from keyturn.model.default import EVERYBODY, DefaultProvider
from keyturn.model.errors import Rejected
from keyturn.model.ids import Carrier, KeyPair, KeyRef
from keyturn.model.keys import AUDIT_SIGNING_KEY, AUDIT_SIGNING_KEY_PREVIOUS, REMEDY, SECRET_KEY, SECRET_KEY_PREVIOUS, SECRET_KEYS_FILE
from keyturn.model.order import EnvConfig, FileConfig, FileFormat
from keyturn.model.sensitive import Sensitive
from keyturn.model.vault import AppRoleLogin, JwtLogin, TokenLogin, VaultConfig, VaultLogin

PROVIDER: Final = "SECRETS_PROVIDER"
NAMESPACES: Final = "SECRETS_PROVIDER_NAMESPACES"
PREFIX: Final = "SECRETS_ENV_PREFIX"
FILE_PATH: Final = "SECRETS_FILE_PATH"
FILE_FORMAT: Final = "SECRETS_FILE_FORMAT"
DATABASE_URL: Final = "DATABASE_URL"
PLAIN_HTTP: Final = "KEYTURN_ALLOW_PLAIN_HTTP"

OPERATOR_NAMESPACE: Final = "KEYTURN_OPERATOR_NAMESPACE"

_SECRETS: Final = {
    "database": (DATABASE_URL, "DATABASE_OWNER_URL", SECRET_KEY, SECRET_KEY_PREVIOUS, AUDIT_SIGNING_KEY, AUDIT_SIGNING_KEY_PREVIOUS),
    "hashicorp_vault": ("VAULT_TOKEN", "VAULT_SECRET_ID"),
    "azure_key_vault": (AZURE_SECRET,),
}

BUILT: Final = ("env", "file", "database", "hashicorp_vault", "aws_secrets_manager", "azure_key_vault", "google_secret_manager")
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_OURS: Final = (PROVIDER, NAMESPACES, PREFIX, FILE_PATH, FILE_FORMAT, SECRET_KEY, SECRET_KEY_PREVIOUS, SECRET_KEYS_FILE)
_LIKE: Final = 0.8
"""How alike a name has to be to one of ours to be a slip of it: others have variables that begin with SECRETS_, too."""
_THEIRS: Final = {
    "hashicorp_vault": (
        "VAULT_URL",
        "VAULT_ADDR",
        "VAULT_TOKEN",
        "VAULT_ROLE_ID",
        "VAULT_NAMESPACE",
        "VAULT_MOUNT_PATH",
        "VAULT_KV_VERSION",
    ),
    "aws_secrets_manager": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "azure_key_vault": ("AZURE_KEY_VAULT_URL", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", AZURE_SECRET),
    "google_secret_manager": ("GCP_PROJECT_ID", "GOOGLE_CLOUD_PROJECT", "GCP_LOCATION", "GOOGLE_APPLICATION_CREDENTIALS"),
}
"""Names that others gave, of whom many have more that begin so."""
_VERY_LIKE: Final = 0.87
_YES: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
_FORMATS: Final = {each.lower(): each for each in FileFormat}

Environment = Mapping[str, str]


def default_provider(environment: Environment, reach: Reach, addresses: AddressRules) -> DefaultProvider:
    """What is configured, by the rules of whoever reads it: an operator, or a program of its own user (``reach.is_own``)."""
    word = _given(environment, PROVIDER) or "env"
    namespaces = _namespaces(_given(environment, NAMESPACES))
    match word:
        case "env":
            return DefaultProvider(word, _env(environment, reach), namespaces=namespaces)
        case "file":
            folder, config = _file(environment, reach)
            return DefaultProvider(word, config, folder, namespaces=namespaces)
        case "database":
            _check_database(environment, reach)
            return DefaultProvider(word, DatabaseConfig(), namespaces=namespaces)
        case "hashicorp_vault":
            vault = _vault(environment, _server(environment, reach, addresses))
            return DefaultProvider(word, vault, credentials=_credentials(vault, environment), namespaces=namespaces)
        case "aws_secrets_manager":
            return DefaultProvider(word, aws_config(environment), namespaces=namespaces)
        case "azure_key_vault":
            azure = azure_config(environment)
            return DefaultProvider(word, azure, credentials=_credentials(azure, environment), namespaces=namespaces)
        case "google_secret_manager":
            return DefaultProvider(word, google_config(environment), namespaces=namespaces)
    raise Rejected(f"{PROVIDER}: is none of the providers that there are; set it to one of {', '.join(BUILT)}")


def secret_variables(word: str, reach: Reach) -> Collection[str]:
    """Those that are secret themselves, which whoever reads them takes out of the environment.

    An operator has no other use for any of them. A program may: only what its provider logs in with goes.
    """
    return _SECRETS.get(word, ()) if reach.is_own else [name for names in _SECRETS.values() for name in names]


def has_operators_keys(environment: Environment) -> bool:
    """Whether a program runs where the operator does, and so may have the keys that the operator keeps in its namespace."""
    return bool(_given(environment, OPERATOR_NAMESPACE))


def near_misses(environment: Environment) -> Mapping[str, str]:
    """Variables that nobody reads, and which one of ours each is likely to mean."""
    names = sorted(name for name in environment if name.isprintable())
    ours = [name for name in names if name.startswith(("SECRETS_", "SECRET_PROVIDER")) and name not in _OURS]
    found = {name: likely for name in ours if (likely := _nearest(name, _OURS, _LIKE))}
    # Those of the provider that is meant alone, and only where the right one is missing.
    theirs = _THEIRS.get(_given(environment, PROVIDER), ())
    missing = [name for name in theirs if not _given(environment, name)]
    return found | {name: likely for name in names if name not in theirs and (likely := _nearest(name, missing, _VERY_LIKE))}


def _nearest(name: str, known: Collection[str], cutoff: float) -> str:
    return next(iter(difflib.get_close_matches(name, known, 1, cutoff)), "")


def _given(environment: Environment, name: str) -> str:
    return environment.get(name, "").strip()


def _needed(environment: Environment, name: str, what: str) -> str:
    if not (given := _given(environment, name)):
        raise Rejected(f"{name}: is needed with {PROVIDER}={_given(environment, PROVIDER)}; set it to {what}")
    return given


def _namespaces(given: str) -> frozenset[str]:
    names = frozenset(part.strip() for part in given.split(",") if part.strip())
    if EVERYBODY in names and len(names) > 1:
        raise Rejected(f"{NAMESPACES}: {EVERYBODY} means all namespaces, and others stand beside it; leave it, or them, out")
    for name in sorted(names - {EVERYBODY}):
        if not _NAMESPACE.fullmatch(name):
            raise Rejected(f"{NAMESPACES}: {name!r} is no name of a namespace; part names with commas, or write {EVERYBODY} for all")
    return names


def _env(environment: Environment, reach: Reach) -> EnvConfig:
    if reach.is_own:
        return EnvConfig(_given(environment, PREFIX))
    prefix = _given(environment, PREFIX) or ENV_PREFIX
    check_prefix(prefix, reach.env_prefixes, PREFIX)
    return EnvConfig(prefix)


def _file(environment: Environment, reach: Reach) -> tuple[str, FileConfig]:
    """The folder that is opened, and what is read of it."""
    path = _needed(environment, FILE_PATH, "the folder whose files are the secrets")
    told = _given(environment, FILE_FORMAT) or FileFormat.DIRECTORY
    form = _FORMATS.get(told.lower())
    if form is None:
        raise Rejected(f"{FILE_FORMAT}: {told!r} is no format; set it to one of {', '.join(FileFormat)}")
    if not path.isprintable() or ".." in path.split("/"):
        raise Rejected(f"{FILE_PATH}: is no plain path; write it without '..'")
    if not reach.is_own and not path.startswith("/"):
        raise Rejected(f"{FILE_PATH}: {path!r} is no absolute path; begin it with /")
    if is_closed(path, reach):
        raise Rejected(f"{FILE_PATH}: {path!r} reaches folders of the system or of the operator; choose a folder of its own for secrets")
    if form is FileFormat.DIRECTORY:
        return path, FileConfig(".", form)
    folder, name = posixpath.split(posixpath.normpath(path))
    if not name:
        raise Rejected(f"{FILE_PATH}: {path!r} is a folder; with {FILE_FORMAT}={form} name a file")
    return folder or ".", FileConfig(name, form)


def _check_database(environment: Environment, reach: Reach) -> None:
    _needed(environment, DATABASE_URL, "postgresql://USER:PASSWORD@HOST/NAME or sqlite:////PATH/TO/FILE")
    is_kept = not reach.is_own or has_operators_keys(environment)
    if not is_kept and not _given(environment, SECRET_KEY) and not _given(environment, SECRET_KEYS_FILE):
        raise Rejected(f"{SECRET_KEY}: is needed with {PROVIDER}=database, or {SECRET_KEYS_FILE}; {REMEDY}")


def _server(environment: Environment, reach: Reach, addresses: AddressRules) -> str:
    url, address = _given(environment, "VAULT_URL").rstrip("/"), _given(environment, "VAULT_ADDR").rstrip("/")
    if url and address and url != address:
        raise Rejected("VAULT_URL and VAULT_ADDR: name different servers; leave one of them")
    name = "VAULT_ADDR" if address and not url else "VAULT_URL"
    server = _needed(environment, name, "https://HOST:PORT of the Vault or OpenBao").rstrip("/")
    # Of a program its own user says what may be sent in clear; to the machine itself all may be.
    check_scheme(name, server, replace(addresses, allow_plain_http=True) if reach.is_own else addresses)
    if reach.is_own and sends_in_clear(server) and _given(environment, PLAIN_HTTP).lower() not in _YES:
        raise Rejected(f"{name}: http would send the log-in in clear; use https, or set {PLAIN_HTTP}=true")
    return server


def _credentials(config: VaultConfig | AzureConfig, environment: Environment) -> Mapping[KeyRef, Sensitive]:
    """Those that stand in variables."""
    variables = [ref for ref in config.references if ref.carrier is Carrier.ENVIRONMENT]
    return {ref: Sensitive(_given(environment, ref.key).encode("utf-8", "surrogateescape")) for ref in variables}


def _vault(environment: Environment, server: str) -> VaultConfig:
    if _given(environment, "VAULT_SKIP_VERIFY").lower() not in {"", "0", "f", "false"}:
        raise Rejected("VAULT_SKIP_VERIFY: certificates are always checked; unset it, and set VAULT_CACERT to the authority's certificate")
    namespace = _given(environment, "VAULT_NAMESPACE").strip("/")
    login = _login(environment)
    return VaultConfig(
        server=server,
        login=login,
        mount=(_given(environment, "VAULT_MOUNT_PATH") or "secret").strip("/"),
        engine=_engine(_given(environment, "VAULT_KV_VERSION")),
        namespace=namespace,
        login_namespace=(_given(environment, "VAULT_AUTH_NAMESPACE") or namespace).strip("/"),
        authority=_in_file(environment, "VAULT_CACERT"),
        client=_client(environment),
    )


def _login(environment: Environment) -> VaultLogin:
    ways = [name for name in ("VAULT_TOKEN", "VAULT_TOKEN_FILE", "VAULT_ROLE_ID", "VAULT_KUBERNETES_ROLE") if _given(environment, name)]
    if not ways:
        raise Rejected(
            f"VAULT_TOKEN: is needed with {PROVIDER}=hashicorp_vault, or VAULT_TOKEN_FILE, or VAULT_ROLE_ID with VAULT_SECRET_ID,"
            " or VAULT_KUBERNETES_ROLE; set one of them"
        )
    if len(ways) > 1:
        raise Rejected(f"{' and '.join(ways)}: are several ways to log in; leave one of them")
    if token := _in_variable(environment, "VAULT_TOKEN") or _in_file(environment, "VAULT_TOKEN_FILE"):
        return TokenLogin(token)
    mount = _given(environment, "VAULT_AUTH_MOUNT").strip("/")
    if role := _given(environment, "VAULT_KUBERNETES_ROLE"):
        return JwtLogin(mount or "kubernetes", role, None)
    secret_id = _in_variable(environment, "VAULT_SECRET_ID") or _in_file(environment, "VAULT_SECRET_ID_FILE")
    if secret_id is None:
        raise Rejected("VAULT_SECRET_ID: is needed beside VAULT_ROLE_ID, or VAULT_SECRET_ID_FILE; set one of them")
    return AppRoleLogin(mount or "approle", _given(environment, "VAULT_ROLE_ID"), secret_id)


def _engine(given: str) -> int:
    version = given.lower().removeprefix("v") or "2"
    if version not in {"1", "2"}:
        raise Rejected("VAULT_KV_VERSION: is neither 1 nor 2; set it to the version of the key-value engine")
    return int(version)


def _client(environment: Environment) -> KeyPair | None:
    certificate, key = _in_file(environment, "VAULT_CLIENT_CERT"), _in_file(environment, "VAULT_CLIENT_KEY")
    if (certificate is None) is not (key is None):
        raise Rejected("VAULT_CLIENT_CERT and VAULT_CLIENT_KEY: are a pair of files; set both, or none")
    return KeyPair(certificate, key) if certificate and key else None


def _in_variable(environment: Environment, name: str) -> KeyRef | None:
    return KeyRef(Carrier.ENVIRONMENT, "", "", name) if _given(environment, name) else None


def _in_file(environment: Environment, name: str) -> KeyRef | None:
    path = _given(environment, name)
    return KeyRef(Carrier.FILE, "", path, name) if path else None
