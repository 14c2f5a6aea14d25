"""The bench of the fake provider: a server in memory, which does all that servers do."""

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from keyturn.model.errors import AccessDenied, Disabled, ProviderError, Throttled, Unavailable
from keyturn.model.material import CURRENT, Cap
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Provider
from keyturn.testing.fake_server import MOST_BYTES, FakeClient, FakeServer
from keyturn.testing.provider_suite import Bench, Need, Who

_numbers = itertools.count(1)


class FakeBench(Bench):
    """Everything but surveys."""

    lacks: Mapping[Cap | Need, str] = {Cap.SURVEY: "all that it holds is in memory, so a read costs nothing"}
    most_bytes = MOST_BYTES
    patience_s = 5.0

    def __init__(self) -> None:
        self.server = FakeServer()

    async def open(self, who: Who = Who.OURS) -> Provider:
        return FakeClient(self.server, is_known=who is Who.OURS)

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        return self.server.store.put(key, Sensitive(data), f"seed-{next(_numbers):032d}", None, stage, tags)

    async def remove(self, key: str) -> None:
        self.server.store.delete(key, purge=False)

    async def disable(self, key: str) -> None:
        self.server.verdicts[key] = Disabled(f"{key} is switched off")

    async def deny(self, key: str) -> None:
        self.server.verdicts[key] = AccessDenied(f"the fake server refuses this identity {key}")

    async def expire(self) -> None:
        self.server.session += 1

    def throttled(self) -> AbstractAsyncContextManager[None]:
        return self._troubled(Throttled("the fake server asks for a pause", retry_after=float(self.pause_s)))

    def failing(self) -> AbstractAsyncContextManager[None]:
        return self._troubled(Unavailable("the fake server failed (HTTP 500)"))

    def away(self) -> AbstractAsyncContextManager[None]:
        return self._troubled(Unavailable("the server gave no answer"))

    @asynccontextmanager
    async def _troubled(self, trouble: ProviderError) -> AsyncIterator[None]:
        with self.server.troubled(trouble):
            yield

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        self.server.is_silent = True
        yield
        self.server.is_silent = False

    @asynccontextmanager
    async def losing_answers(self) -> AsyncIterator[None]:
        self.server.loses_answers = True
        yield
        self.server.loses_answers = False
