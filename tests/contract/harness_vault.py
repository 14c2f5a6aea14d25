"""The benches of the hashicorpVault provider: an engine of its own, version 1 or 2, in a real OpenBao."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import quote

from aiohttp import web

from bao import Bao
from bao_admin import BaoError
from contract.vaults import Front, Rig, front
from keyturn.model.material import CURRENT, PENDING, Cap
from keyturn.ports import Provider
from keyturn.providers.vault import VALUE_LIMIT
from keyturn.providers.vault_names import WAITING
from keyturn.providers.vault_writer import VaultWriter
from keyturn.testing.provider_suite import Bench, Need, Who

_WRITES = ["read", "list", "scan", "create", "update", "patch"]
_JSON = "an engine holds JSON objects"

_LACKS: dict[Cap | Need, str] = {
    Cap.TAGS: "Vault lists no custom metadata; OpenBao does, and then they are shown",
    Need.DISABLE: "a key is there or deleted",
    Need.BINARY: _JSON,
    Need.NOT_UTF8: _JSON,
    Need.EMPTY: _JSON,
}


class _Road(Front):
    """One that can be bad: what is written over it arrives, and the answer does not."""

    is_bad = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        answer = await super().serve(request)
        if self.is_bad and request.method == "POST" and "/data/" in request.path and request.transport:
            request.transport.abort()
        return answer


class VaultBench(Bench):
    """An engine of version 2, or 1."""

    pause_s = 10
    most_bytes = VALUE_LIMIT

    def __init__(self, bao: Bao, engine: int = 2) -> None:
        self.lacks = _LACKS
        if engine == 1:
            self.lacks = _LACKS | {
                Cap.VERSIONS: "engine version 1 keeps none",
                Cap.STAGE: "engine version 1 keeps no versions",
                Cap.PUT: "engine version 1 has no check-and-set",
                Cap.LIST_HAS_VERSION: "engine version 1 lists names alone",
                Cap.SURVEY: "engine version 1 lists names alone",
                Need.SOFT_DELETE: "engine version 1 keeps nothing of what is deleted",
            }
        self._bao, self._engine = bao, engine
        self._large: dict[str, bytes] = {}

    async def start(self) -> None:
        self._rig = Rig(self._bao, engine=self._engine)
        if self._engine == 2:
            self._bao.policy(self._rig.policy, {f"{self._rig.mount}/*": _WRITES})
        self._login = self._rig.approle()
        self._denied: list[str] = []
        self._stack = AsyncExitStack()
        self._roads: list[_Road] = []

    async def stop(self) -> None:
        await self._stack.aclose()
        self._bao.call("DELETE", f"sys/mounts/{self._rig.mount}")
        self._bao.call("DELETE", f"sys/auth/{self._login.mount}")

    async def open(self, who: Who = Who.OURS) -> Provider:
        login = self._login
        if who is Who.STRANGER:
            login = type(login)(login.mount, login.role_id, self._rig.keep("wrong", "kt-canary-wrong"))
        if not self._large and self._engine == 1:
            return self._rig.open(login, kind=VaultWriter)
        before = await self._stack.enter_async_context(front(self._bao, self._answer, _Road))
        assert isinstance(before, _Road)
        self._roads.append(before)
        return self._rig.open(login, server=before.url, kind=VaultWriter)

    def value(self, text: str) -> bytes:
        return json.dumps({"value": text}, ensure_ascii=False, separators=(",", ":")).encode()

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        if len(data) > self.most_bytes:
            self._large[key] = data
            return ""
        place = f"{WAITING}/{key}" if stage == PENDING else key
        number = self._bao.put(self._rig.mount, quote(place), json.loads(data), version=self._engine)
        return str(number or "")

    async def remove(self, key: str) -> None:
        self._bao.call("DELETE", f"{self._rig.mount}/{'data/' if self._engine == 2 else ''}{key}")

    async def deny(self, key: str) -> None:
        path = f"{self._rig.mount}/{'data/' if self._engine == 2 else ''}{key}"
        self._bao.policy(self._rig.policy, {f"{self._rig.mount}/*": _WRITES, path: ["deny"]})

    async def expire(self) -> None:
        self._bao.revoke_logins(self._login.mount)

    @asynccontextmanager
    async def throttled(self) -> AsyncIterator[None]:
        # Said again: a server that was killed and started by another case may have come up without it.
        self._bao.call("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
        self._bao.limit_rate(self._rig.name, self._rig.mount, 1, f"{self.pause_s}s")
        try:
            with suppress(BaoError):  # ours is the one that is let through
                self._bao.call("GET", f"{self._rig.mount}/{'data/' if self._engine == 2 else ''}none")
            yield
        finally:
            self._bao.unlimit_rate(self._rig.name)

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        self._bao.pause()
        try:
            yield
        finally:
            self._bao.resume()

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[None]:
        """A sealed server answers 503 to everything."""
        self._bao.seal()
        try:
            yield
        finally:
            self._bao.unseal()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._bao.kill()
        try:
            yield
        finally:
            self._bao.start()

    @asynccontextmanager
    async def losing_answers(self) -> AsyncIterator[None]:
        for road in self._roads:
            road.is_bad = True
        yield
        for road in self._roads:
            road.is_bad = False

    def _answer(self, request: web.Request) -> web.Response | None:
        """In the server's place, which takes no value of this size."""
        data = self._large.get(request.path.rpartition("/")[2])
        if data is None:
            return None
        held = data.decode()
        inner = f'{{"data":{held},"metadata":{{"version":1,"created_time":"2026-01-01T00:00:00Z"}}}}' if self._engine == 2 else held
        return web.Response(text=f'{{"request_id":"0-0","data":{inner}}}', content_type="application/json")
