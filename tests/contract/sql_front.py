"""Stands before a PostgreSQL server on a port of its own: can be away, silent, a bad road, or speak in the server's place.

Reads what is sent in clear, without TLS. Lives in the event loop that it is started in.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from controlplane.servers import LOOPBACK

_CHUNK = 1 << 16


@dataclass
class SqlFront:
    """``prose`` is what it says where it is ``failing``."""

    target: int
    prose: str
    port: int = 0
    failing: bool = False
    loses_answers: bool = False
    _server: asyncio.Server | None = None
    _speaking: asyncio.Event = field(default_factory=asyncio.Event)
    _lines: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def listen(self) -> None:
        """From now on somebody is there, on the same port each time."""
        self._speaking.set()
        self._server = await asyncio.start_server(self._take, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def leave(self) -> None:
        """Cuts off whoever is connected; connections are refused."""
        if self._server is not None:
            self._server.close()
        self._speaking.set()
        await asyncio.sleep(0)  # whoever was taken just now begins
        for writer in self._lines.values():
            writer.transport.abort()
        while self._lines:
            await asyncio.wait(self._lines)
        await asyncio.sleep(0.05)  # until the loop has closed what was cut

    def hush(self) -> None:
        self._speaking.clear()

    def speak(self) -> None:
        self._speaking.set()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        if self._server is None or not self._server.is_serving():
            return await _cut(writer)
        self._lines[line] = writer
        with suppress(OSError):  # either side is gone
            await self._serve(reader, writer)
        await _cut(writer)
        del self._lines[line]
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._speaking.wait()
        there, back = await asyncio.open_connection(LOOPBACK, self.target)
        line = _Line(self, reader, writer, there, back)
        ways = [asyncio.create_task(way) for way in (line.ask(), line.answer())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await _cut(back)

    async def is_open(self) -> None:
        """Waits while it is silent."""
        await self._speaking.wait()


@dataclass
class _Line:
    """One connection. It is in a write once a row was inserted, and is told of its end by a COMMIT."""

    front: SqlFront
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    there: asyncio.StreamReader
    back: asyncio.StreamWriter
    is_in_write: bool = False
    is_to_be_cut: bool = False

    async def ask(self) -> None:
        while chunk := await self.reader.read(_CHUNK):
            await self.front.is_open()
            if self.front.failing:
                self.writer.write(_error(self.front.prose))
                with suppress(OSError):
                    await self.writer.drain()
                    self.writer.write_eof()
                    await self.reader.read()  # until it has heard it
                return
            self.is_in_write |= b"INSERT INTO application_secret" in chunk
            self.is_to_be_cut = self.front.loses_answers and self.is_in_write and b"COMMIT" in chunk
            self.back.write(chunk)
            await self.back.drain()

    async def answer(self) -> None:
        while chunk := await self.there.read(_CHUNK):
            await self.front.is_open()
            if self.is_to_be_cut:
                return
            self.writer.write(chunk)
            await self.writer.drain()


async def _cut(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


def _error(prose: str) -> bytes:
    """The server's last words, as its protocol spells them."""
    fields = b"".join(sign + text.encode() + b"\0" for sign, text in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", "57P03"), (b"M", prose)))
    return b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\0"
