"""Servers that are no servers: each ends as no answer does, at one of the two moments, and costs little before that."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from contract.servers import Babbling, Listener, Rough
from keyturn.decide.address import AddressRules
from keyturn.model.errors import Unavailable
from keyturn.providers.dial import CONNECT_S, FAILS_AT_S, NO_ANSWER, Line

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MUCH = 64 << 10
MOST = 32 << 20
ALIKE = 2  # times: as far as failures may lie apart on a busy machine

# What it says first, and what it says again and again from then on.
ENDLESS = {
    "headers": (OK, b"X-A: b\r\n" * 8000),
    "one header": (OK + b"X-A: ", b"a" * MUCH),
    "large headers": (OK, b"".join(b"X-%d: " % n + b"a" * 8000 + b"\r\n" for n in range(100))),
    "a status": (b"HTTP/1.1 200 ", b"a" * MUCH),
    "empty lines": (b"", b"\r\n" * 32_000),
    "words that say to wait": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4000),
    "hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 4000),
    "chunks": (CHUNKED, b"1\r\na\r\n" * 8000),
    "a chunk's size": (CHUNKED, b"0" * MUCH),
    "a chunk's extension": (CHUNKED + b"1;", b"a" * MUCH),
    "a chunk's trailers": (CHUNKED + b"0\r\n", b"X-A: b\r\n" * 8000),
    "a body": (OK + b"\r\n", b"a" * MUCH),
    "a body of a known length": (OK + b"Content-Length: 1000000000000\r\n\r\n", b"a" * MUCH),
    "another protocol": (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b"a" * MUCH),
    "zeros": (b"", b"\0" * MUCH),
}

SHORT = {
    "an end in the head": OK + b"X-A",
    "an end in the body": OK + b"Content-Length: 100\r\n\r\nkt-canary-part",
    "an end in a chunk": CHUNKED + b"5\r\nab",
    "an end before the last chunk": CHUNKED + b"2\r\nab\r\n",
    "HTTP/0.9": b"<html>kt-canary-page</html>",
    "HTTP/3.0": b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a length that no number holds": OK + b"Content-Length: 99999999999999999999999999\r\n\r\na",
    "a length below nothing": OK + b"Content-Length: -1\r\n\r\na",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a status that is none": b"HTTP/1.1 20 OK\r\n\r\n",
    "a line end in a header": OK + b"X-A: a\rb\r\n\r\n",
}


@pytest.fixture
def listeners(loop: asyncio.AbstractEventLoop) -> Iterator[Callable[[Listener], Listener]]:
    made: list[Listener] = []

    def begin(listener: Listener) -> Listener:
        made.append(listener.__enter__())
        return made[-1]

    yield begin
    for listener in made:
        listener.__exit__()


async def failed(line: Line) -> float:
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable) as failure:
        await line.send("GET", "/there", headers={"X-Token": "kt-canary-token"})
    assert (str(failure.value), failure.value.__cause__, failure.value.__context__) == (NO_ANSWER, None, None)
    return asyncio.get_running_loop().time() - begun


async def test_what_never_ends_is_ended_after_some_bytes(
    loop: asyncio.AbstractEventLoop, listeners: Callable[[Listener], Listener], opened: Callable[..., Line]
):
    babblers = {case: Babbling(loop, first, again) for case, (first, again) in ENDLESS.items()}
    began_cpu = time.thread_time()
    took = dict(zip(babblers, await asyncio.gather(*(failed(opened(listeners(each).url)) for each in babblers.values())), strict=True))
    assert {case: seconds for case, seconds in took.items() if not CONNECT_S <= seconds < ALIKE * FAILS_AT_S[0]} == {}
    taken = {case: each.taken for case, each in babblers.items()}
    # What both sides' kernels keep for us is most of it: within the time it could be a hundred times as much.
    assert {case: size for case, size in taken.items() if size > MOST} == {}
    assert time.thread_time() - began_cpu < CONNECT_S


async def test_what_ends_before_it_is_whole_is_none(
    loop: asyncio.AbstractEventLoop, listeners: Callable[[Listener], Listener], opened: Callable[..., Line]
):
    servers = {case: opened(listeners(Rough(loop, speech)).url) for case, speech in SHORT.items()}
    took = dict(zip(servers, await asyncio.gather(*map(failed, servers.values())), strict=True))
    assert {case: seconds for case, seconds in took.items() if not CONNECT_S <= seconds < ALIKE * FAILS_AT_S[0]} == {}


async def test_what_drips_ends_at_a_moment(
    loop: asyncio.AbstractEventLoop, listeners: Callable[[Listener], Listener], opened: Callable[..., Line]
):
    drips = [(b"", b"\r\n"), (OK, b"X-A: b\r\n"), (b"", b"HTTP/1.1 102 Processing\r\n\r\n"), (CHUNKED, b"1\r\na\r\n"), (OK + b"\r\n", b"a")]
    servers = [opened(listeners(Babbling(loop, first, drop, every_s=0.2)).url) for first, drop in drips]
    took = await asyncio.gather(*map(failed, servers))
    assert min(took) >= FAILS_AT_S[1]
    assert max(took) < ALIKE * FAILS_AT_S[1]


async def test_a_server_that_asks_for_tls_again_and_again_is_none(
    loop: asyncio.AbstractEventLoop, listeners: Callable[[Listener], Listener], opened: Callable[..., Line], trusting: ssl.SSLContext
):
    """What comes instead of a handshake: a record of zeros, an alert, one that is too large, and one that is never whole."""
    speeches = [b"\x16\x03\x03\x00\x00" * 1000, b"\x15\x03\x03\x00\x02\x01\x00" * 1000, b"\x16\x03\x03\xff\xff" + b"\0" * MUCH, b"\x16\x03"]
    servers = [opened(listeners(Babbling(loop, speech, b"\0")).url.replace("http:", "https:"), tls=trusting) for speech in speeches]
    took = await asyncio.gather(*map(failed, servers))
    assert min(took) >= CONNECT_S
    assert max(took) < ALIKE * FAILS_AT_S[0]


async def test_no_spelling_of_an_address_leads_where_none_may(
    loop: asyncio.AbstractEventLoop, listeners: Callable[[Listener], Listener], opened: Callable[..., Line]
):
    guarded = listeners(Rough(loop, b""))
    rules = AddressRules()
    hosts = [
        "user@127.0.0.1", "user:word@127.0.0.1", "vault.example@127.0.0.1", "127.0.0.1..", "0x7f.0x0.0x0.0x1", "0177.0.0.01",
        "127.000.000.001",
        "127.0.0.1%2f", "①②⑦.0.0.1", "127。0。0。1", "xn--127.0.0.1", "localhost.localdomain", "ｌocalhost", "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::127.0.0.1]", "[2002:7f00:1::]", "[fe80::1]", "[::1%25lo]", "[::%31]",
    ]  # fmt: skip
    servers = [opened(f"http://{host}:{guarded.port}", rules) for host in hosts]
    ports = [opened(f"http://127.0.0.1:{port}", AddressRules(("127.0.0.0/8",))) for port in ("0", "65536", "-1", "１")]
    took = await asyncio.gather(*map(failed, [*servers, *ports]))
    assert min(took) >= CONNECT_S
    assert max(took) < ALIKE * FAILS_AT_S[0]
    assert guarded.accepted == 0
