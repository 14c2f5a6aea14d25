"""What Vault's answers mean, whatever was asked: their envelope, their failures, and how paths are written.

Vault's prose (``errors``, ``warnings``) is looked at for being there, and never shown: it quotes what was sent. What is no
answer of a Vault gets one text, whatever it was: else a tenant could sound out what listens at an address.
"""

import re
from typing import Any, Final
from urllib.parse import quote

import msgspec

from keyturn.model.errors import AccessDenied, Invalid, NotFound, ProviderError, Throttled, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.providers.dial import NO_ANSWER, Answer

# The first that a Vault writes, and all that is seen of it where the answer was cut.
_BEGIN: Final = re.compile(rb'\s*\{\s*"request_id"\s*:\s*"')
_ID: Final = re.compile("[0-9a-f-]{1,64}")
_NULL: Final = msgspec.Raw(b"null")


class Auth(msgspec.Struct):
    """What a log-in or a renewal gave. The life is in seconds, 0 for one without an end."""

    client_token: Sensitive
    lease_duration: int = 0
    renewable: bool = False


class Envelope(msgspec.Struct):
    """What is around every answer. ``data`` is as the server wrote it."""

    request_id: str = ""
    data: msgspec.Raw = _NULL
    auth: Auth | None = None
    errors: list[str] | None = None
    warnings: list[Any] | None = None

    def __repr__(self) -> str:
        return f"Envelope({self.request_id})"

    @property
    def has_data(self) -> bool:
        return bytes(self.data) != b"null"


def _wrap(_: type, text: Any) -> Sensitive:
    if not isinstance(text, str):
        raise NotImplementedError
    return Sensitive.of(text)


_envelope: Final = msgspec.json.Decoder(Envelope, dec_hook=_wrap)


def is_vaults(answer: Answer) -> bool:
    """Says that a Vault answers so, to whatever it answers with something: to all but the return of a token."""
    return _BEGIN.match(answer.body) is not None if answer.is_cut else _opened(answer.body) is not None


def unwrap(answer: Answer) -> Envelope:
    """The envelope; raises `Unavailable` where this is none of Vault's."""
    envelope = Envelope() if answer.status == 204 else _opened(answer.body)
    if envelope is None:
        raise Unavailable(NO_ANSWER)
    if not _ID.fullmatch(envelope.request_id):
        envelope.request_id = ""  # what is none of Vault's ids would be the server's prose in our log
    return envelope


def _opened(body: bytes) -> Envelope | None:
    try:
        envelope = _envelope.decode(body)
    except (msgspec.DecodeError, NotImplementedError, UnicodeError, RecursionError):
        return None
    return envelope if envelope.request_id or envelope.errors is not None else None


def failure(answer: Answer, envelope: Envelope, what: str) -> ProviderError:
    """The error that an answer which is no success stands for; ``what`` was asked for, such as "the key shop/db"."""
    request = envelope.request_id
    match answer.status:
        case 401 | 403:
            return AccessDenied(f"Vault refuses this identity {what}", request_id=request)
        case 404:
            return NotFound(f"Vault does not have {what}", request_id=request)
        case 429:
            return Throttled("Vault asks for a pause", request_id=request, retry_after=answer.pause_s)
        case 503:
            return Unavailable("Vault is sealed or not ready (HTTP 503)", request_id=request)
        case 412 | 472 | 473:
            return Unavailable(f"this node of Vault is behind the others (HTTP {answer.status})", request_id=request)
        case status if 400 <= status < 500:
            return Invalid(f"Vault cannot make sense of {what} (HTTP {status}); check path, version and key", request_id=request)
        case status:
            return Unavailable(f"Vault failed (HTTP {status})", request_id=request)


def encode(path: str, what: str) -> str:
    """A path for a URL, part by part; raises `Invalid` where a part is empty, or one that means another place."""
    parts = path.split("/")
    if not all(parts) or {".", ".."} & set(parts):
        raise Invalid(f"{what} {path!r} has an empty part, or one that is '.' or '..'; write it as a/b/c")
    if not path.isprintable():
        raise Invalid(f"{what} {path!r} has characters that Vault does not take in a path")
    return "/".join(quote(part, safe="") for part in parts)
