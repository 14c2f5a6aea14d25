"""How a tenant's PostgreSQL lets the operator in: none may keep it busy, and honest ones are believed as before."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import md5
from time import monotonic

import pytest

from keyturn.decide.address import AddressRules
from keyturn.model.errors import Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.providers.dial import NO_ANSWER
from keyturn.providers.room import Room
from keyturn.providers.sql_dial import Server, connect
from keyturn.providers.sql_relay import LOOPBACK
from postgres import Database

RULES = AddressRules(allowed=("127.0.0.0/8",), allow_plain_http=True)
PASSWORD = "kt-canary-password"
READY = b"Z" + (5).to_bytes(4, "big") + b"I"

Talk = Callable[["Asking"], Awaitable[None]]


class Asking:
    """A server's side of one log-in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def say(self, kind: int, body: bytes = b"") -> None:
        self._writer.write(b"R" + (len(body) + 8).to_bytes(4, "big") + kind.to_bytes(4, "big") + body)

    def let_in(self) -> None:
        self.say(0)
        self._writer.write(READY)

    async def hear(self) -> bytes:
        """What is said next, without its kind and length."""
        head = await self._reader.readexactly(5)
        return await self._reader.readexactly(int.from_bytes(head[1:], "big") - 4)

    async def hear_who(self) -> None:
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        await self._reader.readexactly(size - 4)


@pytest.fixture
async def served() -> AsyncIterator[Callable[[Talk], Awaitable[Server]]]:
    """Starts a server that talks so."""
    servers = []

    async def start(talk: Talk) -> Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asking = Asking(reader, writer)
            try:
                await asking.hear_who()
                await talk(asking)
                await reader.read()
            except (OSError, asyncio.IncompleteReadError):
                return
            finally:
                writer.transport.abort()

        servers.append(await asyncio.start_server(serve, LOOPBACK, 0))
        return Server(LOOPBACK, servers[-1].sockets[0].getsockname()[1], "kt", Sensitive.of(PASSWORD), "db", "disable")

    yield start
    for server in servers:
        server.close()
    await asyncio.sleep(0.05)


async def longest_stop(work: Awaitable[object]) -> float:
    """Seconds that nothing else of the loop ran while this did."""
    worst, task = 0.0, asyncio.ensure_future(work)
    while not task.done():
        begun = monotonic()
        await asyncio.sleep(0.02)
        worst = max(worst, monotonic() - begun)
    await task
    return worst


async def refused(server: Server) -> None:
    with pytest.raises(Unavailable, match=NO_ANSWER):
        await connect(server, RULES, "shop", Room())


def scram(rounds: bytes, mechanisms: bytes = b"SCRAM-SHA-256\0\0") -> Talk:
    async def talk(asking: Asking) -> None:
        asking.say(10, mechanisms)
        nonce = (await asking.hear()).split(b"r=")[1]
        asking.say(11, b"r=" + nonce + b"abc,s=QUJDREVGR0hJSktMTU5PUA==,i=" + rounds)

    return talk


@pytest.mark.parametrize("rounds", [b"20000000", b"2147483647", b"100001", b"+20000000", b" 20000000", b"0x1", b"-1", b"1,x=y", b""])
async def test_a_server_that_asks_for_many_rounds_costs_none(rounds: bytes, served) -> None:
    assert await longest_stop(refused(await served(scram(rounds)))) < 2


@pytest.mark.parametrize("kind", [2, 6, 7, 8, 9, 11, 12, 13, 1 << 31])
async def test_a_way_to_log_in_that_is_not_known_is_refused(kind: int, served) -> None:
    async def talk(asking: Asking) -> None:
        asking.say(kind, b"\0\0\0\0")

    await refused(await served(talk))


async def test_a_log_in_does_not_begin_again(served) -> None:
    async def talk(asking: Asking) -> None:
        asking.say(3)
        await asking.hear()
        asking.say(3)

    await refused(await served(talk))


async def test_a_mechanism_without_a_password_is_refused(served) -> None:
    await refused(await served(scram(b"4096", b"OAUTHBEARER\0\0")))


async def test_a_password_in_clear_is_given_where_that_is_asked_for(served) -> None:
    heard = []

    async def talk(asking: Asking) -> None:
        asking.say(3)
        heard.append(await asking.hear())
        asking.let_in()

    await (await connect(await served(talk), RULES, "shop", Room())).close()
    assert heard == [PASSWORD.encode() + b"\0"]


async def test_a_server_with_md5_lets_us_in(served) -> None:
    heard = []

    async def talk(asking: Asking) -> None:
        asking.say(5, b"salt")
        heard.append(await asking.hear())
        asking.let_in()

    await (await connect(await served(talk), RULES, "shop", Room())).close()
    inner = md5(f"{PASSWORD}kt".encode(), usedforsecurity=False).hexdigest()
    assert heard == [f"md5{md5(inner.encode() + b'salt', usedforsecurity=False).hexdigest()}".encode() + b"\0"]


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
async def test_a_real_server_lets_us_in_by_scram(mode: str, database: Database) -> None:
    server = Server(LOOPBACK, database.port, database.user, Sensitive.of(database.password), database.name, mode)
    made = await connect(server, RULES, "shop", Room())
    asked = await made.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert await asked.fetchone() == (mode != "disable",)
    await made.close()


async def test_a_question_over_tls_can_be_given_up(database: Database) -> None:
    server = Server(LOOPBACK, database.port, database.user, Sensitive.of(database.password), database.name, "require")
    made = await connect(server, RULES, "shop", Room())
    asking = asyncio.ensure_future(made.execute("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.2)
    asking.cancel()
    await asyncio.wait((asking,), timeout=10)
    assert asking.cancelled()
    await made.close()
