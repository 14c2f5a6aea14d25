"""A fake Microsoft Entra, and the metadata service of a machine: they give tokens that end to whoever proves who it is, and to nobody else.

Signatures, audiences and lives of assertions are checked as the real one does; so are secrets and ids. Made for tests: it keeps all
in memory, and tells no more than it has to.
"""

import base64
import binascii
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

EXCHANGE: Final = "api://AzureADTokenExchange"
_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SKEW_S: Final = 300

Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


def _uuid() -> str:
    raw = secrets.token_hex(16)
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


class _RefusedError(Exception):
    def __init__(self, status: int, error: str, code: int) -> None:
        super().__init__(error)
        self.status, self.error, self.code = status, error, code


@dataclass(frozen=True, slots=True)
class Trust:
    """What a client trusts of somebody else: the tokens of one issuer for one subject."""

    issuer: str
    subject: str
    audience: str = EXCHANGE


@dataclass(slots=True)
class Client:
    """An application. ``certificates`` are by their SHA-256 thumbprint; ``is_managed``: machines have it, and nobody else."""

    secrets: set[str] = field(default_factory=set)
    certificates: dict[str, x509.Certificate] = field(default_factory=dict)
    trusts: set[Trust] = field(default_factory=set)
    is_managed: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """A token that was given."""

    client_id: str
    resource: str
    ends_at: float


