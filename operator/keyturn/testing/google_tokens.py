"""Google's token services, for tests: the grant for a service account's key, the exchange of another's token, and the metadata server.

Each looks at signature, issuer, audience and life before it gives a token, and each token has an end. Needs the extra `gcp`.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.auth.exceptions import GoogleAuthError

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address
"""What an assertion's audience has to be, wherever the service listens."""
LONGEST_S: Final = 3600
OWN_TOKEN: Final = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105  # a path
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_ACCESS: Final = "urn:ietf:params:oauth:token-type:access_token"

Keys = Mapping[str, str]
"""Public keys in PEM, by their ids."""


class Signer:
    """A key, and what is signed by it."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.key_id = secrets.token_hex(8)
        self.pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.keys: Keys = {self.key_id: public}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token of these claims, valid for ten minutes unless they say otherwise."""
        now = int(time.time())
        key = RSASigner.from_string(self.pem, self.key_id)  # type: ignore[no-untyped-call]  # google-auth is typed in parts
        return str(jwt.encode(key, {"iat": now, "exp": now + 600} | dict(claims)), "ascii")  # type: ignore[no-untyped-call]  # google-auth is typed in parts


@dataclass(slots=True)
class Pool:
    """A provider of a workload identity pool: whose tokens it takes. No ``audiences`` means the provider's own name."""

    issuer: str
    keys: Keys
    audiences: tuple[str, ...] = ()


@dataclass(slots=True)
class TokenServices:
    """``accounts`` are service accounts with their keys, ``pools`` by the full names of their providers.

    ``own`` is who the machine is that the metadata server stands in, '' where it is nobody. ``trouble`` answers in all others' place.
    """

    accounts: dict[str, Keys] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    own: str = ""
    life_s: float = 3600.0
    clock: Callable[[], float] = time.time
    trouble: Callable[[], web.Response] | None = None
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    _given: dict[str, tuple[str, float]] = field(default_factory=dict)

    def who(self, token: str) -> str:
        """Whose token that is; '' for one that was not given, or that has ended."""
        name, ends_at = self._given.get(token, ("", 0.0))
        return name if self.clock() < ends_at else ""

    def end_all(self) -> None:
        """No token that was given is good any more."""
        self._given.clear()

    def key_of(self, email: str, signer: Signer, token_uri: str) -> str:
        """A key of a service account as Google gives it to download; from now on it is known."""
        self.accounts[email] = {**self.accounts.get(email, {}), **signer.keys}
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "shop",
                "private_key_id": signer.key_id,
                "private_key": signer.pem,
                "client_email": email,
                "client_id": "1",
                "token_uri": token_uri,
            }
        )

    @contextmanager
    def troubled(self, status: int, **headers: str) -> Iterator[None]:
        """Each request is answered with this status."""
        self.trouble = lambda: web.json_response({"error": "kt-canary-prose"}, status=status, headers=headers)
        yield
        self.trouble = None

    def app(self) -> web.Application:
        """The token service and the exchange, to be served with TLS; the metadata server, to be served without."""
        app = web.Application()
        app.router.add_post("/token", self._grant)
        app.router.add_post("/v1/token", self._exchange)
        app.router.add_get(OWN_TOKEN, self._metadata)
        return app

    async def _grant(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        if self.trouble:
            return self.trouble()
        assertion = form.get("assertion", "")
        issuer = _unverified(assertion).get("iss", "")
        claims = _verified(assertion, self.accounts.get(issuer, {}), [TOKEN_URI], ["RS256"])
        if form.get("grant_type") != _BEARER or claims is None or claims["exp"] - claims["iat"] > LONGEST_S or claims.get("scope") != SCOPE:
            return _refusal("invalid_grant")
        return self._give(issuer)

    async def _exchange(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        if self.trouble:
            return self.trouble()
        audience = form.get("audience", "")
        wanted = (_EXCHANGE, _JWT, _ACCESS, SCOPE)
        if tuple(form.get(name) for name in ("grant_type", "subject_token_type", "requested_token_type", "scope")) != wanted:
            return _refusal("invalid_request")
        if (pool := self.pools.get(audience)) is None:
            return _refusal("invalid_target")
        audiences = pool.audiences or (audience, f"https:{audience}")
        claims = _verified(form.get("subject_token", ""), pool.keys, audiences, ["RS256", "ES256"])
        if claims is None or claims.get("iss") != pool.issuer:
            return _refusal("invalid_grant")
        return self._give(f"principal:{audience}/subject/{claims['sub']}", issued_token_type=_ACCESS)

    async def _metadata(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, dict(request.headers)))
        if self.trouble:
            return self.trouble()
        if request.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in request.headers or request.secure:
            return web.Response(status=403)
        answer = self._give(self.own) if self.own else web.Response(status=404)
        answer.headers["Metadata-Flavor"] = "Google"
        return answer

    async def _form(self, request: web.Request) -> Mapping[str, str]:
        form = {name: str(text) for name, text in (await request.post()).items()}
        self.asked.append((request.path, form))
        return form

    def _give(self, name: str, **more: str) -> web.Response:
        token = f"ya29.kt-canary-{secrets.token_urlsafe(24)}"
        self._given[token] = (name, self.clock() + self.life_s)
        return web.json_response({"access_token": token, "expires_in": int(self.life_s), "token_type": "Bearer", **more})


def _unverified(token: str) -> Mapping[str, Any]:
    try:
        return dict(jwt.decode(token, verify=False))  # type: ignore[no-untyped-call]  # google-auth is typed in parts
    except (GoogleAuthError, ValueError):
        return {}


def _verified(token: str, keys: Keys, audiences: Sequence[str], algorithms: Sequence[str]) -> Mapping[str, Any] | None:
    """The claims of a token whose signature, life and audience are good."""
    try:
        header = jwt.decode_header(token)  # type: ignore[no-untyped-call]  # google-auth is typed in parts
        if header.get("alg") not in algorithms or header.get("kid") not in keys:
            return None
        claims = dict(jwt.decode(token, certs=keys, audience=None))  # type: ignore[no-untyped-call]  # google-auth is typed in parts
    except (GoogleAuthError, ValueError):
        return None
    named = claims.get("aud")
    return claims if set(named if isinstance(named, list) else [named]) & set(audiences) else None


def _refusal(error: str) -> web.Response:
    return web.json_response({"error": error, "error_description": "kt-canary-prose"}, status=400)
