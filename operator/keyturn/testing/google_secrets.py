"""A Secret Manager that speaks gRPC over TLS, for tests: Google's own client talks to it, and is refused as by Google.

The package of Google's client brings no server, so its messages are put on the wire by generic handlers. Rights, quotas, pages,
checksums and states are kept; rules of what is held are ``google_store``'s. Needs the extra `gcp`; listens on loopback alone.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # it has no types
from google.cloud.secretmanager_v1.types import resources, service
from google.protobuf import any_pb2, duration_pb2, empty_pb2  # type: ignore[import-untyped]  # it has no types
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it has no types

from keyturn.providers.google_names import crc32c
from keyturn.testing.google_store import DESTROYED, DISABLED, ENABLED, HeldSecret, HeldVersion, Project, Refused

SERVICE: Final = "google.cloud.secretmanager.v1.SecretManagerService"
MOST_OF_A_PAGE: Final = 25_000
_LOOKS_EVERY_S: Final = 0.01

_NAME: Final = re.compile(
    "projects/(?P<project>[^/]+)(?:/locations/(?P<location>[^/]+))?(?:/secrets/(?P<secret>[^/]+)(?:/versions/(?P<version>[^/]+))?)?"
)

# By the names of the calls: the right that each takes, and which quota of the project it is counted to.
_RIGHTS: Final = {
    "AccessSecretVersion": ("versions.access", "access"),
    "GetSecretVersion": ("versions.get", "read"),
    "ListSecretVersions": ("versions.list", "read"),
    "GetSecret": ("secrets.get", "read"),
    "ListSecrets": ("secrets.list", "read"),
    "CreateSecret": ("secrets.create", "write"),
    "UpdateSecret": ("secrets.update", "write"),
    "DeleteSecret": ("secrets.delete", "write"),
    "AddSecretVersion": ("versions.add", "write"),
    "EnableSecretVersion": ("versions.enable", "write"),
    "DisableSecretVersion": ("versions.disable", "write"),
    "DestroySecretVersion": ("versions.destroy", "write"),
}
ROLES: Final = {
    "accessor": frozenset({"versions.access"}),
    "viewer": frozenset({"secrets.get", "secrets.list", "versions.get", "versions.list"}),
    "admin": frozenset(right for right, _ in _RIGHTS.values()),
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came in: whose it was, and what about."""

    method: str
    name: str
    who: str


