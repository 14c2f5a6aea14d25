"""EKS Pod Identity's agent, as it sits on each node: a role's keys for whoever brings the pod's token, which changes."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from contract.aws_sts import Identity, Sts

FIRST = "kt-canary-pod-token"


class Agent:
    """Takes one token at a time. ``life_s`` is of the keys that it gives; ``brought`` has every token that came."""

    def __init__(self, sts: Sts, port: int) -> None:
        self.sts, self.url = sts, f"http://127.0.0.1:{port}/v1/credentials"
        self.token, self.life_s = FIRST, 6 * 3600.0
        self.brought: list[str] = []
        self.says: bytes | None = None
        self.renew()

    def renew(self) -> None:
        """From now on it gives other keys, and those from before are nobody's."""
        self.sts.identities = {name: each for name, each in self.sts.identities.items() if not name.startswith("ASIAPOD")}
        self.key_id = f"ASIAPOD{time.monotonic_ns() % 10**13:013d}"
        self.sts.identities[self.key_id] = Identity("kt-canary-pod", "pod", f"kt-canary-pod-session-{self.key_id}")

    def answer(self, token: str) -> tuple[int, bytes]:
        self.brought.append(token)
        if token != self.token:
            return 400, b"kt-canary-prose"
        if self.says is not None:
            return 200, self.says
        who = self.sts.identities[self.key_id]
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.life_s))
        told = {"AccessKeyId": self.key_id, "SecretAccessKey": who.secret, "Token": who.token, "Expiration": until}
        return 200, json.dumps(told).encode()


class _Server(ThreadingHTTPServer):
    agent: Agent


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        status, body = self.server.agent.answer(self.headers["Authorization"] or "")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def agency(sts: Sts) -> Iterator[Agent]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.agent = Agent(sts, server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.agent
        finally:
            server.shutdown()
            thread.join()
