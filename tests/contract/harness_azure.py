"""The bench of the azureKeyVault provider: a vault of a fake Azure, over the wire and by the real SDK."""

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager

from aiohttp import web

from contract.azures import rigged
from keyturn.model.material import CURRENT, PENDING, Cap
from keyturn.ports import Provider
from keyturn.providers.azure import VALUE_LIMIT
from keyturn.providers.azure_names import WAITING
from keyturn.testing.provider_suite import Bench, Need, Who

_TEXT = "a vault holds text"
_NAME = "a secret's name in a vault has letters, digits and - alone"

_LACKS: dict[Cap | Need, str] = {
    Cap.CAS: "a vault has no check-and-set",
    Need.BINARY: _TEXT,
    Need.NOT_UTF8: _TEXT,
    Need.SLASH: _NAME,
    Need.DOT: _NAME,
    Need.UNDERSCORE: _NAME,
    Need.CAPITALS: "a vault takes capitals for small letters",
}


class AzureBench(Bench):
    """A vault."""

    pause_s = 30
    most_bytes = VALUE_LIMIT
    no_version = "0" * 32
    prose = "kt-canary-prose"
    lacks = _LACKS

    async def start(self) -> None:
        self._stack = ExitStack()
        self._rig = self._stack.enter_context(rigged())
        self._cloud, self._vault = self._rig.cloud, self._rig.vault

    async def stop(self) -> None:
        self._stack.close()

    async def open(self, who: Who = Who.OURS) -> Provider:
        return self._rig.open(self._rig.login("kt-canary-wrong") if who is Who.STRANGER else None)

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        number = self._rig.seed(f"{key}{WAITING}" if stage == PENDING else key, data.decode(), tags)
        return f"p{number}" if stage == PENDING else number

    async def remove(self, key: str) -> None:
        self._vault.delete(key)

    async def disable(self, key: str) -> None:
        self._vault.held[key].versions[-1].is_enabled = False

    async def deny(self, key: str) -> None:
        self._vault.denied.add(key)

    async def expire(self) -> None:
        self._rig.entra.expire()

    @asynccontextmanager
    async def throttled(self) -> AsyncIterator[None]:
        self._vault.trouble = lambda _: web.json_response({"error": {"code": "Throttled"}}, status=429, headers={"Retry-After": "30"})
        yield
        self._vault.trouble = lambda _: None

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        self._cloud.hush()
        yield
        self._cloud.speak()

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[None]:
        for each in (self._vault, self._rig.entra):
            each.trouble = lambda _: web.json_response({"error": {"code": "InternalError", "message": self.prose}}, status=500)
        yield
        for each in (self._vault, self._rig.entra):
            each.trouble = lambda _: None

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._cloud.leave()
        yield
        self._cloud.listen()

    @asynccontextmanager
    async def losing_answers(self) -> AsyncIterator[None]:
        self._cloud.is_losing = True
        yield
        self._cloud.is_losing = False
