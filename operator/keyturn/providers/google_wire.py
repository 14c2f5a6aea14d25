"""A connection to Secret Manager by Google's client over gRPC, and what its refusals mean.

A client has a connection of its own, which no other identity's requests go over. gRPC's own retries and back-off are off or
short: who asks again, and when, is the guard's to say. Of an error the status code alone is told: its text quotes what was sent.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # it has no types
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcAsyncIOTransport

from keyturn import __version__
from keyturn.model.errors import AccessDenied, AuthFailed, Conflict, Disabled, Invalid, NotFound, ProviderError, Throttled, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.providers.silence import (
    AUTHORITY,
    CLOSED_PROXY,
    CUT,
    FAILED_PROXY,
    NO_SUCH_NAME,
    NO_SUCH_PROXY,
    NO_TLS,
    NO_WAY,
    NOBODY,
    ODD_PROXY,
    OTHER_NAME,
    OTHER_TIME,
    SILENT_PROXY,
    TIMED_OUT,
    TIMED_OUT_BEHIND,
    UNPAID_PROXY,
    Cause,
    host_of,
    proxy_for,
    silent,
)

CALL_S: Final = 10.0
_CONNECT_MS: Final = 3000
_LARGEST: Final = 4 << 20
"""Bytes of an answer; only lists come near it."""
_LONGEST_PAUSE_S: Final = 3600.0
_WHOSE: Final = "Secret Manager at"
_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # else whoever asks the same server would share its connection
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.min_reconnect_backoff_ms", _CONNECT_MS),  # how long one attempt to connect may take
    ("grpc.client_idle_timeout_ms", 60_000),
    ("grpc.max_receive_message_length", _LARGEST),
    ("grpc.primary_user_agent", f"keyturn/{__version__}"),
)


_ADMIN: Final = "the role Secret Manager Admin, as for every write"
_VIEWER: Final = "as in the role Secret Manager Viewer"
_RIGHTS: Final = {
    "access_secret_version": "secretmanager.versions.access, as in the role Secret Manager Secret Accessor",
    "get_secret": f"secretmanager.secrets.get, {_VIEWER}",
    "get_secret_version": f"secretmanager.versions.get, {_VIEWER}",
    "list_secret_versions": f"secretmanager.versions.list, {_VIEWER}",
    "list_secrets": f"secretmanager.secrets.list, {_VIEWER}",
}
"""What whoever is refused lacks, by the client's method."""
_CAUSES: Final = (
    ("certificate has expired", OTHER_TIME),
    ("certificate is not yet valid", OTHER_TIME),
    ("CERTIFICATE_VERIFY_FAILED", AUTHORITY),
    ("is not in peer certificate", OTHER_NAME),
    ("Hostname Verification Check failed", OTHER_NAME),
    ("WRONG_VERSION_NUMBER", NO_TLS),
    ("Cannot check peer", NO_TLS),
    ("HTTP proxy returned response code 407", UNPAID_PROXY),
    ("HTTP proxy returned response code 403", CLOSED_PROXY),
    ("HTTP proxy returned response code", FAILED_PROXY),
    ("Domain name not found", NO_SUCH_NAME),
    ("Connection refused", NOBODY),
    ("unreachable", NO_WAY),
    ("No route to host", NO_WAY),
    ("Endpoint closing", TIMED_OUT),
    ("Socket closed", CUT),
    ("Connection reset", CUT),
)
"""What stands in the message of gRPC's core where no server answers, and what it means: the first that fits."""
_BEHIND: Final = {NO_SUCH_NAME: NO_SUCH_PROXY, NOBODY: SILENT_PROXY, TIMED_OUT: TIMED_OUT_BEHIND}
"""What it means where a proxy is what was connected to."""


class TooLong(Unavailable):
    """An answer came, and is longer than we take."""


