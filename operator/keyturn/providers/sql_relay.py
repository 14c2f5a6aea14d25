"""Stands between libpq and a tenant's server, and counts: libpq itself takes answers of any length into memory.

What goes through is the protocol as it is, mostly within TLS, so that nothing is looked into. Listens on loopback for as long as
the connection lasts, since libpq says there, too, that a question is given up.
"""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Final

LOOPBACK: Final = "127.0.0.1"
LONGEST_ANSWER: Final = 24 << 20
"""Bytes between two things that we say. The store asks for 8 MiB of values at most, which PostgreSQL spells out in hex."""


@dataclass(slots=True, eq=False)
class Relay:
    """To one address, which was checked. Use `listen`, and `end`, when the connection has ended or none came of it."""

    address: str
    port: int
    limit_s: float
    ends: set["End"] = field(default_factory=set)
    joining: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def listen(self) -> int:
        """The port on which it listens."""
        self._server = await asyncio.get_running_loop().create_server(lambda: End(self), LOOPBACK, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def end(self) -> None:
        """Takes no more, and ends what goes through."""
        if self._server is not None:
            self._server.close()
        for task in self.joining:
            task.cancel()
        for end in tuple(self.ends):
            end.transport.abort()
        while self.ends or self.joining:  # noqa: ASYNC110  # some turns of the loop, which says that they are gone
            await asyncio.sleep(0)

    def join(self, near: "End") -> None:
        """Connects one that came with the server."""
        task = asyncio.get_running_loop().create_task(self._join(near), name="keyturn-relay")
        self.joining.add(task)
        task.add_done_callback(self.joining.discard)

    async def _join(self, near: "End") -> None:
        try:
            async with asyncio.timeout(self.limit_s):
                _, far = await asyncio.get_running_loop().create_connection(lambda: End(self, near), self.address, self.port)
        except (OSError, TimeoutError):
            return near.transport.abort()
        far.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        near.peer = far
        if near not in self.ends:
            return far.transport.abort()
        return near.transport.resume_reading()


class End(asyncio.Protocol):
    """One of the two sides of a connection. The server's is made for the one that came, its ``peer``."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay, near: "End | None" = None) -> None:
        self._relay, self.peer, self._is_server = relay, near, near is not None
        self._taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._relay.ends.add(self)
        if not self._is_server:
            transport.pause_reading()
            self._relay.join(self)

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            return
        if not self._is_server:
            self.peer._taken = 0
        self._taken += len(data)
        if self._is_server and self._taken > LONGEST_ANSWER:
            self.transport.abort()
        else:
            self.peer.transport.write(data)

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        self._relay.ends.discard(self)
        if self.peer is not None:
            self.peer.transport.close()
        if not self._relay.ends and self._relay._server is not None:
            self._relay._server.close()
