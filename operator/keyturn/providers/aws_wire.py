"""What is exchanged with AWS, without its SDK: signed requests, answers, and what failures mean.

AWS's prose is looked at for one word, and never shown: it quotes what was sent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from keyturn.model.errors import AccessDenied, AuthFailed, Conflict, Invalid, NotFound, ProviderError, Throttled, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.providers.dial import NO_ANSWER, Answer

_CODE: Final = re.compile("[A-Za-z.]{1,64}", re.ASCII)
_REQUEST_ID: Final = re.compile("[0-9A-Za-z-]{1,64}", re.ASCII)

AUTH: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidIdentityToken",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Codes that are about the log-in, and not about what is asked."""

_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized"})
_KMS: Final = {"DecryptionFailure": "kms:Decrypt", "EncryptionFailure": "kms:GenerateDataKey"}
"""Codes that are about the key of KMS by which a secret is encrypted, and what whoever asks must be let to do with it."""
_BUSY: Final = frozenset(
    {
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_FAILED: Final = frozenset({"InternalFailure", "InternalServiceError", "ServiceUnavailable", "ServiceUnavailableException"})
_OTHER: Final = frozenset({"PreconditionNotMetException", "ResourceExistsException"})


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """What requests are signed with, when it is due for another one, and when it ends."""

    key_id: str
    secret: Sensitive
    token: Sensitive | None = None
    due_at_s: float = float("inf")
    ends_at_s: float = float("inf")

    def is_as(self, other: "Pass") -> bool:
        """Says that AWS would know both for one."""
        return self.key_id == other.key_id and self.secret == other.secret and self.token == other.token


@dataclass(frozen=True, slots=True)
class Signed:
    """A request, ready to be sent."""

    server: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service said: ``told``, which is as the reader of its answer has it, where it did as it was asked, else the ``code`` of
    its refusal.

    ``is_deletion``: it refuses since the secret is marked for deletion.
    """

    status: int
    told: Any = field(default_factory=dict, repr=False)
    code: str = ""
    request_id: str = ""
    pause_s: float | None = None
    is_deletion: bool = False

    @property
    def is_success(self) -> bool:
        return self.status < 300 and not self.code

    @property
    def is_stranger(self) -> bool:
        """Says that the log-in is refused, whatever was asked."""
        return self.code in AUTH


def speaks_of_deletion(code: object, message: object) -> bool:
    """Says that this refusal is that of a secret which is marked for deletion: AWS has no code of its own for it."""
    return code == "InvalidRequestException" and "delet" in str(message).lower()


def request_id_of(answer: Answer) -> str:
    """AWS's own name for a request; '' where it gives none."""
    found = answer.headers.get("x-amzn-requestid", "")
    return found if _REQUEST_ID.fullmatch(found) else ""


def failure(reply: Reply, what: str, operation: str = "", who: str = "this identity") -> ProviderError:
    """The error that a reply which is no success stands for; ``what`` was asked for, such as "the secret shop/db", and by ``who``.

    ``operation`` of Secrets Manager is the SDK's name of it, of which the right to it is told.
    """
    request, code = reply.request_id, reply.code
    if code in _BUSY or reply.status == 429:
        return Throttled("AWS asks for a pause", request_id=request, retry_after=reply.pause_s)
    if code in _FAILED or reply.status >= 500:
        return Unavailable(f"AWS failed (HTTP {reply.status})", request_id=request, retry_after=reply.pause_s)
    if not code:
        return Unavailable(NO_ANSWER, request_id=request)
    if code in AUTH:
        return AuthFailed("AWS does not know this identity: its credentials are wrong, or have ended", request_id=request)
    if code in _KMS:
        remedy = f"allow {who} {_KMS[code]} on that key, and see that it is enabled"
        return AccessDenied(f"AWS KMS refuses the key that encrypts {what}; {remedy}", request_id=request)
    if code in _DENIED:
        return AccessDenied(f"AWS refuses {who} {what}{_right_to(operation)}", request_id=request)
    if reply.is_deletion:
        return NotFound(f"AWS Secrets Manager has marked {what} for deletion", request_id=request)
    if code == "ResourceNotFoundException":
        return NotFound(f"AWS Secrets Manager does not have {what}", request_id=request)
    if code in _OTHER:
        return Conflict(f"AWS has another write of {what}", request_id=request)
    if code == "LimitExceededException":
        return Invalid(f"a quota of AWS's is reached by {what}", request_id=request)
    if code == "OptInRequired":
        return AccessDenied(f"AWS has not turned on for this account what {what} takes; enable service and region", request_id=request)
    if reply.status == HTTPStatus.FORBIDDEN:
        named = f" ({code})" if _CODE.fullmatch(code) else ""
        return AccessDenied(f"AWS refuses {who} {what}{named}", request_id=request)
    return Invalid(f"AWS cannot make sense of {what} (HTTP {reply.status}); check name, version and value", request_id=request)


def _right_to(operation: str) -> str:
    """What to do about a refusal, '' where the right to it is not known here."""
    action = "".join(word.capitalize() for word in operation.split("_"))
    of_the_key = ", and kms:Decrypt where a KMS key of yours encrypts it" if operation == "get_secret_value" else ""
    return f"; allow it secretsmanager:{action}{of_the_key}" if action else ""
