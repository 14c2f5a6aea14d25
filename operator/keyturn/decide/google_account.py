"""An external account's configuration, as Google's tools write it: what of it may be done, and for whom.

Whoever wrote it chose its addresses. So no token goes anywhere but to Google's own token services, and for a tenant a token is
fetched from the one address that the provider object names. Never quotes what it reads.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from keyturn.model.errors import AuthFailed
from keyturn.model.google import LONGEST_S, ExternalAccount, FromAws, FromFile, FromUrl, is_account, is_audience
from keyturn.model.sensitive import Sensitive

JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
SAML: Final = "urn:ietf:params:oauth:token-type:saml2"
AWS: Final = "urn:ietf:params:aws:token-type:aws4_request"
UNIVERSE: Final = "googleapis.com"
LONGEST: Final = 64 << 10
"""Bytes of a key or a configuration: real ones have some thousand."""

_TYPES: Final = (JWT, "urn:ietf:params:oauth:token-type:id_token", SAML, AWS)
_EXCHANGE: Final = "https://sts.googleapis.com/v1/token"
_ACT_AS: Final = re.compile(r"https://iamcredentials\.googleapis\.com/v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken")
_KINDS: Final = ("executable", "certificate", "environment_id", "file", "url")
_LIFE_S: Final = (600, 43_200)
"""What Google allows, which takes an organisation's policy for more than an hour."""

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_WORD: Final = re.compile(r"[!-~](?:[ -~]{0,4095}[!-~])?")
_OURS: Final = ("host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect", "cookie")
"""Headers that say how an answer comes, or whose it is: not a configuration's to say."""
_JWT_SHAPE: Final = re.compile(rb"[\w-]{2,}\.[\w-]{2,}\.[\w-]{2,}", re.ASCII)
_SAML_SHAPE: Final = re.compile(rb"[A-Za-z0-9+/_-]{64,}={0,2}")

Json = Mapping[str, Any]


def members(text: Sensitive, where: str) -> Json:
    """A credentials file's members; none where it is no object in JSON. ``where`` it stands, in words.

    Raises `AuthFailed` for one that is too long: it is read in one piece, and nothing else of the process runs meanwhile.
    """
    if len(text) > LONGEST:
        raise AuthFailed(f"{where} has more than {LONGEST >> 10} KiB, and so is none of Google's keys or configurations")
    return _members(text.reveal())


def _members(text: bytes) -> Json:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # UnicodeDecodeError is among these
        return {}
    return found if isinstance(found, dict) else {}


def external_account(told: Json, where: str) -> ExternalAccount:
    """What a configuration orders; ``where`` is what it stands in. Raises `AuthFailed`."""
    if told.get("type") != "external_account":
        raise AuthFailed(f"{where} is no configuration of an external account: it is JSON with type external_account")
    if told.get("universe_domain", UNIVERSE) != UNIVERSE:
        raise AuthFailed(f"{where}: universe_domain is not Google's, and nothing is sent there")
    if told.get("token_url", _EXCHANGE) != _EXCHANGE:
        raise AuthFailed(f"{where}: token_url is not {_EXCHANGE}, and nothing is sent there")
    audience, subject_type = told.get("audience"), told.get("subject_token_type")
    if not isinstance(audience, str) or not is_audience(audience):
        raise AuthFailed(f"{where}: audience is not the full name of a workload identity pool's provider")
    if subject_type not in _TYPES:
        raise AuthFailed(f"{where}: subject_token_type is none of {', '.join(_TYPES)}")
    if people := [name for name in ("workforce_pool_user_project", "client_id", "client_secret") if name in told]:
        raise AuthFailed(f"{where}: {people[0]} is for people's log-ins, which a provider is none of; use a workload identity pool")
    source = _source(told.get("credential_source"), where)
    if isinstance(source, FromAws) != (subject_type == AWS):
        raise AuthFailed(f"{where}: subject_token_type does not go with its credential_source")
    return ExternalAccount(audience, str(subject_type), source, _account(told, where), _length_s(told, where))


