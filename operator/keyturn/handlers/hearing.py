"""What Kopf's watches bring, seen from the session that it was given: Kopf itself keeps bookmarks and ends to itself.

Counts bytes and looks into none.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp


@dataclass(slots=True)
class KindWatch:
    """Kopf's watch at one path: when it was last heard of, by the monotonic clock; None before the start."""

    heard_s: float | None = None
    stream: aiohttp.StreamReader | None = None
    bytes_seen: int = 0


@dataclass(slots=True)
class Hearing:
    """A `KindWatch` for each path that is to be watched: what never opens is missed as well."""

    watches: dict[str, KindWatch] = field(default_factory=dict)

    def begin(self, paths: Iterable[str]) -> None:
        """From now on something is expected of each of these."""
        self.watches = self.watches | {path: KindWatch(time.monotonic()) for path in paths}

    async def note(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """A middleware: an answer is a sign of life, and the body of a watch has more of them to come."""
        response = await send(request)
        # The API server's URL may have a path of its own before these.
        found = next((watch for path, watch in self.watches.items() if request.url.path.endswith(path)), None)
        if found is not None and response.status == 200:
            found.heard_s = time.monotonic()
            if "watch" in request.url.query:
                found.stream, found.bytes_seen = response.content, 0
        return response

    def look(self) -> None:
        """Notes what has come since the last look."""
        for watch in self.watches.values():
            if watch.stream is not None and watch.stream.total_bytes != watch.bytes_seen:
                watch.heard_s, watch.bytes_seen = time.monotonic(), watch.stream.total_bytes
