"""A server that the fake provider talks to, with all that servers do to their clients: rights, log-ins, limits, outages, lost answers."""

import asyncio
import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from keyturn.model.errors import AuthFailed, Invalid, ProviderError, Unavailable
from keyturn.model.material import CURRENT, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.fake import FakeProvider
from keyturn.providers.fake_store import Store

MOST_BYTES = 1 << 16


@dataclass(slots=True)
class FakeServer:
    """``trouble`` fails every call, ``verdicts`` those for a key; ``session`` is the log-in that counts, and grows when all end."""

    store: Store = field(default_factory=Store)
    trouble: ProviderError | None = None
    verdicts: dict[str, ProviderError] = field(default_factory=dict)
    session: int = 1
    log_ins: int = 0
    is_silent: bool = False
    loses_answers: bool = False

    @contextmanager
    def troubled(self, trouble: ProviderError) -> Iterator[None]:
        """Every call fails while it is entered."""
        self.trouble = trouble
        yield
        self.trouble = None


class FakeClient(FakeProvider):
    """The fake provider, logged in to a server."""

    def __init__(self, server: FakeServer, *, is_known: bool = True) -> None:
        super().__init__({})
        self.server, self.session, self._is_known = server, 0, is_known

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        return {ref: self.server.verdicts.get(ref.key) or _fit(answer) for ref, answer in (await super().get_many(refs)).items()}

    async def put(
        self, key: str, data: Sensitive, *, token: str, expect: str | None = None, stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        if refusal := self.server.verdicts.get(key) or _refusal(data):
            raise refusal
        name = await super().put(key, data, token=token, expect=expect, stage=stage, tags=tags)
        if self.server.loses_answers:
            raise Unavailable("the server gave no answer")
        return name

    async def _store(self) -> Store:
        await super()._store()
        if self.server.is_silent:
            await asyncio.Event().wait()
        if self.server.trouble:
            raise copy.copy(self.server.trouble)
        if not self._is_known:
            raise AuthFailed("the fake server does not know this credential")
        if self.session != self.server.session:
            await self._log_in()
        return self.server.store

    async def _log_in(self) -> None:
        self.session = self.server.session
        self.server.log_ins += 1


def _fit(answer: Value | ProviderError) -> Value | ProviderError:
    return (_refusal(answer.data) or answer) if isinstance(answer, Value) else answer


def _refusal(data: Sensitive) -> Invalid | None:
    return Invalid(f"the value is larger than {MOST_BYTES >> 10} KiB") if len(data) > MOST_BYTES else None
