"""The bench of the awsSecretsManager provider: an account at a fake of AWS, asked by the real SDK in a role that it assumes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from contract.aws import KEY_ID, PROSE, ROLE, WRITES, Account, refusal
from contract.benches import Fronted
from keyturn.model.aws import AssumedRole
from keyturn.model.material import CURRENT, Cap
from keyturn.ports import Provider
from keyturn.providers.aws_names import BY_ID, LABELS, MOST_BYTES
from keyturn.testing.provider_suite import Need, Who


class AwsBench(Fronted):
    """An account of its own."""

    lacks: Mapping[Cap | Need, str] = {
        Need.DISABLE: "a secret of AWS's is there, or marked for deletion",
        Need.EMPTY: "AWS takes no value of no bytes",
    }
    no_version = f"{BY_ID}99999999-9999-9999-9999-999999999999"
    most_bytes = MOST_BYTES
    prose = PROSE

    async def start(self) -> None:
        self._account = Account()
        await self._account.start()
        self._front = self._account.front

    async def stop(self) -> None:
        await self._account.stop()

    async def open(self, who: Who = Who.OURS) -> Provider:
        login = self._account.keys(KEY_ID, "kt-canary-wrong") if who is Who.STRANGER else self._account.keys()
        return self._account.open(login, AssumedRole(ROLE), may_write=True)

    def stage(self, stage: str) -> str:
        return LABELS[stage]

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        more = {"Tags": [{"Key": name, "Value": text} for name, text in tags.items()]} if tags else {}
        try:
            value: str | bytes = data.decode()
        except UnicodeDecodeError:
            value = data
        if len(data) > MOST_BYTES:
            await self._front.there(self._front.rules.put_large(key, data.decode()))
            return ""
        return f"{BY_ID}{await self._account.put(key, value, LABELS[stage], **more)}"

    async def remove(self, key: str) -> None:
        await self._front.do("DeleteSecret", SecretId=key)

    async def deny(self, key: str) -> None:
        self._front.rules.denied.add(key)

    async def expire(self) -> None:
        self._front.sts.end_sessions()

    @asynccontextmanager
    async def throttled(self) -> AsyncIterator[None]:
        self._front.answering = lambda _: refusal("ThrottlingException", 429, **{"Retry-After": str(self.pause_s)})
        yield
        self._front.answering = lambda _: None

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[None]:
        self._front.answering = lambda _: refusal("InternalServiceError", 500)
        yield
        self._front.answering = lambda _: None

    @asynccontextmanager
    async def losing_answers(self) -> AsyncIterator[None]:
        self._front.losing = WRITES
        yield
        self._front.losing = frozenset()
