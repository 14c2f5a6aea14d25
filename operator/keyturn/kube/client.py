"""The operator's own client for the API server: few verbs, one TLS context, errors mapped to ours.

The hot path of every write, so that it stays small: what is under it may change when figures ask
for it. Never logs a body, and asks for metadata back wherever an answer would hold data.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from keyturn import __version__
from keyturn.kube.config import ClusterConfig
from keyturn.model.denial import Denial
from keyturn.model.errors import (
    AlreadyExists,
    Busy,
    ClusterConflict,
    ClusterError,
    Expired,
    Forbidden,
    NamespaceTerminating,
    ObjectGone,
    Silent,
    Unprocessable,
)

USER_AGENT = f"keyturn/{__version__}"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

POOL = 32
TIMEOUT_S = 30.0


class Cause(msgspec.Struct):
    """One cause of a refusal. Its message may quote what was sent, so it is not even decoded."""

    reason: str = ""
    field: str = ""


class Details(msgspec.Struct):
    causes: list[Cause] = []
    retryAfterSeconds: int = 0  # noqa: N815  # the API's own name


class Refusal(msgspec.Struct):
    """A Kubernetes Status. ``message`` may quote what was sent: it is looked into, and never shown."""

    reason: str = ""
    message: str = ""
    details: Details | None = None


_refusal = msgspec.json.Decoder(Refusal)

_DENIALS = (
    # As deploy/tenant-identity and the chart have it.
    ("is not one whose ServiceAccounts the operator may have tokens of", Denial.NAMESPACE),
    ("for one audience each, and for those only that the ConfigMap", Denial.AUDIENCE),
    # As the API server says it of every right.
    (" cannot ", Denial.RIGHT),
)
"""What stands in the message of a 403, and what it means: the first that fits."""


class Client:
    """Requests to one API server as one identity. Raises a `ClusterError` for whatever is not a success.

    ``may_write`` is called right before a request is sent that is no read, and raises where it may not be.
    """

    def __init__(self, config: ClusterConfig, may_write: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._session = _session(config, POOL, may_write)
        # Each watch holds a connection for as long as it lasts; hundreds of them must not keep requests waiting.
        self._streams = _session(config, 0, may_write)

    async def request(
        self,
        verb: str,
        path: str,
        body: bytes | None = None,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = JSON,
        content: str = JSON,
        what: str = "",
    ) -> bytes:
        """One request; gives the answer's body. ``what`` names it in error messages."""
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content
        async with self._sent(verb, path, query, headers, body, what or f"{verb} {path}") as response:
            return await response.read()

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str], accept: str, silent_s: float, what: str = ""
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """A watch, or what is long: the body as it comes, without a time limit on the whole.

        Raises `Silent` where nothing more comes for ``silent_s`` seconds.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silent_s)
        async with self._sent("GET", path, query, {"Accept": accept}, None, what or f"watch {path}", limits) as response:
            try:
                yield response.content
            except aiohttp.SocketTimeoutError:
                raise Silent(f"{what or path}: nothing came for {silent_s:g} s") from None
            finally:
                # Who leaves in the middle says no farewell by TLS, for which a dead server would have us wait.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()

    async def close(self) -> None:
        await self._session.close()
        await self._streams.close()

    @contextlib.asynccontextmanager
    async def _sent(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: dict[str, str],
        body: bytes | None,
        what: str,
        limits: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = URL(f"{self._config.server}{path}{'?' + urlencode(query) if query else ''}", encoded=True)
        more = {"timeout": limits} if limits else {}
        session = self._streams if limits else self._session
        try:
            response = await self._ask(session, verb, url, headers, body, more)
            async with response:
                if response.status >= 300:
                    raise refusal(response.status, await response.read(), what, response.headers.get("Retry-After", ""))
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            # The class says what happened; the text of a library may hold addresses and headers.
            raise Busy(f"{what}: no answer from the API server ({type(error).__name__})") from None

    async def _ask(
        self, session: aiohttp.ClientSession, verb: str, url: URL, headers: dict[str, str], body: bytes | None, more: Mapping[str, Any]
    ) -> aiohttp.ClientResponse:
        """Sends, and once more where the token was replaced in its file since we read it."""
        sent = self._config.token.authorize(headers)
        response = await session.request(verb, url, data=body, headers=headers, allow_redirects=False, **more)
        if response.status == 401:
            self._config.token.expire()
            if self._config.token.authorize(headers) != sent:
                response.release()
                return await session.request(verb, url, data=body, headers=headers, allow_redirects=False, **more)
        return response


class _Gate(aiohttp.TCPConnector):
    """Asks for leave once there is a connection: a request may wait seconds for one, and the lease be lost meanwhile."""

    def __init__(self, may_write: Callable[[], None], **settings: Any) -> None:
        super().__init__(**settings)
        self._may_write = may_write

    async def connect(  # the names are aiohttp's
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if req.method != "GET":
            try:
                self._may_write()
            except BaseException:
                connection.release()
                raise
        return connection


def _session(config: ClusterConfig, limit: int, may_write: Callable[[], None]) -> aiohttp.ClientSession:
    """Without an identity of connections to name: the connector is capped, cookies are useless."""
    return aiohttp.ClientSession(
        connector=_Gate(may_write, limit=limit, ssl=config.tls, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=10),
    )


def refusal(status: int, body: bytes, what: str, retry_after: str = "") -> ClusterError:
    """The error for an answer that is no success."""
    try:
        told = _refusal.decode(body)
    except msgspec.MsgspecError:
        told = Refusal()
    details = told.details or Details()
    causes = tuple(cause.field for cause in details.causes if cause.field)
    pause = float(retry_after) if retry_after.isdigit() else float(details.retryAfterSeconds) or None
    told_as = f"{what}: {status} {told.reason}".rstrip()
    kind: type[ClusterError] = Busy
    denial = next((meaning for sign, meaning in _DENIALS if sign in told.message), Denial.OTHER)
    match status, told.reason:
        case 404, _:
            kind = ObjectGone
        case 403, _ if any(cause.reason == "NamespaceTerminating" for cause in details.causes):
            kind = NamespaceTerminating
        case 401, _:
            # Nothing about the object: whatever is asked is refused until the log-in is mended.
            told_as = f"{told_as}: the API server does not know this log-in; renew the token or the client certificate"
        case 403, _:
            remedy = "give the operator's ServiceAccount this right back (deploy/base has its role)"
            if denial is not Denial.RIGHT:
                remedy = "an admission policy or a quota of the namespace refuses it; change that, or the ManagedSecret"
            kind, told_as = Forbidden, f"{told_as}: {remedy}"
        case 409, "AlreadyExists":
            kind = AlreadyExists
        case 409, _:
            kind = ClusterConflict
        case 410, _:
            kind = Expired
        case 400 | 413 | 422, _:
            kind = Unprocessable
    error = kind(told_as, status=status, causes=causes, retry_after=pause)
    if isinstance(error, Forbidden):
        error.denial = denial
    return error


def decode(body: bytes) -> dict[str, Any]:
    """A JSON object of the API server's, for the rare paths that need all of it."""
    found = msgspec.json.decode(body)
    return found if isinstance(found, dict) else {}
