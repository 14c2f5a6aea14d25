"""What stands between libpq and a tenant's server: an answer without an end is cut, and nothing is left when a connection ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from keyturn.providers import sql_relay
from keyturn.providers.sql_relay import LONGEST_ANSWER, LOOPBACK, Relay

LET_IN = b"R" + (8).to_bytes(4, "big") + bytes(4)
MIB = b"D" + ((1 << 20) - 1).to_bytes(4, "big") + (1).to_bytes(2, "big") + b"x" * ((1 << 20) - 7)


class Far:
    """A server that answers each line with so many MiB, once it has let in whoever came."""

    def __init__(self) -> None:
        self.mib = 1
        self.ended = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(LET_IN)
            while await reader.readline():
                for _ in range(self.mib):
                    writer.write(MIB)
                    await writer.drain()
        except OSError:
            self.ended += 1
        finally:
            writer.transport.abort()


@pytest.fixture
async def far() -> AsyncIterator[tuple[Far, int]]:
    made = Far()
    server = await asyncio.start_server(made.serve, LOOPBACK, 0)
    yield made, server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.sleep(0.05)


async def read_all(reader: asyncio.StreamReader) -> int:
    found = 0
    try:
        while chunk := await reader.read(1 << 20):
            found += len(chunk)
    except OSError:
        return found
    return found


async def test_an_answer_without_an_end_is_cut(far: tuple[Far, int]) -> None:
    server, port = far
    server.mib = 1000
    relay = Relay(LOOPBACK, port, 3.0)
    reader, writer = await asyncio.open_connection(LOOPBACK, await relay.listen())
    writer.write(b"ask\n")
    assert await read_all(reader) <= LONGEST_ANSWER
    writer.transport.abort()
    async with asyncio.timeout(10):
        while not server.ended:  # noqa: ASYNC110  # the server's end has no event
            await asyncio.sleep(0.01)
    await relay.end()


async def test_what_is_asked_for_in_parts_may_be_more(far: tuple[Far, int]) -> None:
    _, port = far
    relay = Relay(LOOPBACK, port, 3.0)
    reader, writer = await asyncio.open_connection(LOOPBACK, await relay.listen())
    assert await reader.readexactly(len(LET_IN)) == LET_IN
    for _ in range(2 * LONGEST_ANSWER // len(MIB)):
        writer.write(b"ask\n")
        assert await reader.readexactly(len(MIB)) == MIB
    writer.transport.abort()
    await relay.end()


async def test_it_listens_no_longer_than_the_connection_lasts(far: tuple[Far, int], monkeypatch: pytest.MonkeyPatch) -> None:
    server, port = far
    monkeypatch.setattr(sql_relay, "LONGEST_ANSWER", 1)
    relay = Relay(LOOPBACK, port, 3.0)
    own = await relay.listen()
    reader, writer = await asyncio.open_connection(LOOPBACK, own)
    writer.write(b"ask\n")
    assert await read_all(reader) == 0
    writer.transport.abort()
    with pytest.raises(OSError):  # whatever the kernel calls it
        await asyncio.open_connection(LOOPBACK, own)
    assert server.mib
    await relay.end()
