"""A `googleSecretManager` provider as ordered: which project and region, and who logs in. No value is in here, only where it is kept."""

import re
from dataclasses import dataclass, field
from typing import Final, assert_never

from keyturn.model.ids import KeyRef
from keyturn.model.tenant import ServiceAccount

# All of these become part of names, and some of a server's: none may mean another place.
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]{1,100}:)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LOCATION: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ACCOUNT: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}@[a-z0-9.-]{1,120}\.gserviceaccount\.com|[0-9]{1,30}")
_POOL: Final = re.compile(
    r"//iam\.googleapis\.com/projects/[0-9]{1,19}/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+"
)
_CLUSTER: Final = re.compile(r"identitynamespace:[a-z0-9.:-]{1,180}\.svc\.id\.goog:https://[a-z]+\.googleapis\.com/[A-Za-z0-9/.:_-]{1,300}")

LONGEST_S: Final = 3600
"""How long a token of a Google service account lives, where nobody allowed it more."""


@dataclass(frozen=True, slots=True)
class KeyLogin:
    """A Google service account, by its key as JSON."""

    key: KeyRef


@dataclass(frozen=True, slots=True)
class FederatedLogin:
    """A ServiceAccount of this cluster, whose token Google's token service exchanges.

    ``audience`` is the full name of the pool's provider, //iam.googleapis.com/projects/…: worth something at Google alone.
    """

    who: ServiceAccount
    audience: str


@dataclass(frozen=True, slots=True)
class ClusterLogin:
    """A ServiceAccount of this cluster, which is one of GKE's: of this name, in this place and project. '' is asked of the machine."""

    who: ServiceAccount
    project: str = ""
    location: str = ""
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class ConfigLogin:
    """Whoever an external account's configuration says, which a tenant wrote. No secret is in it.

    ``endpoint`` is the one address that may be asked for a token, '' none. ``audience`` '' is the configuration's own.
    """

    config: KeyRef
    endpoint: str = ""
    audience: str = ""


@dataclass(frozen=True, slots=True)
class AwsLogin:
    """An identity of AWS's: what it signs is exchanged. ``token`` may be missing in its Secret: a user's key has none."""

    audience: str
    region: str
    key_id: KeyRef
    secret: KeyRef
    token: KeyRef


@dataclass(frozen=True, slots=True)
class FileLogin:
    """Whoever the operator's own credentials file says: a service account's key, or an external account's configuration."""

    file: KeyRef


@dataclass(frozen=True, slots=True)
class AmbientLogin:
    """Whoever the operator is at Google: by the file that its environment names, else as the metadata server says."""


GoogleLogin = KeyLogin | FederatedLogin | ClusterLogin | ConfigLogin | AwsLogin | FileLogin | AmbientLogin


@dataclass(frozen=True, slots=True)
class GoogleConfig:
    """``location`` '' means global secrets, else those of one region, which are others."""

    project: str
    login: GoogleLogin
    location: str = ""

    @property
    def credential(self) -> KeyRef | ServiceAccount | None:
        """What proves who logs in, beside which all else only says where and as whom; None is the operator itself."""
        match self.login:
            case KeyLogin(proof) | FederatedLogin(proof) | ClusterLogin(proof) | AwsLogin(secret=proof):
                return proof
            case ConfigLogin() | FileLogin() | AmbientLogin():
                # Who gives a token to whoever asks is nobody's own.
                return None
            case other:
                assert_never(other)

    @property
    def references(self) -> frozenset[KeyRef]:
        """Every key of a Secret or ConfigMap that the log-in needs."""
        match self.login:
            case KeyLogin(key):
                return frozenset({key})
            case ConfigLogin(config):
                return frozenset({config})
            case AwsLogin(key_id=key_id, secret=secret, token=token):
                return frozenset({key_id, secret, token})
            case FileLogin() | FederatedLogin() | ClusterLogin() | AmbientLogin():
                return frozenset()
            case other:
                assert_never(other)


@dataclass(frozen=True, slots=True)
class GooglePlaces:
    """Where Google's services are. No tenant chooses any of them.

    ``authority`` is the path of a PEM file with whom to trust for them, '' whom the libraries trust; ``regional`` has {location} in it.
    """

    secrets: str = "secretmanager.googleapis.com:443"
    regional: str = "secretmanager.{location}.rep.googleapis.com:443"
    token: str = "https://oauth2.googleapis.com/token"
    exchange: str = "https://sts.googleapis.com/v1/token"
    metadata: str = "http://metadata.google.internal"
    authority: str = ""
    accounts: str = "https://iamcredentials.googleapis.com"


@dataclass(frozen=True, slots=True)
class FromUrl:
    """A token that a server gives. ``member`` is what it is called there in JSON, '' where the answer is the token."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    member: str = ""


@dataclass(frozen=True, slots=True)
class FromFile:
    """A token in a file of this machine."""

    path: str
    member: str = ""


@dataclass(frozen=True, slots=True)
class FromAws:
    """What the machine's own identity at AWS signs: by the variables of the SDK's, or as the machine's metadata service says."""

    urls: tuple[tuple[str, str], ...]
    """As the configuration has them: whom to ask, by what for."""


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """An external account's configuration: whose token is brought from where, and whom it is exchanged for.

    ``account`` is the Google service account that it stands in for, '' none; ``length_s`` the life of that one's tokens.
    """

    audience: str
    subject_type: str
    source: FromUrl | FromFile | FromAws
    account: str = ""
    length_s: int = LONGEST_S


def is_project(text: str) -> bool:
    """Whether it can be a project's id or number."""
    return _PROJECT.fullmatch(text) is not None


def is_location(text: str) -> bool:
    """Whether it can name a region, or a zone."""
    return _LOCATION.fullmatch(text) is not None


def is_account(text: str) -> bool:
    """Whether it can be a Google service account's e-mail address or number."""
    return _ACCOUNT.fullmatch(text) is not None


def is_pool(text: str) -> bool:
    """Whether it is the full name of a pool's provider. Any other audience a tenant could have a server of its own for."""
    return _POOL.fullmatch(text) is not None


def is_audience(text: str) -> bool:
    """Whether Google's token service can have it for its audience: a pool's provider, or a cluster of GKE's or of a fleet's."""
    return is_pool(text) or _CLUSTER.fullmatch(text) is not None


def token_audience(project: str) -> str:
    """Whom a token of a ServiceAccount is for that is exchanged in the cluster's own pool: made of a project, and Google's alone."""
    return f"{project}.svc.id.goog"


def cluster_audience(project: str, location: str, cluster: str) -> str:
    """The pool and provider that every cluster of GKE's is in, as Google's token service calls them."""
    url = f"https://container.googleapis.com/v1/projects/{project}/locations/{location}/clusters/{cluster}"
    return f"identitynamespace:{token_audience(project)}:{url}"
