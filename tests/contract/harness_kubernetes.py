"""The benches of the kubernetes provider: a namespace in a real API server, as this cluster's and as another one's."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from contract.benches import Fronted
from contract.kubes import PROSE, Cluster, refusal
from controlplane.plane import ControlPlane
from keyturn.decide import jsontext
from keyturn.model.material import CURRENT, Cap
from keyturn.ports import Provider
from keyturn.providers.kubernetes import VALUE_LIMIT
from keyturn.testing.provider_suite import Need, Who

_MAP = "a Secret is a map, and so is a key's value; bytes that are no text come by their own key, in property"
_NAME = "a Secret's name has small letters, digits, - and . alone"

_LACKS: dict[Cap | Need, str] = {
    Cap.VERSIONS: "a Secret keeps no versions",
    Cap.STAGE: "a Secret keeps no versions",
    Cap.PUT: "only read: whoever may write Secrets of a namespace needs no provider for it",
    Need.SOFT_DELETE: "what is deleted is gone",
    Need.DISABLE: "a Secret cannot be switched off",
    Need.BINARY: _MAP,
    Need.NOT_UTF8: _MAP,
    Need.EMPTY: _MAP,
    Need.SLASH: _NAME,
    Need.UNDERSCORE: _NAME,
    Need.CAPITALS: _NAME,
    Need.LOSE: "only read",
}


class KubernetesBench(Fronted):
    """A namespace of this cluster, read by a ServiceAccount of its tenant's; or of another one, by a token in a Secret."""

    pause_s = 30
    most_bytes = VALUE_LIMIT
    prose = PROSE

    def __init__(self, plane: ControlPlane, *, is_home: bool) -> None:
        self.lacks = _LACKS if is_home else _LACKS | {Need.EXPIRY: "the token is the credential; who replaces it in its Secret is followed"}
        self._plane, self._is_home = plane, is_home
        self._large: dict[str, bytes] = {}

    async def start(self) -> None:
        self._cluster = Cluster(self._plane)
        await self._cluster.start()
        self._front = self._cluster.front
        self._front.answering = self._answer
        self._seeded: set[str] = set()

    async def stop(self) -> None:
        await self._cluster.stop()

    async def open(self, who: Who = Who.OURS) -> Provider:
        if self._is_home:
            return self._cluster.open(self._cluster.tenant(*(["nobody"] if who is Who.STRANGER else [])))
        token = "kt-canary-wrong" if who is Who.STRANGER else ""
        return self._cluster.open(await asyncio.to_thread(self._cluster.stranger, token))

    def value(self, text: str) -> bytes:
        return json.dumps({"value": text}, ensure_ascii=False, separators=(",", ":")).encode()

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        members = jsontext.parse(data.decode())
        assert isinstance(members, dict)
        secret = {name: jsontext.text_of(member).encode() for name, member in members.items()}
        if len(data) > self.most_bytes:
            self._large[key] = json.dumps({name: base64.b64encode(text).decode() for name, text in secret.items()}).encode()
        else:
            await asyncio.to_thread(self._cluster.put, key, secret, tags)
            self._seeded.add(key)
        return ""

    async def remove(self, key: str) -> None:
        await asyncio.to_thread(self._cluster.remove, key)

    async def deny(self, key: str) -> None:
        await asyncio.to_thread(self._cluster.let, *(self._seeded - {key}))

    async def expire(self) -> None:
        self._front.dead |= self._front.tokens

    @asynccontextmanager
    async def throttled(self) -> AsyncIterator[None]:
        self._front.answering = lambda _: refusal(429, **{"Retry-After": str(self.pause_s)})
        yield
        self._front.answering = self._answer

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[None]:
        self._front.answering = lambda _: refusal(500)
        yield
        self._front.answering = self._answer

    def _answer(self, request: web.Request) -> web.Response | None:
        """In the server's place, which takes no value of this size."""
        data = self._large.get(request.path.rpartition("/")[2])
        if data is None:
            return None
        head = b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"large","uid":"u","resourceVersion":"1"},"data":'
        return web.Response(body=head + data + b"}", content_type="application/json")
