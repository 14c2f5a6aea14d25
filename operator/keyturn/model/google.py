"""A `googleSecretManager` provider as ordered: which project and region, and who logs in. No value is in here, only where it is kept."""

import re
from dataclasses import dataclass
from typing import Final

from keyturn.model.ids import KeyRef
from keyturn.model.tenant import ServiceAccount

# Both become part of names, and the location part of the server's: neither may mean another place.
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]{1,100}:)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LOCATION: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


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
class AmbientLogin:
    """Whoever the operator is at Google, as the metadata server says."""


GoogleLogin = KeyLogin | FederatedLogin | AmbientLogin


@dataclass(frozen=True, slots=True)
class GoogleConfig:
    """``location`` '' means global secrets, else those of one region, which are others."""

    project: str
    login: GoogleLogin
    location: str = ""

    @property
    def references(self) -> frozenset[KeyRef]:
        """Every key of a Secret that the log-in needs."""
        return frozenset({self.login.key}) if isinstance(self.login, KeyLogin) else frozenset()


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


def is_project(text: str) -> bool:
    """Whether it can be a project's id or number."""
    return _PROJECT.fullmatch(text) is not None


def is_location(text: str) -> bool:
    """Whether it can name a region."""
    return _LOCATION.fullmatch(text) is not None
