"""How each log-in of Google is spoken: by google-auth, and the token that comes of it.

google-auth blocks, and asks again by itself where it is refused: so it works in some threads of its own, and the first refusal
ends it. Credentials are read anew for each log-in, and go to Google's own addresses alone. Keeps nothing: that is
``google_session``.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, Protocol

from google.auth import identity_pool
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from keyturn.model.errors import AuthFailed, ProviderError, Rejected, Throttled, Unavailable
from keyturn.model.google import GooglePlaces
from keyturn.model.ids import KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.ports import References, TenantTokens

# At DEBUG these libraries log requests and answers, with tokens and values in them.
logging.getLogger("google").setLevel(logging.WARNING)

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
CONNECT_S: Final = 3.0
READ_S: Final = 10.0
LONGEST_PAUSE_S: Final = 3600.0

_THREADS: Final = ThreadPoolExecutor(4, "keyturn-google")
_GOOGLES: Final = (
    "https://oauth2.googleapis.com/token",
    "https://accounts.google.com/o/oauth2/token",
    "https://www.googleapis.com/oauth2/v4/token",
)
"""What keys of service accounts call Google's token endpoint, the old ones too."""
_UNIVERSE: Final = "googleapis.com"
_OWN_TOKEN: Final = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105  # a path


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """Who we are at Google, for so many seconds."""

    secret: Sensitive
    length_s: float


class Entrance(Protocol):
    """A way to log in, as one identity."""

    async def log_in(self) -> Token:
        """A new token. Raises a `ProviderError`."""

    def __str__(self) -> str:
        """Who comes in by it."""


@dataclass(frozen=True, slots=True)
class KeyEntrance:
    """Whoever has a service account's key, which stands in a Secret."""

    key: KeyRef
    references: References
    places: GooglePlaces

    async def log_in(self) -> Token:
        key = await self.references.read(self.key)
        return await _in_thread(lambda: self._exchanged(key))

    def _exchanged(self, key: Sensitive) -> Token:
        http = _Http(self.places, f"the log-in by {self}")
        info = self._opened(key)
        credentials = service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]  # google-auth is typed in parts
        return _refreshed(credentials, http)

    def _opened(self, key: Sensitive) -> Mapping[str, str]:
        try:
            info = json.loads(key.reveal())
        except (ValueError, RecursionError):
            info = None
        if not isinstance(info, dict) or info.get("type") != "service_account":
            raise AuthFailed(f"{self} is no key of a service account: it is JSON with type, client_email and private_key")
        is_googles = info.get("token_uri", self.places.token) in (*_GOOGLES, self.places.token)
        if not is_googles or info.get("universe_domain", _UNIVERSE) != _UNIVERSE:
            raise AuthFailed(f"{self} names a token_uri or universe_domain that is not Google's; nothing is sent there")
        return info | {"token_uri": self.places.token}

    def __str__(self) -> str:
        return f"the key in {self.key}, key {self.key.key},"


@dataclass(frozen=True, slots=True)
class FederatedEntrance:
    """A ServiceAccount of this cluster, by a token that is made for Google alone and exchanged at once."""

    who: ServiceAccount
    audience: str
    tokens: TenantTokens
    places: GooglePlaces

    async def log_in(self) -> Token:
        try:
            made = await self.tokens.abroad(self.who, self.audience)
        except Rejected as rejected:
            problem = str(rejected)
        else:
            return await _in_thread(lambda: self._exchanged(made.secret))
        raise AuthFailed(problem)

    def _exchanged(self, subject: Sensitive) -> Token:
        http = _Http(self.places, f"the log-in by {self}; check the pool's provider, its audience and its issuer")
        info = {
            "type": "external_account",
            "audience": self.audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": self.places.exchange,
            "subject_token_supplier": _Supplier(subject),
        }
        credentials = identity_pool.Credentials.from_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]  # google-auth is typed in parts
        return _refreshed(credentials, http)

    def __str__(self) -> str:
        return f"the token of {self.who}"


