"""Keeps a metadata-only list of one resource current: list, watch with bookmarks, list anew after a 410.

Asks for PartialObjectMetadata alone, so that no data of any object ever reaches the process.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from keyturn.kube.client import METADATA, METADATA_LIST, Client
from keyturn.kube.metadata import Metadata, error_object, partial, partial_list, watch_event
from keyturn.model.errors import ClusterError, Expired

log = logging.getLogger("keyturn.watch")

PAGE = 200
FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 10.0
MAX_LINE = 8 << 20

Key = tuple[str, str]


@dataclass(slots=True)
class MetadataWatch:
    """One resource at one path. ``put`` and ``drop`` are told of each change; ``drop`` also of what a new list lacks."""

    client: Client
    path: str
    put: Callable[[Metadata], None]
    drop: Callable[[Key, str], None]
    selector: str = ""
    known: dict[Key, str] = field(default_factory=dict)
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    problem: str = ""
    pause_s: float = FIRST_PAUSE_S

    async def run(self) -> None:
        """Until cancelled; faults are waited out, and ``problem`` names the present one."""
        version = ""
        while True:
            try:
                version = version or await self._list()
                async for reached in self._watch(version):
                    version = reached
            except Expired:
                log.info("watch of %s is too old, listing anew", self.path)
                version = ""
            except ClusterError as error:
                self.problem = str(error)
                log.warning("watch of %s: %s", self.path, error)
                await asyncio.sleep(max(error.retry_after or 0.0, self.pause_s))
                self.pause_s = min(self.pause_s * 2, LAST_PAUSE_S)

    async def _list(self) -> str:
        found: dict[Key, str] = {}
        token, version = "", ""
        while True:
            query = {"limit": str(PAGE), **self._selection(), **({"continue": token} if token else {})}
            body = await self.client.request("GET", self.path, query=query, accept=METADATA_LIST, what=f"list {self.path}")
            page = partial_list.decode(body)
            for item in page.items or ():
                found[item.metadata.namespace, item.metadata.name] = item.metadata.uid
                self._take(item.metadata)
            token, version = page.metadata.continue_, page.metadata.resource_version
            if not token:
                break
        for key, uid in [(k, u) for k, u in self.known.items() if found.get(k) != u]:
            self._lose(key, uid)
        self._heard()
        self.listed.set()
        return version

    async def _watch(self, version: str) -> AsyncIterator[str]:
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": "300", **self._selection()}
        async with self.client.stream(self.path, query=query, accept=METADATA) as content:
            self._heard()
            async for line in _lines(content):
                event = watch_event.decode(line)
                if event.type == "ERROR":
                    code = error_object.decode(event.object).code
                    raise (
                        Expired("expired", status=code) if code == 410 else ClusterError(f"watch of {self.path}: error {code}", status=code)
                    )
                found = partial.decode(event.object).metadata
                if event.type == "DELETED":
                    self._lose((found.namespace, found.name), found.uid)
                elif event.type != "BOOKMARK":
                    self._take(found)
                self._heard()
                yield found.resource_version

    def _selection(self) -> Mapping[str, str]:
        return {"labelSelector": self.selector} if self.selector else {}

    def _take(self, found: Metadata) -> None:
        self.known[found.namespace, found.name] = found.uid
        self.put(found)

    def _lose(self, key: Key, uid: str) -> None:
        # Never does an older incarnation's end remove a newer one.
        if self.known.get(key) == uid:
            del self.known[key]
            self.drop(key, uid)

    def _heard(self) -> None:
        self.problem, self.pause_s = "", FIRST_PAUSE_S


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to `MAX_LINE`: aiohttp's own reader gives up at 128 KiB."""
    rest = bytearray()
    async for chunk in content.iter_any():
        rest += chunk
        *lines, tail = rest.split(b"\n")
        rest = bytearray(tail)
        if len(rest) > MAX_LINE:
            raise ClusterError("a watch event is larger than any object may be")
        for line in lines:
            if line:
                yield bytes(line)
