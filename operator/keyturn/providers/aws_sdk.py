"""AWS's SDK, as what it knows best: parameters, endpoints, signatures, answers. Nothing is sent by it.

The SDK hands each request over, signed, before it would send it; who sends is the dialer, which knows where a tenant's requests may
go. So no thread waits for a server, and the SDK's own retries, redirects and time-outs have nothing to do. The one that does send
is the chain by which the operator finds its own identity. Importing this takes a third of a second: never in the event loop.
"""

import functools
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, NoReturn, Protocol
from urllib.parse import urlsplit

import botocore.credentials  # type: ignore[import-untyped]  # it has no types
import botocore.exceptions  # type: ignore[import-untyped]  # as above
import botocore.parsers  # type: ignore[import-untyped]  # as above
import botocore.session  # type: ignore[import-untyped]  # as above
from botocore.config import Config  # type: ignore[import-untyped]  # as above

from keyturn import __version__
from keyturn.model.aws import is_role
from keyturn.model.errors import AuthFailed, Invalid, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.providers.aws_wire import Pass, Reply, Signed, request_id_of, speaks_of_deletion
from keyturn.providers.dial import Answer

# At DEBUG it writes whole requests and answers, and so values, whatever level the program's own loggers have.
logging.getLogger("botocore").setLevel(logging.WARNING)
# A refused log-in it logs by itself, with all that AWS said and a traceback. Ours says what there is to say.
logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)

_CHAIN: Final = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1})
"""For the requests of the chain: a token exchanged, a role assumed."""
_CONFIG: Final = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 1},
    user_agent_extra=f"keyturn/{__version__}",
)

_CODE: Final = re.compile("[A-Za-z]{1,64}", re.ASCII)

_SILENT: Final = (
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.MetadataRetrievalError,
    # What the SDK makes of an answer that has not what it looks for.
    AttributeError,
    LookupError,
    TypeError,
)

_signs_as: ContextVar[Pass | None] = ContextVar("signs_as", default=None)
_turn: Final = threading.Lock()


class _Taken(Exception):
    """No error: a request is ready, and is not to be sent from here."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


def _take(request: Any, **_: object) -> NoReturn:
    raise _Taken(request)


class _Current:
    """Credentials, as the SDK asks for them: those of the call that is being signed."""

    method: Final = "keyturn"
    account_id: Final = None

    def get_frozen_credentials(self) -> object:
        way_in = _signs_as.get()
        if way_in is None:
            raise RuntimeError
        token = way_in.token.reveal().decode() if way_in.token else None
        return botocore.credentials.ReadOnlyCredentials(way_in.key_id, way_in.secret.reveal().decode(), token)

    def get_deferred_property(self, _: str) -> Callable[[], None]:
        return lambda: None


class _Provider:
    METHOD: Final = "keyturn"
    CANONICAL_NAME: Final = None

    def load(self) -> _Current:
        return _Current()


@functools.cache
def _loader() -> Any:
    """The SDK's models. Every session that has one of its own reads them again, and keeps ten MiB for them."""
    return botocore.session.get_session().get_component("data_loader")


def _session() -> Any:
    made = botocore.session.get_session()
    made.register_component("data_loader", _loader())
    return made


class Sdk:
    """One service, in one region or at one endpoint. Its methods take a millisecond: they are for threads.

    The environment's settings of the SDK hold for it, such as AWS_ENDPOINT_URL_STS, but none of its credentials.
    """

    def __init__(self, service: str, region: str, endpoint: str) -> None:
        problem = ""
        try:
            # What the sessions share is filled by the first one.
            with _turn:
                session = _session()
                session.register_component("credential_provider", botocore.credentials.CredentialResolver([_Provider()]))
                self._client = session.create_client(service, region_name=region, endpoint_url=endpoint or None, config=_CONFIG)
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            problem = type(error).__name__
        if problem:
            raise Unavailable(f"AWS's SDK makes no client for {service} in {region}: {problem}; see its settings in the environment")
        # For all of its calls, in whatever thread.
        self._client.meta.events.register("before-send", _take)
        self._model = self._client.meta.service_model
        self._begin = b"{" if self._model.resolved_protocol == "json" else b"<"
        self._parser = botocore.parsers.create_parser(self._model.resolved_protocol)

    def sign(self, operation: str, asked: Mapping[str, object], way_in: Pass | None) -> Signed:
        """A request, signed where it comes with a pass. ``operation`` is the SDK's method. Raises `Invalid`."""
        before = _signs_as.set(way_in)
        try:
            getattr(self._client, operation)(**asked)
        except _Taken as taken:
            return _signed(taken.request)
        except (botocore.exceptions.BotoCoreError, ValueError, TypeError):
            # Their texts quote parameters, and so a value.
            pass
        finally:
            _signs_as.reset(before)
        raise Invalid("AWS's SDK refuses the request; check names and versions")

    def read(self, operation: str, answer: Answer) -> Reply:
        """What an answer says. What is no answer of this service's is a reply without a code, and no success."""
        shape = self._model.operation_model(self._client.meta.method_to_api_mapping[operation]).output_shape
        response = {"status_code": answer.status, "headers": answer.headers, "body": answer.body, "context": {}}
        # For the SDK a page of HTML is an answer in which nothing stands, and so a value that is not there.
        is_theirs = bool(request_id_of(answer)) and answer.body.lstrip()[:1] == self._begin
        try:
            parsed = self._parser.parse(response, shape) if is_theirs else None
        except Exception:  # noqa: BLE001  # a body of any other form meets any error there, and its text quotes the body
            parsed = None
        request_id = request_id_of(answer)
        if not isinstance(parsed, dict) or (answer.status >= 300 and "Error" not in parsed):
            return Reply(max(answer.status, 300), request_id=request_id, pause_s=answer.pause_s)
        if answer.status < 300:
            return Reply(answer.status, parsed, request_id=request_id)
        code, message = parsed["Error"].get("Code"), parsed["Error"].get("Message")
        code = code if isinstance(code, str) and not code.isdecimal() else ""
        is_deletion = speaks_of_deletion(code, message)
        return Reply(answer.status, code=code, request_id=request_id, pause_s=answer.pause_s, is_deletion=is_deletion)


