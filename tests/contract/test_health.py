"""The health server over the wire: it answers while the event loop hangs, and nobody keeps others from it."""

import asyncio
import http.client
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from cluster.waiting import eventually
from controlplane.servers import LOOPBACK
from keyturn.decide.watchdog import LAG_S
from keyturn.flow.workqueue import WorkQueue
from keyturn.handlers.health import CONNECTIONS, REQUEST_LIMIT, REQUEST_S, HealthServer, NoListener
from keyturn.handlers.watchdog import Watchdog
from keyturn.model.metrics import TASKS
from keyturn.telemetry import Metrics

WITHIN_S = 5.0


@dataclass(slots=True)
class Desk:
    """A server whose claims a test sets."""

    problems: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    server: HealthServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = HealthServer(f"{LOOPBACK}:0", lambda: list(self.problems), lambda: list(self.deaths), Metrics())

    def ask(self, path: str, verb: str = "GET", body: bytes | None = None) -> tuple[int, str]:
        """Status and text of an answer."""
        with closing(http.client.HTTPConnection(LOOPBACK, self.server.port, timeout=WITHIN_S)) as connection:
            connection.request(verb, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def say(self, sent: bytes) -> bytes:
        """All that comes back for these bytes, until the server closes."""
        with self.connect() as connection:
            connection.sendall(sent)
            with suppress(OSError):  # it may have been shut already, before we are through
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.server.port), timeout=2 * REQUEST_S)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    made.server.start()
    yield made
    await made.server.stop()
    with pytest.raises(OSError, match="refused"):
        made.connect()


@pytest.mark.parametrize(("path", "told"), [("/healthz", (200, "ok\n")), ("/readyz", (200, "ok\n")), ("/readyz?verbose", (200, "ok\n"))])
async def test_all_is_well(desk: Desk, path: str, told: tuple[int, str]) -> None:
    assert desk.ask(path) == told


async def test_what_is_wrong_is_named_line_by_line(desk: Desk) -> None:
    desk.problems, desk.deaths = ["one", "two"], ["three"]
    assert desk.ask("/readyz") == (503, "one\ntwo\n")
    assert desk.ask("/healthz") == (500, "three\n")


async def test_metrics_are_shown_in_the_text_format(desk: Desk) -> None:
    desk.server.metrics.watch(TASKS, lambda: 3.0)
    with closing(http.client.HTTPConnection(LOOPBACK, desk.server.port, timeout=WITHIN_S)) as connection:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "\nkeyturn_tasks 3.0\n" in answer.read().decode()


async def test_an_answer_does_not_say_who_gives_it(desk: Desk) -> None:
    for sent in (b"GET /readyz HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n"):
        head = desk.say(sent).partition(b"\r\n\r\n")[0].lower()
        assert head.startswith(b"http/1.1 ")
        assert b"server:" not in head
        assert b"python" not in head


async def test_head_is_get_without_the_text(desk: Desk) -> None:
    assert desk.ask("/readyz", "HEAD") == (200, "")
    assert b"Content-Length: 3\r\n" in desk.say(b"HEAD /readyz HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE", "TRACE", "kt-canary-verb"])
async def test_nothing_can_be_done_to_it(desk: Desk, verb: str) -> None:
    assert desk.ask("/readyz", verb, b"kt-canary-body") == (405, "only GET and HEAD\n")


