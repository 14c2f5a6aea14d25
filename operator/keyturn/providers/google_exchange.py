"""What is given to Google's token services, and the token that they give for it. All of it blocks: it is for ``in_thread``.

Whatever is given goes to Google's own addresses alone, whatever a key or a configuration names.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from google.auth import aws, identity_pool
from google.auth.crypt import RSASigner
from google.oauth2 import service_account

from keyturn.decide.google_account import AWS, UNIVERSE, Json
from keyturn.model.errors import AuthFailed
from keyturn.model.google import LONGEST_S, GooglePlaces
from keyturn.model.sensitive import Sensitive
from keyturn.providers.google_http import Http, Token, as_token
from keyturn.providers.rsa_keys import private_key

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_GOOGLES: Final = (
    "https://oauth2.googleapis.com/token",
    "https://accounts.google.com/o/oauth2/token",
    "https://www.googleapis.com/oauth2/v4/token",
)
"""What keys of service accounts call Google's token endpoint, the old ones too."""


def check_key(info: Json, where: str) -> None:
    """Raises `AuthFailed` unless it is a service account's key for Google's own addresses."""
    if info.get("type") != "service_account":
        raise AuthFailed(f"{where} is no key of a service account: it is JSON with type, client_email and private_key")
    if info.get("token_uri", _GOOGLES[0]) not in _GOOGLES or info.get("universe_domain", UNIVERSE) != UNIVERSE:
        raise AuthFailed(f"{where} names a token_uri or universe_domain that is not Google's, and nothing is sent there")


def by_key(places: GooglePlaces, info: Json, where: str) -> Token:
    """A token for a service account's key, which was checked."""
    email, pem = info.get("client_email"), info.get("private_key")
    if not isinstance(email, str) or not isinstance(pem, str):
        raise AuthFailed(f"{where} is no key of a service account: it is JSON with type, client_email and private_key")
    # Not read by google-auth, which has a key proven before it is used.
    signer = RSASigner(private_key(pem.encode(errors="replace"), where), info.get("private_key_id"))  # type: ignore[no-untyped-call]  # google-auth is typed in parts
    credentials = service_account.Credentials(signer, email, places.token, scopes=[SCOPE])  # type: ignore[no-untyped-call]  # google-auth is typed in parts
    remedy = "the key, or its service account, was deleted or disabled, or never was; make another key, and store that there"
    with Http(places, f"the log-in by {where}; {remedy}") as http:
        return _refreshed(credentials, http)


def exchanged(places: GooglePlaces, audience: str, subject_type: str, subject: Sensitive, where: str) -> Token:
    """A token for another issuer's."""
    info = _account(places, audience, subject_type) | {"subject_token_supplier": _Supplier(subject)}
    credentials = identity_pool.Credentials.from_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]  # google-auth is typed in parts
    with Http(places, f"the log-in by {where}; check the pool's provider, its audience and its issuer") as http:
        return _refreshed(credentials, http)


def signed(places: GooglePlaces, audience: str, source: Mapping[str, Any], where: str) -> Token:
    """A token for a request to AWS, signed there: ``source`` is google-auth's for the credentials."""
    info = _account(places, audience, AWS) | dict(source)
    credentials = aws.Credentials.from_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]  # google-auth is typed in parts
    with Http(places, f"the log-in by {where}; check the keys at AWS, and the pool's provider with its account") as http:
        return _refreshed(credentials, http)


def standing_in(places: GooglePlaces, token: Token, account: str, length_s: int, where: str) -> Token:
    """A token of the Google service account ``account``, for one that may stand in for it."""
    url = f"{places.accounts}/v1/projects/-/serviceAccounts/{quote(account, safe='@')}:generateAccessToken"
    body = json.dumps({"scope": [SCOPE], "lifetime": f"{length_s}s"}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token.secret.reveal().decode('ascii')}"}
    what = f"{where} to stand in for {account}; grant it Workload Identity User (roles/iam.workloadIdentityUser) there"
    with Http(places, what) as http:
        told = json.loads(http(url, "POST", body, headers).data)
    return Token(as_token(told["accessToken"]), _left_s(datetime.fromisoformat(told["expireTime"])))


def finished(places: GooglePlaces, token: Token, account: str, where: str, length_s: int = LONGEST_S) -> Token:
    """The same where ``account`` names one, else the token as it is."""
    return standing_in(places, token, account, length_s, where) if account else token


def with_keys(region: str, key_id: str, secret: Sensitive, token: Sensitive | None) -> Mapping[str, Any]:
    """A source for ``signed``: an access key of AWS's."""
    return {"aws_security_credentials_supplier": _Keys(region, key_id, secret, token)}


class _Supplier(identity_pool.SubjectTokenSupplier):
    """Gives google-auth a token that is there already."""

    def __init__(self, token: Sensitive) -> None:
        self._token = token

    def get_subject_token(self, context: Any, request: Any) -> str:  # noqa: ARG002  # as google-auth has it
        return self._token.reveal().decode("ascii")


class _Keys(aws.AwsSecurityCredentialsSupplier):
    """Gives google-auth the keys, from which it signs. They stay here: what is sent is the signature."""

    def __init__(self, region: str, key_id: str, secret: Sensitive, token: Sensitive | None) -> None:
        self._region = region
        self._key_id = key_id
        self._secret = secret
        self._token = token

    def get_aws_security_credentials(self, context: Any, request: Any) -> Any:  # noqa: ARG002  # as google-auth has it
        token = self._token.reveal().decode("ascii") if self._token else None
        return aws.AwsSecurityCredentials(self._key_id, self._secret.reveal().decode("ascii"), token)

    def get_aws_region(self, context: Any, request: Any) -> str:  # noqa: ARG002  # as google-auth has it
        return self._region


def _account(places: GooglePlaces, audience: str, subject_type: str) -> dict[str, Any]:
    return {"type": "external_account", "audience": audience, "subject_token_type": subject_type, "token_url": places.exchange}


def _refreshed(credentials: Any, http: Http) -> Token:
    credentials.refresh(http)
    return Token(as_token(credentials.token), _left_s(credentials.expiry.replace(tzinfo=UTC)))


def _left_s(until: datetime) -> float:
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