@dataclass
class Entra:
    """One tenant. ``life_s`` is of the tokens that it gives; ``issuers`` has the keys of others' token issuers by their id.

    ``trouble`` answers in its place; ``asked`` has every form that came in, without what is secret in it, and ``claims`` those of
    assertions that were taken.
    """

    host: str = "login.microsoftonline.com"
    tenant: str = field(default_factory=_uuid)
    life_s: float = 3599.0
    prose: str = "kt-canary-prose"
    clients: dict[str, Client] = field(default_factory=dict)
    issuers: dict[str, dict[str, Key]] = field(default_factory=dict)
    takes_es256: bool = False
    """The real one takes RS256 alone; some clusters for tests sign by the other."""
    grants: dict[str, Grant] = field(default_factory=dict)
    asked: list[Mapping[str, str]] = field(default_factory=list)
    claims: list[Mapping[str, Any]] = field(default_factory=list)
    now: Callable[[], float] = time.time
    trouble: Callable[[web.Request], web.Response | None] = lambda _: None
    machine: str = ""
    """The client that a machine is where its metadata service is asked for none by name."""

    def add(self, *, secret: str = "", certificate: bytes = b"", trust: Trust | None = None, is_managed: bool = False) -> str:
        """A new client; gives its id."""
        client = Client(is_managed=is_managed)
        if secret:
            client.secrets.add(secret)
        if certificate:
            made = x509.load_pem_x509_certificate(certificate)
            client.certificates[made.fingerprint(hashes.SHA256()).hex()] = made
        if trust:
            client.trusts.add(trust)
        name = _uuid()
        self.clients[name] = client
        return name

    def expire(self) -> None:
        """Ends every token that was given."""
        self.grants.clear()

    def grant_of(self, token: str) -> Grant | None:
        """What a token stands for; None where it is none of ours, or ended."""
        grant = self.grants.get(token)
        return grant if grant is not None and grant.ends_at > self.now() else None

    # -- answers ----------------------------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """What its host answers."""
        if (answer := self.trouble(request)) is not None:
            return answer
        tenant, _, rest = request.path.lstrip("/").partition("/")
        if rest == "v2.0/.well-known/openid-configuration" and request.method == "GET":
            return web.json_response(self._about(tenant))
        if rest != "oauth2/v2.0/token" or request.method != "POST":
            return web.Response(status=404)
        form = {name: str(text) for name, text in (await request.post()).items()}
        self.asked.append({name: text for name, text in form.items() if name not in {"client_secret", "client_assertion"}})
        try:
            return self._given(self._client(tenant, form), form)
        except _RefusedError as refused:
            return self._refusal(refused)

    async def serve_metadata(self, request: web.Request) -> web.StreamResponse:
        """What a machine's metadata service answers."""
        if (answer := self.trouble(request)) is not None:
            return answer
        query = request.query
        self.asked.append({"metadata": "", **query})
        if request.path != "/metadata/identity/oauth2/token" or request.headers.get("Metadata", "").lower() != "true":
            return web.json_response({"error": "invalid_request", "error_description": self.prose}, status=400)
        if "X-Forwarded-For" in request.headers or "api-version" not in query:
            return web.json_response({"error": "invalid_request", "error_description": self.prose}, status=400)
        name = query.get("client_id", self.machine)
        if name not in self.clients or not self.clients[name].is_managed:
            return web.json_response({"error": "invalid_request", "error_description": f"Identity not found {self.prose}"}, status=400)
        resource = query["resource"].removesuffix("/.default")
        token = self._grant(name, resource)
        told = {"expires_in": str(int(self.life_s)), "expires_on": str(int(self.grants[token].ends_at)), "resource": resource}
        return web.json_response({"access_token": token, "token_type": "Bearer", "client_id": name, **told})

    def _about(self, tenant: str) -> Mapping[str, str]:
        base = f"https://{self.host}/{tenant}"
        return {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        }

    def _given(self, client_id: str, form: Mapping[str, str]) -> web.Response:
        scope = form.get("scope", "")
        if form.get("grant_type") != "client_credentials" or not scope.endswith("/.default"):
            raise _RefusedError(400, "invalid_scope", 1002012)
        token = self._grant(client_id, scope.removesuffix("/.default"))
        return web.json_response({"token_type": "Bearer", "expires_in": int(self.life_s), "access_token": token})

    def _grant(self, client_id: str, resource: str) -> str:
        token = f"kt-canary-{secrets.token_urlsafe(24)}"
        self.grants[token] = Grant(client_id, resource, self.now() + self.life_s)
        return token

    def _refusal(self, refused: _RefusedError) -> web.Response:
        told = {
            "error": refused.error,
            "error_description": f"AADSTS{refused.code}: {self.prose}. Trace ID: {_uuid()}",
            "error_codes": [refused.code],
            "trace_id": _uuid(),
            "correlation_id": _uuid(),
        }
        return web.json_response(told, status=refused.status, headers={"x-ms-request-id": str(told["trace_id"])})

    # -- who asks ---------------------------------------------------------------------------------------------------------------

    def _client(self, tenant: str, form: Mapping[str, str]) -> str:
        if tenant != self.tenant:
            raise _RefusedError(400, "invalid_request", 90002)
        name = form.get("client_id", "")
        client = self.clients.get(name)
        if client is None or client.is_managed:
            raise _RefusedError(400, "unauthorized_client", 700016)
        if "client_assertion" in form:
            if form.get("client_assertion_type") != _BEARER:
                raise _RefusedError(400, "invalid_request", 90014)
            self._check(name, client, form["client_assertion"])
        elif form.get("client_secret") not in client.secrets:
            raise _RefusedError(401, "invalid_client", 7000215)
        return name

    def _check(self, name: str, client: Client, assertion: str) -> None:
        """Raises unless the assertion is by the client's certificate, or of somebody whom it trusts."""
        try:
            head, body, seal = assertion.split(".")
            header, claims, signature = json.loads(_bytes(head)), json.loads(_bytes(body)), _bytes(seal)
        except (ValueError, binascii.Error):
            raise _RefusedError(401, "invalid_client", 50027) from None
        is_own = claims.get("iss") == claims.get("sub") == name
        key = self._own_key(client, header) if is_own else self._trusted_key(client, header, claims)
        if not _is_signed(key, header.get("alg"), f"{head}.{body}".encode(), signature):
            raise _RefusedError(401, "invalid_client", 50013 if not is_own else 700027)
        now = self.now()
        if not claims.get("nbf", now) - _SKEW_S <= now < claims.get("exp", 0):
            raise _RefusedError(401, "invalid_client", 700024)
        told = claims.get("aud")
        audiences = told if isinstance(told, list) else [told]
        if is_own and self._about(self.tenant)["token_endpoint"] not in audiences:
            raise _RefusedError(401, "invalid_client", 700023)
        self.claims.append(claims)

    def _own_key(self, client: Client, header: Mapping[str, Any]) -> rsa.RSAPublicKey:
        for thumbprint, certificate in client.certificates.items():
            old = hashlib.sha1(certificate.public_bytes(serialization.Encoding.DER)).digest()  # noqa: S324  # what x5t means
            told = {name: str(header.get(name, "")).rstrip("=") for name in ("x5t#S256", "x5t")}
            if told["x5t#S256"] == _url(bytes.fromhex(thumbprint)) or told["x5t"] == _url(old):
                key = certificate.public_key()
                if isinstance(key, rsa.RSAPublicKey):
                    return key
        raise _RefusedError(401, "invalid_client", 700027)

    def _trusted_key(self, client: Client, header: Mapping[str, Any], claims: Mapping[str, Any]) -> Key:
        told = claims.get("aud")
        audiences = told if isinstance(told, list) else [told]
        issuer, subject = str(claims.get("iss", "")), str(claims.get("sub", ""))
        if not any((each.issuer, each.subject) == (issuer, subject) for each in client.trusts):
            raise _RefusedError(400, "invalid_request", 700213)
        if not any((each.issuer, each.subject) == (issuer, subject) and each.audience in audiences for each in client.trusts):
            raise _RefusedError(400, "invalid_request", 700212)
        key = self.issuers.get(issuer, {}).get(str(header.get("kid", "")))
        if key is None or not (self.takes_es256 or header.get("alg") == "RS256"):
            raise _RefusedError(401, "invalid_client", 50166)
        return key


def _is_signed(key: Key, algorithm: object, text: bytes, signature: bytes) -> bool:
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            half = len(signature) // 2
            pair = encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
            key.verify(pair, text, ec.ECDSA(hashes.SHA256()))
            return algorithm == "ES256"
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        key.verify(signature, text, pss if algorithm == "PS256" else padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return algorithm in {"RS256", "PS256"}


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
