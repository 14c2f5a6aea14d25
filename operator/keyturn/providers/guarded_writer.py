"""The guard of a provider that may be written to: opened only where access is ReadWrite, so that nothing else has a way to write.

A write passes what every call passes. One that is given up at its deadline may have happened: it is `Unavailable`, and is asked
again with its token.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from keyturn.model.errors import Invalid
from keyturn.model.material import CURRENT, Cap, Version
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Writer
from keyturn.providers.guard import Guard


class GuardedWriter(Guard):
    """A `Guard` that is a `Writer` too, around a provider that is one."""

    @property
    def caps(self) -> Cap:
        return self._provider.caps

    async def put(
        self,
        key: str,
        data: Sensitive,
        *,
        token: str,
        expect: str | None = None,
        stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        return await self._call("put", partial(self._writer().put, key, data, token=token, expect=expect, stage=stage, tags=tags))

    async def promote(self, key: str, version: str) -> None:
        await self._call("promote", partial(self._writer().promote, key, version))

    async def versions(self, key: str) -> Sequence[Version]:
        call: Callable[[], Awaitable[Sequence[Version]]] = partial(self._writer().versions, key)
        return await self._call("versions", call)

    async def delete(self, key: str, *, purge: bool = False) -> None:
        await self._call("delete", partial(self._writer().delete, key, purge=purge))

    async def undelete(self, key: str) -> None:
        await self._call("undelete", partial(self._writer().undelete, key))

    def _writer(self) -> Writer:
        if not isinstance(self._provider, Writer):
            raise Invalid("this provider cannot be written to")
        return self._provider