def _signed(request: Any) -> Signed:
    url = urlsplit(request.url)
    headers = {name: value.decode("latin-1") if isinstance(value, bytes) else str(value) for name, value in request.headers.items()}
    # The dialer counts for itself.
    headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
    body = request.body or b""
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return Signed(f"{url.scheme}://{url.netloc}", path, headers, body if isinstance(body, bytes) else str(body).encode())


def _refused(error: Exception) -> str:
    """What it means that an identity which is there was of no use; '' where none is. Of AWS's words its code alone is told."""
    if isinstance(error, botocore.exceptions.ProfileNotFound):
        return "AWS_PROFILE names no profile that the files of AWS's SDK have; correct it, or unset it"
    role = os.environ.get("AWS_ROLE_ARN", "")
    if isinstance(error, botocore.exceptions.ClientError):
        code = error.response.get("Error", {}).get("Code")
        told = f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""
        named = f"the role {role}" if is_role(role) else "the role that its settings name"
        return f"AWS does not let this process be {named}{told}; check that it is there, its trust policy and its OIDC provider"
    if isinstance(error, OSError) and role and os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "the file that AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read; have the token projected there, as the webhook of IRSA does"
    return ""


class _Found(Protocol):
    def get_frozen_credentials(self) -> Any: ...


class Chain:
    """The operator's own identity, from wherever the SDK finds it: variables, files, a web identity, the pod's or the machine's role.

    Asks servers, and waits for them: each method is for a thread of its own.
    """

    def __init__(self, region: str) -> None:
        self._region = region
        self._found: _Found | None = None

    def find(self, *, is_anew: bool) -> Pass:
        """Who we are now. Raises `AuthFailed` or `Unavailable`. ``is_anew``: what was found before is of no use any more."""
        frozen, problem, is_silent, refusal = None, "", False, ""
        try:
            if is_anew or self._found is None:
                self._found = self._searched()
            frozen = self._found.get_frozen_credentials() if self._found else None
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError, ValueError, *_SILENT) as error:
            is_silent = isinstance(error, _SILENT)
            self._found, problem = None, type(error).__name__
            refusal = _refused(error)
        # Here, where no error of the SDK's hangs on ours.
        if problem == botocore.exceptions.SSLError.__name__:
            raise Unavailable(
                "whoever gives the operator its AWS identity shows a certificate that is not trusted; name its authority in SSL_CERT_FILE"
            )
        if is_silent:
            raise Unavailable("whoever gives the operator its AWS identity does not answer, or gave none")
        if refusal:
            raise AuthFailed(refusal)
        if frozen is None:
            raise AuthFailed(
                "there is no AWS identity here: an operator's ServiceAccount is given a role (EKS Pod Identity or IRSA), a program has"
                " AWS_PROFILE or AWS_ACCESS_KEY_ID, and a provider may name auth" + (f" ({problem})" if problem else "")
            )
        return Pass(frozen.access_key, Sensitive.of(frozen.secret_key), Sensitive.of(frozen.token) if frozen.token else None)

    def _searched(self) -> _Found | None:
        with _turn:
            session = _session()
        session.set_config_variable("region", self._region)
        # The SDK has a variable of its own for whom to trust, and knows no other.
        if (trusted := os.environ.get("SSL_CERT_FILE")) and not os.environ.get("AWS_CA_BUNDLE"):
            session.set_config_variable("ca_bundle", trusted)
        session.set_default_client_config(_CHAIN)
        found: _Found | None = session.get_credentials()
        return found
