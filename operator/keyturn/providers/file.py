"""Secrets from files beneath a root that an admin chose: mounted volumes, CSI drivers, a folder for development.

All that blocks happens in a few threads of each provider object, since a file can lie on a slow
network: a share that hangs holds up its own provider and no other. A whole batch is one errand.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from keyturn.decide.reach import Place, Reach
from keyturn.model.errors import Invalid, ProviderError, Rejected, Unavailable
from keyturn.model.material import Cap, Meta, SourceRef, Value
from keyturn.model.order import FileFormat
from keyturn.providers.file_sources import KEPT, DocumentSource, FolderSource

_THREADS = 4
_KEPT = " but those that are kept with access: ReadWrite, and read with it"
_T = TypeVar("_T")


class FileProvider:
    """Reads files. There are no versions: a file is what it is now. Those that a writer keeps, a writer reads."""

    def __init__(self, place: Place, file_format: FileFormat, reach: Reach) -> None:
        if KEPT in place.path.casefold().split("/"):
            raise Rejected(f"spec.provider.file.path: {place.path} is where a writer keeps what is not read; name the folder above")
        if file_format is FileFormat.DIRECTORY:
            self._source: FolderSource | DocumentSource = FolderSource(place, reach)
        elif place.inner:
            self._source = DocumentSource(place, file_format, reach)
        else:
            raise Rejected(f"spec.provider.file.path: {place.path} is a root; name a {file_format} file in it")
        self._threads: ThreadPoolExecutor | None = ThreadPoolExecutor(_THREADS, thread_name_prefix="keyturn-file")

    @property
    def caps(self) -> Cap:
        return Cap.GET | Cap.GET_MANY | Cap.LIST | Cap.LIST_HAS_VERSION

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        keys = list(dict.fromkeys(ref.key for ref in refs if not ref.version))
        none = f"files have no versions{_KEPT if isinstance(self._source, FolderSource) else ''}; leave version out"
        self._open()
        found = await self._run(self._source.read, keys) if keys else {}
        return {ref: Invalid(f"{ref.key}: {none}") if ref.version else found[ref.key] for ref in refs}

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        for meta in await self._run(self._source.list, prefix):
            yield meta

    async def validate(self) -> None:
        await self._run(self._source.check)

    async def close(self) -> None:
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)  # a hanging share must not hold us
        self._threads = None

    async def _run(self, errand: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._open(), errand, *args)

    def _open(self) -> ThreadPoolExecutor:
        if self._threads is None:
            raise Unavailable("the provider is closed")
        return self._threads
