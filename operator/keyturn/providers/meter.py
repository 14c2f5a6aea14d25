"""How much a tenant's server may send, in bytes as they come: what a parser makes of them is too late to count.

There are endless answers without an end of their headers, of a number's zeros, or of words that say to wait: none has a
body that grows, and each keeps the one event loop at work. Opens no connection, and reads no byte's meaning.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

HEAD: Final = 128 << 10
"""For each request: the server's certificates, and all that is before the body."""

PART: Final = 16 << 10
"""At once. asyncio would take 256 KiB, and nothing else runs while a parser goes through them."""


class Meter:
    """What may still come from one server, over all connections to it."""

    def __init__(self) -> None:
        self._left = HEAD
        self._asking = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """As long as a request is under way. What others did not need is nobody's once there is none."""
        self._asking += 1
        self._left += HEAD
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._left = HEAD

    def expect(self, body: int) -> None:
        """The head is here: so many bytes may follow, and an eighth for what they are wrapped in."""
        self._left += body + body // 8

    def count(self, came: int) -> None:
        """Raises `OSError`, which ends the connection, where it is too much."""
        self._left -= came
        if self._left < 0:
            raise OSError("more came than any answer has")


class Metered(socket.socket):
    """A socket on a meter."""

    def __init__(self, meter: Meter, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._meter = meter

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        found = super().recv(min(bufsize, PART), flags)
        self._meter.count(len(found))
        return found

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        found = super().recv_into(buffer, min(nbytes or len(buffer), PART), flags)
        self._meter.count(found)
        return found