def asked_for(account: ExternalAccount, endpoint: str, where: str) -> FromUrl:
    """Where a tenant's token comes from: from ``endpoint`` and nowhere else. Raises `AuthFailed`."""
    source = account.source
    if not isinstance(source, FromUrl):
        kind = "file" if isinstance(source, FromFile) else "environment_id"
        raise AuthFailed(
            f"{where}: credential_source.{kind} would read what is the operator's; name a url and externalTokenEndpoint,"
            " or use serviceAccountRef or awsSecurityCredentials"
        )
    if not endpoint:
        raise AuthFailed(f"{where}: credential_source.url is asked only where externalTokenEndpoint names it too; set that")
    if source.url != endpoint:
        raise AuthFailed(f"{where}: credential_source.url is not what externalTokenEndpoint says, and nothing is asked of it")
    return source


def subject_in(body: bytes, member: str, subject_type: str) -> Sensitive | None:
    """The token in an answer or a file; None where there is none of this type."""
    found: object = body
    if member:
        told = _members(body).get(member)
        found = told.encode(errors="replace") if isinstance(told, str) else b""
    token = found.strip() if isinstance(found, bytes) else b""
    shape = _SAML_SHAPE if subject_type == SAML else _JWT_SHAPE
    return Sensitive(token) if shape.fullmatch(token) else None


def _source(told: object, where: str) -> FromUrl | FromFile | FromAws:
    given = told if isinstance(told, dict) else {}
    kind = next((each for each in _KINDS if each in given), "")
    match kind:
        case "file" if "url" not in given and _is_word(given["file"]):
            return FromFile(given["file"], _member(given, where))
        case "url" if _is_word(given["url"]):
            return FromUrl(given["url"], _headers(given, where), _member(given, where))
        case "environment_id" if given["environment_id"] == "aws1":
            return FromAws(tuple(sorted((name, text) for name, text in given.items() if _is_word(text))))
        case "executable" | "certificate":
            raise AuthFailed(f"{where}: credential_source.{kind} is never used: it would run a program, or read a key, of the operator's")
    raise AuthFailed(f"{where}: credential_source names no url, as text; a configuration has exactly one source")


def _is_word(text: object) -> bool:
    return isinstance(text, str) and _WORD.fullmatch(text) is not None


def _headers(given: Json, where: str) -> tuple[tuple[str, str], ...]:
    told = given.get("headers") or {}
    if not isinstance(told, dict) or not all(_NAME.fullmatch(name) and _is_word(text) for name, text in told.items()):
        raise AuthFailed(f"{where}: credential_source.headers are no names and texts of HTTP headers")
    if not {name.lower() for name in told}.isdisjoint(_OURS):
        raise AuthFailed(f"{where}: credential_source.headers has one that is not a configuration's to set, such as Host")
    return tuple(told.items())


def _member(given: Json, where: str) -> str:
    told = given.get("format") or {}
    kind, member = (told.get("type", "text"), told.get("subject_token_field_name")) if isinstance(told, dict) else ("", None)
    if kind == "text":
        return ""
    if kind != "json" or not isinstance(member, str) or not member:
        raise AuthFailed(f"{where}: credential_source.format is neither text, nor json with a subject_token_field_name")
    return member


def _account(told: Json, where: str) -> str:
    url = told.get("service_account_impersonation_url")
    if url is None:
        return ""
    found = _ACT_AS.fullmatch(url) if isinstance(url, str) else None
    if found is None or not is_account(found[1]):
        raise AuthFailed(
            f"{where}: service_account_impersonation_url is not"
            " https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/NAME:generateAccessToken, and nothing is sent there"
        )
    return found[1]


def _length_s(told: Json, where: str) -> int:
    more = told.get("service_account_impersonation") or {}
    length_s = more.get("token_lifetime_seconds", LONGEST_S) if isinstance(more, dict) else None
    if not isinstance(length_s, int) or not _LIFE_S[0] <= length_s <= _LIFE_S[1]:
        raise AuthFailed(f"{where}: service_account_impersonation.token_lifetime_seconds is no number from {_LIFE_S[0]} to {_LIFE_S[1]}")
    return length_s
