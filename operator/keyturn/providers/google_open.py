"""A Google provider put together, without I/O: who logs in by which way."""

import random
import time
from collections.abc import Callable
from typing import Final, assert_never

from keyturn.model.errors import Rejected
from keyturn.model.google import AmbientLogin, FederatedLogin, GoogleConfig, GoogleLogin, GooglePlaces, KeyLogin
from keyturn.ports import References, TenantTokens
from keyturn.providers.google import GoogleProvider
from keyturn.providers.google_login import AmbientEntrance, Entrance, FederatedEntrance, KeyEntrance
from keyturn.providers.google_names import Place
from keyturn.providers.google_session import Session
from keyturn.providers.google_writer import GoogleWriter
from keyturn.providers.room import Room

_FIELD: Final = "spec.provider.googleSecretManager.auth"


def opened(
    config: GoogleConfig,
    places: GooglePlaces,
    references: References,
    tokens: TenantTokens | None,
    room: Room,
    namespace: str,
    *,
    may_write: bool,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> GoogleProvider:
    """``namespace`` is a tenant's, whose share of the room it takes; '' for an admin's provider, which stands for itself.

    Raises `Rejected`.
    """
    if isinstance(config.login, AmbientLogin) and namespace:
        raise Rejected(f"{_FIELD}: the operator's own identity is for a ClusterSecretProvider only; add auth")
    place = Place(config.project, config.location)
    session = Session(place, _entrance(config.login, places, references, tokens), places, clock=clock, chance=chance)
    return (GoogleWriter if may_write else GoogleProvider)(place, session, room, namespace or place.parent)


def _entrance(login: GoogleLogin, places: GooglePlaces, references: References, tokens: TenantTokens | None) -> Entrance:
    match login:
        case KeyLogin(key):
            return KeyEntrance(key, references, places)
        case FederatedLogin(who, audience):
            if tokens is None:
                raise Rejected(f"{_FIELD}.workloadIdentityFederation: its token is made by the operator in its cluster; use secretRef")
            return FederatedEntrance(who, audience, tokens, places)
        case AmbientLogin():
            return AmbientEntrance(places)
        case _:
            assert_never(login)
