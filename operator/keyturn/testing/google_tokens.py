"""Google's token services, for tests: the grant for a service account's key, the exchange of another's token or of a request that AWS's
keys signed, the tokens of service accounts for whoever may stand in for them, and the metadata server.

Each looks at signature, issuer, audience and life before it gives a token, and each token has an end. Needs the extra `gcp`.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

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
_JWTS: Final = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
_AWS: Final = "urn:ietf:params:aws:token-type:aws4_request"
_ACCESS: Final = "urn:ietf:params:oauth:token-type:access_token"

Keys = Mapping[str, str]
"""Public keys in PEM, by their ids."""

Aws = Callable[[str, str, Mapping[str, str]], str]
"""What AWS says to a request with this method, target and headers, in lower case: who signed it, '' where it takes it for nobody's."""


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
    """``accounts`` are service accounts with their keys, ``pools`` by the full names of their providers, ``aws`` those of them that
    take AWS's word. ``stand_ins`` are who may have tokens of a service account.

    ``own`` is who the machine is that the metadata server stands in, '' where it is nobody; ``about`` is what that one tells else, by
    path. ``trouble`` answers in all others' place.
    """

    accounts: dict[str, Keys] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    aws: dict[str, Aws] = field(default_factory=dict)
    stand_ins: dict[str, set[str]] = field(default_factory=dict)
    own: str = ""
    about: dict[str, str] = field(default_factory=dict)
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
        app.router.add_post("/v1/projects/-/serviceAccounts/{account}:generateAccessToken", self._stand_in)
        app.router.add_get("/computeMetadata/v1/{rest:.+}", self._metadata)
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
        audience, subject_type, subject = (form.get(name, "") for name in ("audience", "subject_token_type", "subject_token"))
        if tuple(form.get(name) for name in ("grant_type", "requested_token_type", "scope")) != (_EXCHANGE, _ACCESS, SCOPE):
            return _refusal("invalid_request")
        if audience not in self.pools and audience not in self.aws:
            return _refusal("invalid_target")
        if subject_type == _AWS and audience in self.aws:
            who = _signer(subject, audience, self.aws[audience])
        elif subject_type in _JWTS and audience in self.pools:
            who = self._subject(self.pools[audience], audience, subject)
        else:
            return _refusal("invalid_request")
        return self._give(f"principal:{audience}/subject/{who}", issued_token_type=_ACCESS) if who else _refusal("invalid_grant")

    @staticmethod
    def _subject(pool: Pool, audience: str, token: str) -> str:
        claims = _verified(token, pool.keys, pool.audiences or (audience, f"https:{audience}"), ["RS256", "ES256"])
        return str(claims["sub"]) if claims is not None and claims.get("iss") == pool.issuer else ""

    async def _stand_in(self, request: web.Request) -> web.Response:
        account, asked = request.match_info["account"], await request.json()
        self.asked.append((request.path, asked))
        if self.trouble:
            return self.trouble()
        who = self.who(request.headers.get("Authorization", "").removeprefix("Bearer "))
        life_s = int(asked["lifetime"].removesuffix("s"))
        if not who:
            return web.json_response({"error": {"status": "UNAUTHENTICATED", "message": "kt-canary-prose"}}, status=401)
        # Of a service account that is not there it says the same.
        if who not in self.stand_ins.get(account, ()):
            return web.json_response({"error": {"status": "PERMISSION_DENIED", "message": "kt-canary-prose"}}, status=403)
        if asked.get("scope") != [SCOPE] or not 0 < life_s <= LONGEST_S:
            return web.json_response({"error": {"status": "INVALID_ARGUMENT", "message": "kt-canary-prose"}}, status=400)
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock() + life_s))
        return web.json_response({"accessToken": self._made(account, life_s), "expireTime": ends})

    async def _metadata(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, dict(request.headers)))
        if self.trouble:
            return self.trouble()
        if request.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in request.headers or request.secure:
            return web.Response(status=403)
        told = self.about.get(request.path.removeprefix("/computeMetadata/v1/"))
        if request.path == OWN_TOKEN and self.own:
            answer = self._give(self.own)
        else:
            answer = web.Response(status=404) if told is None else web.Response(text=told)
        answer.headers["Metadata-Flavor"] = "Google"
        return answer

    async def _form(self, request: web.Request) -> Mapping[str, str]:
        form = {name: str(text) for name, text in (await request.post()).items()}
        self.asked.append((request.path, form))
        return form

    def _give(self, name: str, **more: str) -> web.Response:
        token = self._made(name, self.life_s)
        return web.json_response({"access_token": token, "expires_in": int(self.life_s), "token_type": "Bearer", **more})

    def _made(self, name: str, life_s: float) -> str:
        token = f"ya29.kt-canary-{secrets.token_urlsafe(24)}"
        self._given[token] = (name, self.clock() + life_s)
        return token


def _signer(subject: str, audience: str, aws: Aws) -> str:
    """Who signed a request to AWS's STS, as Google has it: sent on to AWS, and for this pool's provider alone."""
    try:
        told = json.loads(unquote(subject))
        headers = {each["key"].lower(): str(each["value"]) for each in told["headers"]}
        url = urlsplit(told["url"])
    except (ValueError, KeyError, TypeError):
        return ""
    region = re.fullmatch(r"sts\.([a-z0-9-]+)\.amazonaws\.com", url.netloc)
    is_theirs = region is not None and url.scheme == "https" and parse_qs(url.query).get("Action") == ["GetCallerIdentity"]
    if (
        not is_theirs
        or headers.get("host") != url.netloc
        or headers.get("x-goog-cloud-target-resource") not in (audience, f"https:{audience}")
    ):
        return ""
    return aws(str(told["method"]), f"{url.path or '/'}?{url.query}", headers)


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