@pytest.mark.parametrize("path", ["/", "/kt-canary-path", "/healthz/", "/readyz/../metrics", "//evil.example/x", "*"])
async def test_an_unknown_path_is_not_found_and_not_repeated(desk: Desk, path: str) -> None:
    assert desk.ask(path) == (404, "there are /healthz, /readyz and /metrics\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"kt-canary-nonsense\r\n\r\n",
        b"GET /readyz HTTP/9.9\r\n\r\n",
        b"GET /readyz HTTP/x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET " + b"/" * 3 * REQUEST_LIMIT + b" HTTP/1.1\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\n" + b"a: b\r\n" * 120 + b"\r\n",
        b"GET /readyz HTTP/1.1\r\na: " + b"b" * 3 * REQUEST_LIMIT + b"\r\n\r\n",
        b"\xff\x00" * 50,
        b"",
    ],
    ids=range(9),
)
async def test_nonsense_is_refused_without_an_echo_or_a_log_line(desk: Desk, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        try:
            back = desk.say(sent)
        except ConnectionError:
            back = b""  # it was closed while there was more to say
    assert back == b"" or back.split()[1] in (b"400", b"431", b"505")
    assert b"canary" not in back
    assert caplog.records == []
    assert desk.ask("/readyz") == (200, "ok\n")


@contextmanager
def many_silent(desk: Desk, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(desk.connect()) for _ in range(count)]


async def test_connections_that_say_nothing_keep_nobody_out(desk: Desk) -> None:
    with many_silent(desk, 2 * CONNECTIONS) as silent:
        silent[-1].sendall(b"GET /rea")
        assert desk.ask("/readyz") == (200, "ok\n")
        # The oldest made room.
        assert silent[0].recv(1) == b""
        assert sum(thread.name.startswith("Thread-") for thread in threading.enumerate()) <= 2 * CONNECTIONS


async def test_a_request_that_does_not_end_is_given_up(desk: Desk) -> None:
    with desk.connect() as slow:
        slow.sendall(b"GET /readyz HTTP/1.1\r\n")
        assert slow.recv(1) == b""


async def test_a_defect_answers_nothing_and_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.server.problems = lambda: [str(1 // 0)]
    assert desk.say(b"GET /readyz HTTP/1.1\r\n\r\n") == b""
    assert desk.ask("/healthz") == (200, "ok\n")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == ["defect while answering"]


@pytest.mark.parametrize("address", ["somewhere", "127.0.0.1:port", "127.0.0.1:99999", "192.0.2.1:0"])
def test_what_cannot_be_listened_on_is_named(address: str) -> None:
    with pytest.raises(NoListener, match=rf"cannot listen on {address} \(\w+\); choose a free HOST:PORT with --health-address"):
        HealthServer(address, list, list, Metrics()).start()


@pytest.mark.parametrize("address", [":0", "[::1]:0", "0.0.0.0:0"])
async def test_an_address_may_be_of_either_family_or_of_both(address: str) -> None:
    server = HealthServer(address, list, list, Metrics())
    server.start()
    try:
        for host in ("::1", LOOPBACK) if address == ":0" else ("::1",) if ":" in address.removesuffix(":0") else (LOOPBACK,):
            with closing(http.client.HTTPConnection(host, server.port, timeout=WITHIN_S)) as connection:
                connection.request("GET", "/healthz")
                assert connection.getresponse().read() == b"ok\n"
    finally:
        await server.stop()


def test_a_loop_that_hangs_is_named_while_it_hangs_and_dead_only_later() -> None:
    """The loop runs in a thread of its own and is held there; we ask from here."""
    dead_s = LAG_S + 1
    held, desk = threading.Event(), Desk()

    async def life(up: threading.Event, stop: asyncio.Event) -> None:
        watchdog = Watchdog(WorkQueue(), [], stall_limit_s=120.0, dead_limit_s=dead_s)
        desk.server.problems, desk.server.deaths = watchdog.problems, watchdog.deaths
        desk.server.start()
        watchdog.begin()
        asyncio.get_running_loop().call_soon(up.set)
        asyncio.get_running_loop().call_soon(held.wait)
        await stop.wait()
        watchdog.end()
        await desk.server.stop()

    loop, up, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(life(up, stop)))
    thread.start()
    try:
        assert up.wait(WITHIN_S)
        assert (desk.ask("/readyz"), desk.ask("/healthz")) == ((200, "ok\n"), (200, "ok\n"))
        status, text = eventually(lambda: (found := desk.ask("/readyz"))[0] == 503 and found, 5 * LAG_S) or (0, "")
        assert (status, text[:34]) == (503, "the event loop stands still for 5 ")
        assert desk.ask("/healthz") == (200, "ok\n")
        eventually(lambda: desk.ask("/healthz") == (500, "the event loop stands still for 6 s\n"), 5 * dead_s)
        held.set()
        eventually(lambda: (desk.ask("/readyz"), desk.ask("/healthz")) == ((200, "ok\n"), (200, "ok\n")), WITHIN_S)
    finally:
        held.set()
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
