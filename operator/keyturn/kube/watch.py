"""Keeps a metadata-only list of one resource current: list, watch with bookmarks, list anew after a 410.

Asks for PartialObjectMetadata alone, so that no data of any object ever reaches the process.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from keyturn.decide.watchdog import Watching
from keyturn.kube.client import METADATA, Client
from keyturn.kube.metadata import Metadata, error_object, items_of, partial, watch_event
from keyturn.kube.pages import Room, lines, pages
from keyturn.model.errors import ClusterError, Expired, Silent

log = logging.getLogger("keyturn.watch")

FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 10.0

Key = tuple[str, str]


@dataclass(slots=True)
class MetadataWatch:
    """One resource at one path. ``put`` and ``drop`` are told of each change; ``drop`` also of what a new list lacks.

    ``heard_s``: when the API server last said anything, by the monotonic clock; None before the start.

    ``room``: shared by those that are many.

    ``on_list`` is told of the end of each list: what ``known`` lacks then was not there.
    """

    client: Client
    path: str
    put: Callable[[Metadata], None]
    drop: Callable[[Key, str], None]
    selector: str = ""
    field_selector: str = ""
    on_list: Callable[[], None] = lambda: None
    room: Room | None = None
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
            except Silent:
                log.debug("watch of %s was silent, opening it anew", self.place)
            except ClusterError as error:
                # Said once: hundreds of watches may wait for one API server.
                log.log(logging.DEBUG if str(error) == self.problem else logging.WARNING, "watch of %s: %s", self.place, error)
                self.problem = str(error)
                await asyncio.sleep(max(error.retry_after or 0.0, self.pause_s))
                self.pause_s = min(self.pause_s * 2, LAST_PAUSE_S)

    async def _list(self) -> str:
        found: dict[Key, str] = {}
        version = ""
        async for page in pages(self.client, self.path, query=self._selection(), what=f"list {self.place}", room=self.room):
            self.heard_s = time.monotonic()
            for item in items_of(page):
                found[item.namespace, item.name] = item.uid
                self._take(item)
            version = page.metadata.resource_version
        for key, uid in [(k, u) for k, u in self.known.items() if found.get(k) != u]:
            self._lose(key, uid)
        self._heard()
        self.listed.set()
        self.on_list()
        return version

    async def _watch(self, version: str) -> AsyncIterator[str]:
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, **self._selection()}
        query["timeoutSeconds"] = str(self.times.runs_s)
        stream = self.client.stream(self.path, query=query, accept=METADATA, silent_s=self.times.silent_s)
        async with stream as content, aclosing(lines(content, self.room)) as told:
            self._heard()
            async for line in told:
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
