"""Secrets that stand in the provider object itself, for development and tests: nothing is secret here. What is put stays in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from keyturn.model.errors import NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, Cap, Meta, SourceRef, Value, Version
from keyturn.model.sensitive import Sensitive
from keyturn.providers.fake_store import Store


class FakeProvider:
    """Answers from a mapping. The newest of a key is its entry without version, else its last one."""

    caps: Final = ~Cap.SURVEY

    def __init__(self, data: Mapping[SourceRef, Sensitive]) -> None:
        self._held: Store | None = Store.of(data)

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        store = await self._store()
        return {ref: store.read(ref) or NotFound(f"the fake provider holds no {ref}") for ref in refs}

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        for key, held in (await self._store()).keys.items():
            if key.startswith(prefix) and CURRENT in held.stages:
                yield Meta(key, f"v{held.stages[CURRENT]}", tags=held.tags)

    async def validate(self) -> None:
        await self._store()

    async def close(self) -> None:
        self._held = None

    async def put(
        self, key: str, data: Sensitive, *, token: str, expect: str | None = None, stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        return (await self._store()).put(key, data, token, expect, stage, tags)

    async def promote(self, key: str, version: str) -> None:
        (await self._store()).promote(key, version)

    async def versions(self, key: str) -> Sequence[Version]:
        return (await self._store()).versions(key)

    async def delete(self, key: str, *, purge: bool = False) -> None:
        (await self._store()).delete(key, purge=purge)

    async def undelete(self, key: str) -> None:
        (await self._store()).undelete(key)

    async def _store(self) -> Store:
        if self._held is None:
            raise Unavailable("the provider is closed")
        return self._held
