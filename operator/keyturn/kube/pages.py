"""Reads what the API server sends by lines and pages, and never more of it at a time than there is room for.

Everybody who may write an object decides how long it is, up to more than a megabyte. So a page is given up while it comes
where it gets too long, and asked for again with fewer objects on it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Self

import aiohttp

from keyturn.kube.client import METADATA_LIST, Client
from keyturn.kube.metadata import PartialList, partial_list
from keyturn.model.errors import ClusterError

PAGE = 200
"""Objects on a page; normal ones take half a megabyte together."""
LONGEST_PAGE = 4 << 20
LONGEST_OBJECT = 8 << 20
"""No object is longer: etcd takes less than two megabytes of one."""
LONG = 64 << 10
SILENT_S = 30.0


class Room(asyncio.Semaphore):
    """Room for so many long texts at a time, for those who read many streams side by side. Belongs to one event loop."""

    def __init__(self, texts: int = 2) -> None:
        super().__init__(texts)


async def pages(client: Client, path: str, *, query: Mapping[str, str], what: str, room: Room | None = None) -> AsyncIterator[PartialList]:
    """The pages of a metadata list. Raises a `ClusterError`."""
    token, most = "", PAGE
    while True:
        asked = {"limit": str(most), **query, **({"continue": token} if token else {})}
        body = await _page(client, path, asked, what, LONGEST_PAGE if most > 1 else LONGEST_OBJECT, room)
        if body is None:
            most = max(1, most // 8)
            continue
        page = partial_list.decode(body)
        if len(body) < LONGEST_PAGE // 4:
            most = min(PAGE, most * 2)
        del body
        yield page
        token = page.metadata.continue_
        if not token:
            return


async def _page(client: Client, path: str, query: Mapping[str, str], what: str, longest: int, room: Room | None) -> bytes | None:
    """None where it would be too long and have more objects than one."""
    text = bytearray()
    async with _Place(room) as place, client.stream(path, query=query, accept=METADATA_LIST, silent_s=SILENT_S, what=what) as content:
        async for chunk in content.iter_any():
            text += chunk
            if len(text) > longest:
                break
            await place.fit(len(text))
        else:
            return bytes(text)
    if longest == LONGEST_OBJECT:
        raise ClusterError(f"{what}: an object is longer than any may be")
    return None


async def lines(content: aiohttp.StreamReader, room: Room | None = None) -> AsyncGenerator[bytes, None]:
    """Lines of any length that an object may have: aiohttp's own reader gives up at 128 KiB."""
    rest = bytearray()
    async with _Place(room) as place:
        async for chunk in content.iter_any():
            rest += chunk
            done: list[bytearray] = []
            if b"\n" in chunk:
                *done, rest = rest.split(b"\n")
            if len(rest) > LONGEST_OBJECT:
                raise ClusterError("a watch event is larger than any object may be")
            await place.fit(len(rest))
            for line in done:
                if line:
                    yield bytes(line)


class _Place:
    """One text's place in the room: taken when it gets long, and given back when it is short again or given up."""

    def __init__(self, room: Room | None) -> None:
        self._room, self._is_taken = room, False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.fit(0)

    async def fit(self, length: int) -> None:
        if self._room is None or self._is_taken == (length > LONG):
            return
        if self._is_taken:
            self._room.release()
        else:
            await self._room.acquire()
        self._is_taken = not self._is_taken
