"""Stands between libpq and a tenant's server: judges and counts what the server says, which libpq itself takes as it comes.

TLS is spoken here, so that there is something to judge: libpq speaks in clear, on loopback. Listens there for as long as the
connection lasts, since libpq says there, too, that a question is given up.
"""

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.providers.room import Room
from keyturn.providers.sql_messages import Listener, Unfit

LOOPBACK: Final = "127.0.0.1"
LONGEST_ANSWER: Final = 24 << 20
"""Bytes between two things that we say. The store asks for 8 MiB of values at most, which PostgreSQL spells out in hex."""
LIMIT: Final = 64 << 10
"""Bytes of an answer that need no room: most have fewer."""
_SHUT_S: Final = 1.0
_TLS_PLEASE: Final = bytes.fromhex("0000000804d2162f")


@dataclass(slots=True, eq=False)
class Relay:
    """To one address, which was checked. Use `listen`, and `end`, when the connection has ended or none came of it.

    ``tls``: how it is spoken with the server that has this ``name``, unless that has none and ``may_be_clear``. A long answer
    comes once the ``tenant`` has ``room`` for it. ``why``: what was wrong, for whoever runs the operator.
    """

    address: str
    port: int
    limit_s: float
    tls: ssl.SSLContext | None = None
    name: str = ""
    may_be_clear: bool = True
    room: Room = field(default_factory=Room)
    tenant: str = ""
    why: str = ""
    ends: set["End"] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def listen(self) -> int:
        """The port on which it listens."""
        self._server = await asyncio.get_running_loop().create_server(lambda: End(self), LOOPBACK, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def end(self) -> None:
        """Takes no more, and ends what goes through."""
        if self._server is not None:
            self._server.close()
        for task in self.tasks:
            task.cancel()
        for end in tuple(self.ends):
            end.transport.abort()
        while self.ends or self.tasks:  # noqa: ASYNC110  # some turns of the loop, which says that they are gone
            await asyncio.sleep(0)

    def join(self, near: "End") -> None:
        """Connects one that came with the server."""
        self.begin(self._join(near))

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Does it until the relay ends."""
        task = asyncio.get_running_loop().create_task(work, name="keyturn-relay")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _join(self, near: "End") -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.limit_s):
                line, tls = await self._dial()
                options: dict[str, Any] = {"server_hostname": self.name, "ssl_shutdown_timeout": _SHUT_S} if tls else {}
                _, far = await loop.create_connection(lambda: End(self, near), sock=line, ssl=tls, **options)
        except (OSError, ValueError) as error:  # time-outs too; ValueError: what is no name to a certificate
            self.tell(error)
            return near.transport.abort()
        far.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        near.peer = far
        if near not in self.ends:
            return far.transport.abort()
        return near.transport.resume_reading()

    async def _dial(self) -> tuple[socket.socket, ssl.SSLContext | None]:
        """A connection on which nothing was said yet but whether TLS follows, and with what."""
        loop = asyncio.get_running_loop()
        line = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            line.setblocking(False)
            await loop.sock_connect(line, (self.address, self.port))
            return line, await self._agreed(line)
        except BaseException:
            line.close()
            raise

    async def _agreed(self, line: socket.socket) -> ssl.SSLContext | None:
        if self.tls is None:
            return None
        await asyncio.get_running_loop().sock_sendall(line, _TLS_PLEASE)
        # One byte and no more: what came in clear after it must not pass for something that was said within TLS.
        answer = await asyncio.get_running_loop().sock_recv(line, 1)
        if answer == b"S":
            return self.tls
        if answer == b"N" and self.may_be_clear:
            return None
        raise Unfit("it has no TLS, which sslmode asks for")

    def tell(self, error: Exception) -> None:
        """Keeps what was wrong first. Of a library's error the class alone."""
        self.why = self.why or (str(error) if isinstance(error, Unfit) else type(error).__name__)


class End(asyncio.Protocol):
    """One of the two sides of a connection. The server's is made for the one that came, its ``peer``."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay, near: "End | None" = None) -> None:
        self._relay, self.peer, self._is_server = relay, near, near is not None
        self._taken, self._listener = 0, Listener()
        self._claim: asyncio.Task[None] | None = None
        self._stops = 0  # reasons not to read

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
            self.peer._begin_answer()
            self.peer.transport.write(data)
            return
        try:
            self.peer.transport.write(self._judged(data))
        except Unfit as error:
            self._relay.tell(error)
            self.transport.abort()

    def _begin_answer(self) -> None:
        self._taken = 0
        self._listener.ask()
        self._give_back()

    async def _make_room(self) -> None:
        await self._relay.room.wait(self._relay.tenant, LONGEST_ANSWER)
        self._go_on()

    def _give_back(self) -> None:
        claim, self._claim = self._claim, None
        if claim is None:
            return
        if not claim.done():
            claim.cancel()  # the room sees to it
            self._go_on()
        elif not claim.cancelled():
            self._relay.room.give_back(self._relay.tenant, LONGEST_ANSWER)

    def _stop(self) -> None:
        self._stops += 1
        self.transport.pause_reading()

    def _go_on(self) -> None:
        self._stops -= 1
        if not self._stops:
            self.transport.resume_reading()

    def _judged(self, data: bytes) -> bytes:
        self._taken += len(data)
        if self._taken > LONGEST_ANSWER:
            raise Unfit(f"its answer is longer than {LONGEST_ANSWER} bytes")
        if self._taken > LIMIT and self._claim is None:
            self._stop()
            self._claim = self._relay.begin(self._make_room())
        return self._listener.hear(data)

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer._stop()

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer._go_on()

    def connection_lost(self, _: Exception | None) -> None:
        self._relay.ends.discard(self)
        self._give_back()
        if self.peer is not None:
            self.peer.transport.close()
        if not self._relay.ends and self._relay._server is not None:
            self._relay._server.close()
