"""AWS's STS as it decides: who may assume which role, and whose token is exchanged. And signatures, as every service checks them."""

import base64
import calendar
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from contract.aws_rules import RefusedError

AUDIENCE = "sts.amazonaws.com"
SKEW_S = 300
CHAINED_S = 3600
"""As long as a session may be at most that a role's session asks for."""
_numbers = itertools.count(1)


@dataclass
class Identity:
    """Who signs with a key. ``token`` '' is a user's key, which has none. ``reads`` names the secrets that it may reach, None is all."""

    secret: str
    name: str
    token: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    reads: frozenset[str] | None = None


@dataclass
class Role:
    """``may_assume`` are names of identities, who come with this external id, where its trust policy asks for one.

    ``issuer`` is the public key of an OIDC provider, ``subject`` whom it trusts of it. ``reads`` are the secrets that it may
    reach, None is all.
    """

    may_assume: set[str] = field(default_factory=set)
    external_id: str = ""
    issuer: str = ""
    subject: str = ""
    reads: frozenset[str] | None = None


@dataclass
class Sts:
    """All who have a key, and all roles, by ARN. ``ahead_s``: by how much its clock goes before ours."""

    identities: dict[str, Identity] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    sessions: list[Mapping[str, str]] = field(default_factory=list)
    """What each session was asked for with."""
    claims: list[Mapping[str, object]] = field(default_factory=list)
    """What stood in each token that was exchanged."""
    ahead_s: float = 0.0
    life_s: int = 3600
    """Of a session that is asked for without a length."""

    def who(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Identity:
        """Whoever signed a request. Raises `RefusedError`."""
        signed = _authorization(headers.get("authorization", ""))
        key_id, date, region, service, _ = signed["Credential"].split("/")
        if (found := self.identities.get(key_id)) is None:
            raise RefusedError("InvalidClientTokenId" if service == "sts" else "UnrecognizedClientException", status=403)
        if headers.get("x-amz-security-token", "") != found.token:
            raise RefusedError("InvalidClientTokenId" if service == "sts" else "UnrecognizedClientException", status=403)
        if found.token in self.ended:
            raise RefusedError("ExpiredToken" if service == "sts" else "ExpiredTokenException", status=403)
        stamp = headers.get("x-amz-date", "")
        if abs(time.time() + self.ahead_s - calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))) > SKEW_S:
            raise RefusedError("SignatureDoesNotMatch" if service == "sts" else "InvalidSignatureException", status=403)
        key = f"AWS4{found.secret}".encode()
        for part in (date, region, service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        canonical = _canonical(method, target, headers, body, signed["SignedHeaders"])
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{date}/{region}/{service}/aws4_request\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        if not hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), signed["Signature"]):
            raise RefusedError("SignatureDoesNotMatch" if service == "sts" else "InvalidSignatureException", status=403)
        return found

    def assume(self, who: Identity | None, asked: Mapping[str, str]) -> tuple[str, Identity]:
        """A session, as an access key's id and whose it is. ``who`` None brings a token of its own. Raises `RefusedError`."""
        role = self.roles.get(asked["RoleArn"], Role())
        if who is None:
            claims = _claims(asked["WebIdentityToken"], role.issuer)
            if claims.get("aud") not in (AUDIENCE, [AUDIENCE]):
                raise RefusedError("InvalidIdentityToken")
            if claims["exp"] < time.time():
                raise RefusedError("ExpiredTokenException")
            self.claims.append(claims)
            allowed = bool(role.subject) and claims["sub"] == role.subject
        else:
            if who.token and int(asked.get("DurationSeconds", 3600)) > CHAINED_S:
                raise RefusedError("ValidationError")
            allowed = who.name in role.may_assume and role.external_id in ("", asked.get("ExternalId"))
        if not allowed:
            raise RefusedError("AccessDenied", status=403)
        self.sessions.append(asked)
        number = next(_numbers)
        tags = {asked[f"Tags.member.{n}.Key"]: asked[f"Tags.member.{n}.Value"] for n in range(1, 51) if f"Tags.member.{n}.Key" in asked}
        made = Identity(f"kt-canary-session-secret-{number}", asked["RoleArn"], f"kt-canary-session-token-{number}", tags, role.reads)
        self.identities[f"ASIASESSION{number:08d}"] = made
        return f"ASIASESSION{number:08d}", made

    def end_sessions(self) -> None:
        self.ended |= {each.token for each in self.identities.values() if each.token}


def assumed(operation: str, key_id: str, who: Identity, life_s: int) -> str:
    """As STS spells it."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + life_s))
    keys = f"<AccessKeyId>{key_id}</AccessKeyId><SecretAccessKey>{who.secret}</SecretAccessKey><SessionToken>{who.token}</SessionToken>"
    inner = f"<Credentials>{keys}<Expiration>{until}</Expiration></Credentials>"
    space = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
    return f"<{operation}Response {space}><{operation}Result>{inner}</{operation}Result></{operation}Response>"


def spelled(error: RefusedError, prose: str) -> str:
    space = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
    return f"<ErrorResponse {space}><Error><Type>Sender</Type><Code>{error.code}</Code><Message>{prose}</Message></Error></ErrorResponse>"


def service_of(headers: Mapping[str, str]) -> str:
    """The service that a request was signed for; STS takes some that are not."""
    credential = headers.get("authorization", "").partition("Credential=")[2].split("/")
    return credential[3] if len(credential) > 3 else "sts"


def _authorization(header: str) -> Mapping[str, str]:
    kind, _, rest = header.partition(" ")
    if kind != "AWS4-HMAC-SHA256":
        raise RefusedError("MissingAuthenticationTokenException", status=403)
    return dict(part.strip().split("=", 1) for part in rest.split(","))


def _canonical(method: str, target: str, headers: Mapping[str, str], body: bytes, signed: str) -> str:
    url = urlsplit(target)
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(parse_qsl(url.query)))
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed.split(";"))
    return "\n".join((method, url.path or "/", query, lines, signed, hashlib.sha256(body).hexdigest()))


def _claims(token: str, issuer: str) -> dict[str, object]:
    def raw(part: str) -> bytes:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

    try:
        head, claims, signature = token.split(".")
        key = load_pem_public_key(issuer.encode())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        r, s = (int.from_bytes(raw(signature)[at : at + 32], "big") for at in (0, 32))
        key.verify(encode_dss_signature(r, s), f"{head}.{claims}".encode(), ec.ECDSA(SHA256()))
        return dict(json.loads(raw(claims)))
    except (ValueError, InvalidSignature):
        raise RefusedError("InvalidIdentityToken") from None