@dataclass(frozen=True, slots=True)
class AmbientEntrance:
    """Whoever the operator is, as the metadata server of its machine says."""

    places: GooglePlaces

    async def log_in(self) -> Token:
        return await _in_thread(self._asked)

    def _asked(self) -> Token:
        http = _Http(self.places, "the operator an identity of its own", is_near=True)
        try:
            answer = http(f"{self.places.metadata}{_OWN_TOKEN}", headers={"Metadata-Flavor": "Google"})
        finally:
            http.close()
        if answer.headers.get("Metadata-Flavor") != "Google":
            raise Unavailable("no metadata server of Google's answers; does the operator run at Google? Else name auth")
        told = json.loads(answer.data)
        return Token(_as_token(told["access_token"]), float(told["expires_in"]))

    def __str__(self) -> str:
        return "the operator's own identity"


class _Supplier(identity_pool.SubjectTokenSupplier):
    """Gives google-auth a token that is there already."""

    def __init__(self, token: Sensitive) -> None:
        self._token = token

    def get_subject_token(self, context: Any, request: Any) -> str:  # noqa: ARG002  # as google-auth has it
        return self._token.reveal().decode("ascii")


class _Http:
    """google-auth's HTTP, with our limits: no redirect is followed, and no refusal is asked again."""

    def __init__(self, places: GooglePlaces, what: str, *, is_near: bool = False) -> None:
        self._request = Request()
        self._what = what
        self._authority = places.authority
        # A proxy for the way out knows no metadata server.
        self._request.session.trust_env = not is_near

    def __call__(self, url: str, method: str = "GET", body: Any = None, headers: Any = None, **_: Any) -> Any:
        more: dict[str, Any] = {"timeout": (CONNECT_S, READ_S), "allow_redirects": False}
        if self._authority:
            more["verify"] = self._authority
        try:
            answer = self._request(url, method, body, headers, **more)
        except GoogleAuthError:
            answer = None
        if answer is None:
            raise Unavailable("Google's token service gave no answer")
        if answer.status != 200:
            self._refuse(answer)
        return answer

    def close(self) -> None:
        self._request.session.close()

    def _refuse(self, answer: Any) -> NoReturn:
        if answer.status == 429:
            pause = answer.headers.get("Retry-After", "")
            raise Throttled(
                "Google's token service asks for a pause",
                retry_after=min(float(pause), LONGEST_PAUSE_S) if pause.isascii() and pause.isdigit() else None,
            )
        if 400 <= answer.status < 500 and answer.status != 408:
            raise AuthFailed(f"Google refuses {self._what} (HTTP {answer.status})")
        raise Unavailable(f"Google's token service failed (HTTP {answer.status})")


async def _in_thread(work: Callable[[], Token]) -> Token:
    """Raises a `ProviderError`: a new one, since frames of these libraries hold keys."""
    found = await asyncio.get_running_loop().run_in_executor(_THREADS, _tried, work)
    if isinstance(found, ProviderError):
        raise found
    return found


def _tried(work: Callable[[], Token]) -> Token | ProviderError:
    try:
        return work()
    except ProviderError as error:
        error.__context__ = None
        return error.with_traceback(None)
    except (GoogleAuthError, ValueError, KeyError, TypeError):
        # Of all of these nothing is told: they quote what they could not read.
        return AuthFailed("the log-in at Google came to nothing: its credential cannot be used, or its answer holds no token")


def _refreshed(credentials: Any, http: _Http) -> Token:
    try:
        credentials.refresh(http)
    finally:
        http.close()
    left = credentials.expiry.replace(tzinfo=UTC) - datetime.now(UTC)
    return Token(_as_token(credentials.token), max(0.0, left.total_seconds()))


def _as_token(word: Any) -> Sensitive:
    if not isinstance(word, str) or not word or not all(0x21 <= ord(char) <= 0x7E for char in word):
        raise AuthFailed("Google's token service gave no token")
    return Sensitive.of(word)
