"""``/healthz``, ``/readyz`` and ``/metrics`` on a listener of their own. Says nothing that a stranger may not read.

Served by threads, and never by the event loop: these pages have to answer while it hangs, since they are who says so.
"""

import asyncio
import io
import logging
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from keyturn.model.errors import KeyturnError
from keyturn.telemetry import Metrics

log = logging.getLogger("keyturn.health")

REQUEST_LIMIT = 8192
REQUEST_S = 5.0
"""How long a whole request may take to arrive, and its answer to leave."""
CONNECTIONS = 64
"""More at once, and the oldest makes room: whoever keeps connections open keeps nobody out."""
TEXT = "text/plain; charset=utf-8"
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"

Page = tuple[int, str, bytes]


class NoListener(KeyturnError):
    """The address is taken, or is none."""


@dataclass(slots=True)
class HealthServer:
    """``problems`` names why the operator is not ready, and ``deaths`` why it has to be ended. Both are asked in other threads."""

    address: str
    problems: Callable[[], list[str]]
    deaths: Callable[[], list[str]]
    metrics: Metrics
    _listener: "_Listener | None" = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Listens. Raises `NoListener` where that is not possible."""
        host, _, port = self.address.rpartition(":")
        host = host.strip("[]")
        everywhere = not host and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if everywhere or ":" in host else socket.AF_INET
        try:
            bound = socket.create_server((host, _port(port)), family=family, backlog=CONNECTIONS, dualstack_ipv6=everywhere)
        except (OSError, ValueError) as error:
            message = f"cannot listen on {self.address} ({error.__class__.__name__}); choose a free HOST:PORT with --health-address"
            raise NoListener(message) from None
        self._listener = _Listener(bound, self._page)
        self._thread = threading.Thread(target=self._listener.serve, name="keyturn-health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on, which the system chose where the address has 0; 0 where it does not listen."""
        return int(self._listener.server_address[1]) if self._listener else 0

    async def stop(self) -> None:
        """Listens no more; who is being answered still gets the answer."""
        if self._listener is not None and self._thread is not None:
            self._listener.end()
            await asyncio.to_thread(self._thread.join)

    def _page(self, path: str) -> Page:
        match path:
            case "/healthz":
                return _told(self.deaths(), 500)
            case "/readyz":
                return _told(self.problems(), 503)
            case "/metrics":
                return 200, EXPOSITION, self.metrics.exposition()
        return 404, TEXT, b"there are /healthz, /readyz and /metrics\n"


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise ValueError(port)
    return port


def _told(found: list[str], status: int) -> Page:
    return status if found else 200, TEXT, ("\n".join(found or ["ok"]) + "\n").encode()


class _Listener(ThreadingHTTPServer):
    """A thread for each connection, each for one request. ``page`` gives what a path shows."""

    daemon_threads = True

    def __init__(self, bound: socket.socket, page: Callable[[str], Page]) -> None:
        super().__init__(bound.getsockname()[:2], _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket, self.page = bound, page
        # Who listens must never wait for one connection, not even for one that is gone again.
        bound.setblocking(False)
        self._open: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        self._wake, self._woken = socket.socketpair()

    def serve(self) -> None:
        """Until `end`."""
        with self, self._wake, self._woken, selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while all(key.fileobj is not self._woken for key, _ in selector.select()):
                self.handle_request()

    def end(self) -> None:
        """Makes `serve` return. From any thread."""
        self._wake.send(b"\0")

    def process_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(REQUEST_S)
        with self._lock:
            self._open[request] = None
            crowded = next(iter(self._open)) if len(self._open) > CONNECTIONS else None
        if crowded is not None:
            with suppress(OSError):
                crowded.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _ = request, client_address
        error = sys.exception()
        if isinstance(error, OSError):
            log.debug("a connection broke (%s)", type(error).__name__)
        else:
            log.error("defect while answering", exc_info=error)


class _Arriving(io.RawIOBase):
    """What a client sends, until it is too much or takes too long."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._left = connection, REQUEST_LIMIT
        self._deadline = time.monotonic() + REQUEST_S

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As `io.RawIOBase` has it; raises `TimeoutError` at either limit."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0 or not self._left:
            raise TimeoutError
        self._connection.settimeout(left_s)
        got = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= got
        return got


class _Answer(BaseHTTPRequestHandler):
    """One request and its answer, without a word about who we are."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"
    wbufsize = -1
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Arriving(self.connection))

    def do_GET(self) -> None:
        self._send(*self.server.page(self.path.partition("?")[0]))

    def do_HEAD(self) -> None:
        self.do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses: its own text would repeat the request."""
        _ = message, explain
        is_verb = code == 501
        self._send(405 if is_verb else code, TEXT, b"only GET and HEAD\n" if is_verb else b"that is no request\n")

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.connection.settimeout(REQUEST_S)
        self.close_connection = True
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        if status == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *given: Any) -> None:
        """No access log: probes come all the time."""
