"""What the SDK's errors and answers mean: failures in our words, and of a version what is kept in its tags.

Asks nothing. Of an error its class, its status, its codes and the request's id are looked at, never its text, which quotes.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from azure.core.exceptions import (
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
)

from keyturn.model.azure import AzureLogin
from keyturn.model.errors import AccessDenied, AuthFailed, Conflict, Disabled, Invalid, NotFound, ProviderError, Throttled, Unavailable
from keyturn.providers.azure_names import Row
from keyturn.providers.azure_refusal import remedy
from keyturn.providers.dial import NO_ANSWER

_ID: Final = re.compile("[0-9A-Za-z-]{1,64}")
_CODE: Final = re.compile("[A-Za-z]{1,64}")
_STS: Final = re.compile(r"\bAADSTS[0-9]{3,8}\b")
_LONGEST_PAUSE_S: Final = 3600.0

# The network, and no right of the identity's, says no: the same for every key.
_NETWORK: Final = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection"})
_UNSETTLED: Final = frozenset({"ObjectIsBeingDeleted", "ObjectIsBeingRecovered"})


class Recoverable(Conflict):
    """The name belongs to a secret that was deleted and can come back."""


class Unsettled(Conflict):
    """The secret of this name is being deleted, purged or recovered: it will be over in seconds."""


class ShutOut(AccessDenied):
    """The vault's network rules keep us out, whoever we are."""


Silence = Callable[[Exception], str]
"""What is told of a server that gave no answer because of this error."""


def failure(error: Exception, what: str, silence: Silence) -> ProviderError:
    """The error that one of the SDK's stands for; ``what`` was asked for, such as "the key db"."""
    if isinstance(error, ProviderError):
        return error
    if not isinstance(error, HttpResponseError) or isinstance(error, DecodeError) or error.status_code is None:
        return Unavailable(silence(error))
    codes, request = _codes(error), _request(error)
    match error.status_code:
        case 401:
            return AuthFailed(
                "Key Vault does not take the token of this identity; check that the tenant is the vault's", request_id=request
            )
        case 403:
            return _refusal(codes, what, request)
        case 404:
            return NotFound(f"Key Vault does not have {what}", request_id=request)
        case 409 | 412:
            return _collision(codes, what, request)
        case 429:
            return Throttled("Key Vault asks for a pause", request_id=request, retry_after=_pause_s(error))
        case status if 400 <= status < 500:
            return Invalid(f"Key Vault cannot make sense of a request for {what} (HTTP {status})", request_id=request)
        case status:
            return Unavailable(f"Key Vault failed (HTTP {status})", request_id=request)


def _refusal(codes: frozenset[str], what: str, request: str) -> ProviderError:
    if "SecretDisabled" in codes:
        return Disabled(f"{what} is disabled in Key Vault", request_id=request)
    if codes & _NETWORK:
        return ShutOut("the vault's network rules do not let the operator in; allow its address or its network", request_id=request)
    return AccessDenied(f"Key Vault refuses this identity {what}; give it the role or access policy for it", request_id=request)


def _collision(codes: frozenset[str], what: str, request: str) -> ProviderError:
    if "ObjectIsDeletedButRecoverable" in codes:
        return Recoverable(f"{what} was deleted in Key Vault, which keeps its name; recover or purge it", request_id=request)
    if codes & _UNSETTLED:
        return Unsettled(f"{what} is being deleted or recovered in Key Vault; try again", request_id=request)
    return Conflict(f"another write to {what} came between; try again", request_id=request)


def log_in_failure(error: Exception, who: str, login: AzureLogin, silence: Silence) -> ProviderError:
    """The same for an error of a ``login`` as ``who``, such as "the client secret in Secret/shop/login"."""
    if isinstance(error, ProviderError):
        return error
    # The SDK wraps what a metadata service did not do into one class with what it refused.
    met = error.__cause__ if isinstance(error, ClientAuthenticationError) and error.response is None and error.__cause__ else error
    if not isinstance(met, HttpResponseError) or isinstance(met, DecodeError):
        return Unavailable(silence(error))
    status = met.status_code or 0
    if status == 429:
        return Throttled("the token service asks for a pause", request_id=_request(met), retry_after=_pause_s(met))
    if status >= 500:
        return Unavailable(f"the token service failed (HTTP {status})", request_id=_request(met))
    if status < 400:  # an answer without a token, whatever else is in it
        return Unavailable(NO_ANSWER)
    found = _STS.search(str(getattr(met, "message", "")))
    code = found[0] if found else ""
    told = f"the token service refuses {who}{f' ({code})' if code else ''}"
    return AuthFailed(f"{told}; {remedy(code, login)}", request_id=_request(met))


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """The server's time, as it stands in an answer; None where it tells none."""
    try:
        return parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return None


def page_of(body: bytes) -> tuple[list[Row], str]:
    """The rows of a page, and what the next one begins with; '' on the last. Raises `Unavailable` for what is no page.

    By hand: the SDK's own models of a page keep the event loop for some milliseconds.
    """
    rows: list[Row] | None = None
    more = ""
    try:
        told = json.loads(body)
        more = parse_qs(urlsplit(told.get("nextLink") or "").query).get("$skiptoken", [""])[0]
        rows = [_row(each) for each in told["value"]]
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        rows = None
    if rows is None:
        raise Unavailable(NO_ANSWER)
    return rows, more


def _row(told: Mapping[str, Any]) -> Row:
    _, name, *version = urlsplit(told["id"]).path.removeprefix("/").split("/")
    attributes = told["attributes"]
    tags = {str(key): str(text) for key, text in (told.get("tags") or {}).items()}
    is_enabled, kind = attributes.get("enabled") is not False, told.get("contentType")
    return Row(name, version[0] if version else "", _time(attributes, "created"), _time(attributes, "updated"), is_enabled, tags, kind)


def _time(attributes: Mapping[str, Any], name: str) -> datetime | None:
    seconds = attributes.get(name)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _codes(error: HttpResponseError) -> frozenset[str]:
    """Those in the error's body, from the outside in."""
    found, told = set[str](), error.error
    inner = getattr(told, "innererror", None)
    while isinstance(inner, dict):
        found.add(str(inner.get("code", "")))
        inner = inner.get("innererror")
    found.add(str(getattr(told, "code", "")))
    return frozenset(code for code in found if _CODE.fullmatch(code))


def _request(error: HttpResponseError) -> str:
    request = _header(error, "x-ms-request-id")
    return request if _ID.fullmatch(request) else ""


def _pause_s(error: HttpResponseError) -> float | None:
    text = _header(error, "Retry-After")
    return min(float(text), _LONGEST_PAUSE_S) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _header(error: HttpResponseError, name: str) -> str:
    headers: Mapping[str, str] = getattr(error.response, "headers", None) or {}
    return str(headers.get(name, ""))
