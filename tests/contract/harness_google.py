"""The bench of the googleSecretManager provider: a project of a fake Secret Manager, over the wire and by Google's own client."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from contract.googles import PROSE, READER, rigged, signer
from keyturn.model.google import KeyLogin
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Cap
from keyturn.ports import Provider
from keyturn.providers.google_names import MOST_BYTES
from keyturn.testing.google_store import HeldVersion
from keyturn.testing.provider_suite import Bench, Need, Who

_NAME = "a secret's name has letters, digits, - and _ alone"

_LACKS: dict[Cap | Need, str] = {
    Cap.LIST_HAS_VERSION: "a list tells neither versions nor times",
    Cap.SURVEY: "a list tells neither versions nor times",
    Cap.UNDELETE: "Secret Manager destroys at once",
    Need.SOFT_DELETE: "Secret Manager destroys at once",
    Need.EMPTY: "Secret Manager takes no empty value",
    Need.SLASH: _NAME,
    Need.DOT: _NAME,
}


class GoogleBench(Bench):
    """A project's global secrets."""

    pause_s = 30
    most_bytes = MOST_BYTES
    prose = PROSE
    lacks = _LACKS

    async def start(self) -> None:
        self._stack = AsyncExitStack()
        self._rig = await self._stack.enter_async_context(rigged())
        self._cloud = self._rig.cloud
        self._login = self._rig.key_login()

    async def stop(self) -> None:
        await self._stack.aclose()

    async def open(self, who: Who = Who.OURS) -> Provider:
        login = self._login
        if who is Who.STRANGER:
            known = self._rig.secrets[login.key].reveal().decode()
            stolen = known.replace(signer(READER).pem.replace("\n", "\\n"), signer("stranger").pem.replace("\n", "\\n"))
            login = KeyLogin(self._rig.keep("wrong", stolen))
        provider: Provider = self._rig.open(login)
        return provider

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        project = self._cloud.held
        held = project.secrets.get(key) or project.create(key, dict(tags or {}), {})
        before = held.aliases.get(CURRENT, len(held.versions))
        if len(data) > MOST_BYTES:
            # As no Secret Manager has it.
            held.versions.append(HeldVersion(len(held.versions) + 1, data, held.created))
            return str(len(held.versions))
        number = project.add(key, data).number
        if stage == PENDING:
            self._rig.alias(key, **{CURRENT: before, PENDING: number} | ({PREVIOUS: before - 1} if before > 1 else {}))
        elif CURRENT in held.aliases:
            self._rig.alias(key, **{CURRENT: number, PREVIOUS: before})
        return str(number)

    async def remove(self, key: str) -> None:
        del self._cloud.held.secrets[key]

    async def disable(self, key: str) -> None:
        self._cloud.held.set_state(key, "latest", "DISABLED")

    async def deny(self, key: str) -> None:
        self._cloud.denied.add(key)

    async def expire(self) -> None:
        self._rig.services.end_all()

    @asynccontextmanager
    async def throttled(self) -> AsyncIterator[None]:
        with self._cloud.troubled("RESOURCE_EXHAUSTED", self.pause_s):
            yield

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        with self._cloud.silent():
            yield

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[None]:
        with self._cloud.troubled("INTERNAL"):
            yield

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        await self._rig.leave()
        yield
        await self._rig.come_back()

    @asynccontextmanager
    async def losing_answers(self) -> AsyncIterator[None]:
        self._cloud.loses.add("AddSecretVersion")
        yield
        self._cloud.loses.clear()
