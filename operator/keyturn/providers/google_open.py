"""A Google provider put together, without I/O: who logs in by which way."""

import os
import random
import time
from collections.abc import Callable
from typing import Final, assert_never

from keyturn.decide.address import AddressRules
from keyturn.decide.default_clouds import google_file
from keyturn.model.errors import Rejected
from keyturn.model.google import (
    AmbientLogin,
    AwsLogin,
    ClusterLogin,
    ConfigLogin,
    FederatedLogin,
    FileLogin,
    GoogleConfig,
    GoogleLogin,
    GooglePlaces,
    KeyLogin,
)
from keyturn.ports import References, TenantTokens
from keyturn.providers.dial import Dialer
from keyturn.providers.google import GoogleProvider
from keyturn.providers.google_config import ConfigEntrance, FileEntrance
from keyturn.providers.google_login import AwsEntrance, ClusterEntrance, Entrance, FederatedEntrance, KeyEntrance
from keyturn.providers.google_machine import MachineEntrance
from keyturn.providers.google_names import Place
from keyturn.providers.google_session import Session
from keyturn.providers.google_writer import GoogleWriter
from keyturn.providers.own_credentials import OwnCredentials
from keyturn.providers.room import Room

_FIELD: Final = "spec.provider.googleSecretManager.auth"


def opened(
    config: GoogleConfig,
    places: GooglePlaces,
    rules: AddressRules | None,
    references: References,
    tokens: TenantTokens | None,
    room: Room,
    namespace: str,
    *,
    may_write: bool,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> GoogleProvider:
    """``namespace`` is a tenant's, whose share of room and threads it takes; '' for an admin's provider, which stands for itself.

    ``rules`` are for a tenant's provider, whose token endpoint is dialed by them. Raises `Rejected`.
    """
    if isinstance(config.login, AmbientLogin | FileLogin) and namespace:
        raise Rejected(f"{_FIELD}: the operator's own identity is for a ClusterSecretProvider only; add auth")
    place = Place(config.project, config.location)
    whose = namespace or place.parent
    entrance = _entrance(config.login, places, Dialer(rules, namespace), references, tokens, whose, clock)
    session = Session(place, entrance, places, clock=clock, chance=chance)
    return (GoogleWriter if may_write else GoogleProvider)(place, session, room, whose)


def _entrance(
    login: GoogleLogin,
    places: GooglePlaces,
    dialer: Dialer,
    references: References,
    tokens: TenantTokens | None,
    whose: str,
    clock: Callable[[], float],
) -> Entrance:
    match login:
        case KeyLogin(key):
            return KeyEntrance(key, references, places, whose)
        case FederatedLogin(who, audience):
            return FederatedEntrance(who, audience, _given(tokens, "workloadIdentityFederation.serviceAccountRef"), places, whose)
        case ClusterLogin():
            return ClusterEntrance(login, _given(tokens, "workloadIdentity"), places, whose, clock)
        case ConfigLogin():
            return ConfigEntrance(login, references, dialer, places, whose)
        case AwsLogin():
            return AwsEntrance(login, references, places, whose)
        case FileLogin(file):
            return FileEntrance(file, references, dialer, places, whose)
        case AmbientLogin():
            # As Google's libraries do: what the environment names comes first.
            own = google_file(os.environ)
            return FileEntrance(own, OwnCredentials({}), dialer, places, whose) if own is not None else MachineEntrance(places, whose)
        case _:
            assert_never(login)


def _given(tokens: TenantTokens | None, field: str) -> TenantTokens:
    if tokens is None:
        raise Rejected(f"{_FIELD}.{field}: its token is made by the operator in its cluster; use secretRef")
    return tokens
