"""Keeps a metadata-only list of one resource current: list, watch with bookmarks, list anew after a 410.

Asks for PartialObjectMetadata alone, so that no data of any object ever reaches the process.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from keyturn.decide.watchdog import Watching
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
    """One resource at one path. ``put`` and ``drop`` are told of each change; ``drop`` also of what a new list lacks.

    ``heard_s``: when the API server last said anything, by the monotonic clock; None before the start.

    ``on_list`` is told of the end of each list: what ``known`` lacks then was not there.
    """

    client: Client
    path: str
    put: Callable[[Metadata], None]
    drop: Callable[[Key, str], None]
    selector: str = ""
    field_selector: str = ""
    on_list: Callable[[], None] = lambda: None
    times: Watching = field(default_factory=Watching)
    known: dict[Key, str] = field(default_factory=dict)
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    problem: str = ""
    pause_s: float = FIRST_PAUSE_S
    heard_s: float | None = None

    @property
    def place(self) -> str:
        """What is watched, for messages."""
        return f"{self.path} ({self.field_selector})" if self.field_selector else self.path

    async def run(self) -> None:
        """Until cancelled; faults are waited out, and ``problem`` names the present one."""
        version, self.heard_s = "", time.monotonic()
        while True:
            try:
                version = version or await self._list()
                async for reached in self._watch(version):
                    version = reached
            except Expired:
                log.info("watch of %s is too old, listing anew", self.place)
                version = ""
            except ClusterError as error:
                # Said once: hundreds of watches may wait for one API server.
                log.log(logging.DEBUG if str(error) == self.problem else logging.WARNING, "watch of %s: %s", self.place, error)
                self.problem = str(error)
                await asyncio.sleep(max(error.retry_after or 0.0, self.pause_s))
                self.pause_s = min(self.pause_s * 2, LAST_PAUSE_S)

    async def _list(self) -> str:
        found: dict[Key, str] = {}
        token, version = "", ""
        while True:
            query = {"limit": str(PAGE), **self._selection(), **({"continue": token} if token else {})}
            body = await self.client.request("GET", self.path, query=query, accept=METADATA_LIST, what=f"list {self.place}")
            page, self.heard_s = partial_list.decode(body), time.monotonic()
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
        self.on_list()
        return version

    async def _watch(self, version: str) -> AsyncIterator[str]:
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, **self._selection()}
        query["timeoutSeconds"] = str(self.times.runs_s)
        async with self.client.stream(self.path, query=query, accept=METADATA, silent_s=self.times.silent_s) as content:
            self._heard()
            async for line in _lines(content):
                event = watch_event.decode(line)
                if event.type == "ERROR":
                    code = error_object.decode(event.object).code
                    kind = Expired if code == 410 else ClusterError
                    raise kind(f"watch of {self.place}: error {code}", status=code)
                found = partial.decode(event.object).metadata
                if event.type == "DELETED":
                    self._lose((found.namespace, found.name), found.uid)
                elif event.type != "BOOKMARK":
                    self._take(found)
                self._heard()
                yield found.resource_version

    def _selection(self) -> Mapping[str, str]:
        chosen = {"labelSelector": self.selector, "fieldSelector": self.field_selector}
        return {name: selector for name, selector in chosen.items() if selector}

    def _take(self, found: Metadata) -> None:
        self.known[found.namespace, found.name] = found.uid
        self.put(found)

    def _lose(self, key: Key, uid: str) -> None:
        # Never does an older incarnation's end remove a newer one.
        if self.known.get(key) == uid:
            del self.known[key]
            self.drop(key, uid)

    def _heard(self) -> None:
        self.problem, self.pause_s, self.heard_s = "", FIRST_PAUSE_S, time.monotonic()


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