class Wire:
    """One connection. It ends once it was retired and nobody waits for an answer any more."""

    def __init__(self, server: str, authority: bytes | None) -> None:
        # Not gRPC's own roots where somebody named others; None takes those.
        self._server = server
        options = (*_OPTIONS, *_way_to(server))
        self._channel = grpc.aio.secure_channel(server, grpc.ssl_channel_credentials(authority), options=options)
        self._client = SecretManagerServiceAsyncClient(transport=SecretManagerServiceGrpcAsyncIOTransport(channel=self._channel))
        self._asking = 0
        self.is_retired = False
        self._is_closed = False

    async def ask(self, method: str, request: Any, token: Sensitive, what: str, who: str) -> Any:
        """What a method of the client gives; ``what`` was asked for by ``who``, in words. Raises a `ProviderError`."""
        self._asking += 1
        try:
            bearer = (("authorization", f"Bearer {token.reveal().decode('ascii')}"),)
            return await getattr(self._client, method)(request=request, retry=None, timeout=CALL_S, metadata=bearer)
        except GoogleAPICallError as error:
            failed = failure(error, what, method, who, self._server)
        except asyncio.CancelledError:
            # gRPC cancels what is under way on a channel that is closed, and with it whoever waits.
            if not self._is_closed or _is_cancelled():
                raise
            failed = Unavailable("the provider is closed")
        except (grpc.RpcError, asyncio.InvalidStateError, ValueError, TypeError):
            failed = Unavailable("the connection to Secret Manager failed")
        finally:
            self._asking -= 1
            if self.is_retired and not self._asking:
                await self.close()
        raise failed  # here, where no text of the library's hangs on it

    async def retire(self) -> None:
        """Nobody will ask by it any more."""
        self.is_retired = True
        if not self._asking:
            await self.close()

    async def close(self) -> None:
        """At once; may be called twice."""
        if not self._is_closed:
            self._is_closed = True
            await self._channel.close()


def _way_to(server: str) -> tuple[tuple[str, Any], ...]:
    """By the proxy of the environment, as all else of ours goes: gRPC by itself reads other variables, and some in lower case alone.

    Raises `Unavailable`.
    """
    if not (proxy := proxy_for(server)):
        return (("grpc.enable_http_proxy", 0),)
    url = proxy if "://" in proxy else f"http://{proxy}"
    if not url.startswith("http://"):
        # Without the text, which may hold a password. gRPC would go past it without a word.
        raise Unavailable(silent(server, ODD_PROXY, whose=_WHOSE))
    return (("grpc.http_proxy", url.rstrip("/")),)


def failure(error: GoogleAPICallError, what: str, method: str, who: str, server: str) -> ProviderError:
    """The error that a refusal stands for, or that ``server`` gave no answer; ``what`` was asked for by this method, and by ``who``."""
    match code_of(error):
        case "NOT_FOUND":
            return NotFound(f"Secret Manager does not have {what}")
        case "PERMISSION_DENIED":
            return AccessDenied(f"Google refuses {who} {what}; grant it {_RIGHTS.get(method, _ADMIN)}")
        case "UNAUTHENTICATED":
            return AuthFailed("Google does not know this identity: its token has ended, or its credential was revoked")
        case "RESOURCE_EXHAUSTED" if _is_ours(error):
            return TooLong("Secret Manager's answer is too long")
        case "RESOURCE_EXHAUSTED":
            return Throttled("the project's quota for Secret Manager is used up", retry_after=_pause_s(error))
        case "INVALID_ARGUMENT" | "OUT_OF_RANGE":
            return Invalid(f"Secret Manager cannot make sense of {what}; check project, location, key and version")
        case "FAILED_PRECONDITION":
            return Disabled(f"the state of {what} does not allow it")
        case "ABORTED" | "ALREADY_EXISTS":
            return Conflict(f"another write to {what} came between")
        case "UNAVAILABLE" | "DEADLINE_EXCEEDED" if (cause := _cause_of(error, server)) is not None:
            return Unavailable(silent(server, cause, whose=_WHOSE))
        case code:
            return Unavailable(f"{_WHOSE} {host_of(server)} gave no answer ({code or 'UNKNOWN'})")


def _cause_of(error: GoogleAPICallError, server: str) -> Cause | None:
    """Why nobody answers. Of gRPC's words one sign is looked for, and none is shown."""
    message = error.message or ""
    cause = next((cause for sign, cause in _CAUSES if sign in message), None)
    return _BEHIND.get(cause, cause) if cause is not None and proxy_for(server) else cause


def code_of(error: GoogleAPICallError) -> str:
    """The name of its status."""
    code = error.grpc_status_code
    return str(code.name) if code is not None else ""


def _is_ours(error: GoogleAPICallError) -> bool:
    """Whether gRPC itself refused to take an answer: it says so by the same status as a server that asks for a pause."""
    return "message larger than max" in (error.message or "")


def _pause_s(error: GoogleAPICallError) -> float | None:
    for detail in error.details or ():
        if (delay := getattr(detail, "retry_delay", None)) is not None:
            return float(min(delay.seconds + delay.nanos / 1e9, _LONGEST_PAUSE_S))
    return None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def labels_of(raw: Any) -> Mapping[str, str]:
    """A plain copy of a map of texts."""
    return {str(key): str(text) for key, text in raw.items()}