@dataclass(slots=True)
class GoogleSecrets:
    """One project at one endpoint: the global one, or a region's where ``location`` names it.

    ``who`` says whose a token is. ``quotas`` are calls per minute by kind (access, read, write); those that are not named have no end.
    ``trouble`` says by what a call is answered in place of all else, None by nothing; ``loses`` names the calls that are done and
    whose answers get lost.
    """

    who: Callable[[str], str]
    project: str = "shop"
    number: int = 424242
    location: str = ""
    held: Project = field(default_factory=Project)
    grants: list[tuple[str, str, str]] = field(default_factory=list)
    denied: set[str] = field(default_factory=set)
    quotas: dict[str, int] = field(default_factory=dict)
    trouble: Callable[[], Refused | None] = lambda: None
    loses: set[str] = field(default_factory=set)
    damages: bool = False
    clock: Callable[[], float] = time.time
    calls: list[Call] = field(default_factory=list)
    port: int = 0
    _used: Counter[tuple[str, int]] = field(default_factory=Counter)
    _is_silent: bool = False
    _server: Any = None

    @property
    def target(self) -> str:
        return f"localhost:{self.port}"

    async def start(self, key: bytes, chain: bytes) -> None:
        """Listens on the port that it had, if any, with a key and a chain of certificates in PEM."""
        self._is_silent = False
        self._server = grpc.aio.server()
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._handler(name), request_deserializer=getattr(service, f"{name}Request").deserialize, response_serializer=_serialized
            )
            for name in _RIGHTS
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", grpc.ssl_server_credentials([(key, chain)]))
        await self._server.start()

    async def stop(self) -> None:
        """Nobody listens any more, and what is under way is cut."""
        if self._server is not None:
            await self._server.stop(None)

    def grant(self, who: str, role: str, secret: str = "") -> None:
        """A role of `ROLES` on the project, or on one of its secrets."""
        self.grants.append((who, role, secret))

    @contextmanager
    def troubled(self, status: str, pause_s: float | None = None) -> Iterator[None]:
        """Every call is answered with this status."""
        self.trouble = lambda: Refused(status, "kt-canary-prose", pause_s)
        yield
        self.trouble = lambda: None

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Calls are taken and not answered."""
        self._is_silent = True
        yield
        self._is_silent = False

    def count(self, method: str, who: str | None = None) -> int:
        return sum(call.method == method and who in (None, call.who) for call in self.calls)

    def _handler(self, method: str) -> Callable[[Any, Any], Awaitable[Any]]:
        async def serve(request: Any, context: Any) -> Any:
            try:
                return await self._serve(method, request, dict(context.invocation_metadata()))
            except Refused as refused:
                told = refused
            details = (("grpc-status-details-bin", _details(told)),)
            return await context.abort(grpc.StatusCode[told.status], str(told), details)

        return serve

    async def _serve(self, method: str, request: Any, metadata: dict[str, Any]) -> Any:
        right, kind = _RIGHTS[method]
        name = request.secret.name if method == "UpdateSecret" else getattr(request, "name", "") or getattr(request, "parent", "")
        who = self.who(str(metadata.get("authorization", "")).removeprefix("Bearer "))
        self.calls.append(Call(method, name, who))
        while self._is_silent:  # noqa: ASYNC110  # whoever says so may be in another loop
            await asyncio.sleep(_LOOKS_EVERY_S)
        if trouble := self.trouble():
            raise trouble
        if not who:
            raise Refused("UNAUTHENTICATED", "Request had invalid authentication credentials.")
        parts = self._parts(name)
        self._check_right(who, right, parts.get("secret") or "")
        self._check_quota(kind)
        answer = await getattr(self, f"_{method}")(request, parts.get("secret") or "", parts.get("version") or "")
        if method in self.loses:
            raise Refused("UNAVAILABLE", "kt-canary-prose")
        return answer

    def _parts(self, name: str) -> dict[str, str | None]:
        found = _NAME.fullmatch(name)
        if found is None or (found["location"] or "") != self.location:
            raise Refused("INVALID_ARGUMENT", f"Resource ID [{name}] is not in a valid format.")
        if found["project"] not in {self.project, str(self.number)}:
            raise Refused("PERMISSION_DENIED", f"Permission denied on resource project {found['project']}.")
        return found.groupdict()

    def _check_right(self, who: str, right: str, secret: str) -> None:
        has = any(right in ROLES[role] and grantee == who and where in {"", secret} for grantee, role, where in self.grants)
        if not has or secret in self.denied:
            raise Refused("PERMISSION_DENIED", f"Permission 'secretmanager.{right}' denied for resource '{secret}' (or it may not exist).")

    def _check_quota(self, kind: str) -> None:
        minute = int(self.clock() // 60)
        self._used[kind, minute] += 1
        if self._used[kind, minute] > self.quotas.get(kind, 1 << 60):
            raise Refused("RESOURCE_EXHAUSTED", f"Quota exceeded for quota metric '{kind}'", 60 - self.clock() % 60)

    # -- the calls, by the names that the service has for them -------------------------------------------------------------------

    async def _AccessSecretVersion(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        found = self.held.access(secret, version)
        payload = resources.SecretPayload(data=found.data, data_crc32c=await crc32c(found.data) ^ self.damages)
        return service.AccessSecretVersionResponse(name=self._version_name(secret, found), payload=payload)

    async def _GetSecretVersion(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        return self._version(secret, self.held.version(secret, version))

    async def _ListSecretVersions(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        versions, token = _paged(self.held.seen(secret).versions[::-1], request)
        told = [self._version(secret, each) for each in versions]
        return service.ListSecretVersionsResponse(versions=told, next_page_token=token)

    async def _GetSecret(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        return self._secret(self.held.seen(secret))

    async def _ListSecrets(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        found = self.held.listed(request.filter)
        listed, token = _paged(found, request)
        return service.ListSecretsResponse(secrets=[self._secret(each) for each in listed], next_page_token=token, total_size=len(found))

    async def _CreateSecret(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        if ("replication" in request.secret) == bool(self.location):
            raise Refused("INVALID_ARGUMENT", "Field [secret.replication] is needed for a global secret, and for no regional one.")
        made = self.held.create(request.secret_id, dict(request.secret.labels), dict(request.secret.annotations))
        return self._secret(made)

    async def _UpdateSecret(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        paths = list(request.update_mask.paths)
        if not paths or set(paths) - {"labels", "annotations", "version_aliases"}:
            raise Refused("INVALID_ARGUMENT", "Field [update_mask] is not supported")
        changes = {path: dict(getattr(request.secret, path)) for path in paths}
        return self._secret(self.held.update(secret, request.secret.etag, changes))

    async def _DeleteSecret(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        self.held.secret(secret)
        del self.held.secrets[secret]
        return empty_pb2.Empty()

    async def _AddSecretVersion(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        payload = request.payload
        is_summed = "data_crc32c" in payload
        if is_summed and payload.data_crc32c != await crc32c(payload.data):
            raise Refused("INVALID_ARGUMENT", "the checksum of the payload does not match")
        return self._version(secret, self.held.add(secret, payload.data), is_summed=is_summed)

    async def _EnableSecretVersion(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        return self._version(secret, self.held.set_state(secret, version, ENABLED))

    async def _DisableSecretVersion(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        return self._version(secret, self.held.set_state(secret, version, DISABLED))

    async def _DestroySecretVersion(self, request: Any, secret: str, version: str) -> Any:  # noqa: ARG002, N802
        return self._version(secret, self.held.set_state(secret, version, DESTROYED))

    # -- messages, in which a project goes by its number --------------------------------------------------------------------------

    def _secret(self, held: HeldSecret) -> Any:
        return resources.Secret(
            name=f"{self._parent}/secrets/{held.name}",
            create_time=held.created,
            labels=held.labels,
            annotations=held.annotations,
            version_aliases=held.aliases,
            etag=held.etag,
            **({} if held.destroys_after is None else {"version_destroy_ttl": held.destroys_after}),
        )

    def _version(self, secret: str, held: HeldVersion, *, is_summed: bool = False) -> Any:
        return resources.SecretVersion(
            name=self._version_name(secret, held),
            create_time=held.created,
            state=getattr(resources.SecretVersion.State, held.state),
            client_specified_payload_checksum=is_summed,
            **({} if held.goes_at is None else {"scheduled_destroy_time": held.goes_at}),
        )

    def _version_name(self, secret: str, held: HeldVersion) -> str:
        return f"{self._parent}/secrets/{secret}/versions/{held.number}"

    @property
    def _parent(self) -> str:
        return f"projects/{self.number}" + (f"/locations/{self.location}" if self.location else "")


def _paged(found: Sequence[Any], request: Any) -> tuple[Sequence[Any], str]:
    size = min(request.page_size or 100, MOST_OF_A_PAGE)
    if request.page_token and not request.page_token.isdecimal():
        raise Refused("INVALID_ARGUMENT", "the page token is none of ours")
    start = int(request.page_token or 0)
    return found[start : start + size], str(start + size) if start + size < len(found) else ""


def _details(told: Refused) -> bytes:
    """As Google tells an error's details, with the pause that it asks for."""
    status = status_pb2.Status(code=grpc.StatusCode[told.status].value[0], message=str(told))
    if told.pause_s is not None:
        pause = duration_pb2.Duration()
        pause.FromMilliseconds(int(told.pause_s * 1000))
        wrapped = any_pb2.Any()
        wrapped.Pack(error_details_pb2.RetryInfo(retry_delay=pause))
        status.details.append(wrapped)
    return bytes(status.SerializeToString())


def _serialized(message: Any) -> bytes:
    return bytes(message.SerializeToString() if hasattr(message, "SerializeToString") else type(message).serialize(message))
