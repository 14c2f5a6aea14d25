"""A proxy as companies have it: it lets through to the hosts that it knows, under their real names, and writes down who asked for what."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
_HEAD = 16 << 10
_NO = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Proxy:
    """``ports`` are where the hosts really are, here. ``user`` and ``password`` are asked for where they are set."""

    ports: Mapping[str, int]
    user: str = ""
    password: str = ""
    asked: list[str] = field(default_factory=list)
    """What it was asked for, HOST:PORT, and let through."""
    refused: int = 0
    port: int = 0
    _pipes: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        name = f"{self.user}:{self.password}@" if self.user else ""
        return f"http://{name}{LOOPBACK}:{self.port}"

    @property
    def hosts(self) -> set[str]:
        return {each.rpartition(":")[0] for each in self.asked}

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._accept, LOOPBACK, 0, limit=_HEAD)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for pipe in tuple(self._pipes):
                pipe.cancel()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            verb, target, *_ = head.split()
            word = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            host, _, port = target.rpartition(":")
            if self.user and f"proxy-authorization: basic {word}".lower() not in head.lower():
                self.refused += 1
                writer.write(_NO % b"407 Proxy Authentication Required")
            elif verb != "CONNECT" or port != "443" or host not in self.ports:
                self.refused += 1
                writer.write(_NO % b"502 Bad Gateway")
            else:
                self.asked.append(target)
                await _joined(reader, writer, self.ports[host])


async def _joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    inner, outer = await asyncio.open_connection(LOOPBACK, port)
    with contextlib.closing(outer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pass(reader, outer), _pass(inner, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(64 << 10):
            writer.write(part)
            await writer.drain()
    writer.close()
