"""A control plane of our own, on 127.0.0.1, for as long as it is entered."""

import base64
import fcntl
import functools
import http.client
import json
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from controlplane.build import find_or_build
from controlplane.cluster import Cluster
from controlplane.errors import ControlPlaneError
from controlplane.hold import Hold
from controlplane.keeper import remove
from controlplane.programs import Programs
from controlplane.servers import Servers

_READY_LIMIT = 120  # seconds; it takes 5 on an idle machine
_ANSWER_LIMIT = 30  # seconds
_LOOK_EVERY = 0.05  # seconds
_LOOK_LIMIT = 2  # seconds: on a port that was taken, who listens there may never answer
_PORT_TRIES = 3
_PORT_TAKEN = "address already in use"


class ControlPlane(Cluster):
    """etcd, kube-apiserver and kube-controller-manager; there is no node, so no pod ever runs.

    Servers can be stopped, killed and started again one by one, with the same ports and data.
    """

    def __init__(self, servers: Servers, hold: Hold) -> None:
        super().__init__(servers.programs["kubectl"], hold, servers.kubeconfig)
        self.url = servers.url
        self.ca_file = servers.ca_file
        self.audit_log = servers.audit_log
        self.has_controllers = servers.controllers
        self._servers = servers

    @classmethod
    @contextmanager
    def run(cls, *, audit: bool = True, controllers: bool = True) -> Iterator[Self]:
        """A new one, ended with the block, or with the process however that ends. Raises ControlPlaneError.

        Without `controllers` no garbage is collected and no namespace ends, but it starts a second sooner.
        """
        programs = find_or_build()
        with Hold.open() as hold:
            yield cls._launch(programs, hold, audit=audit, controllers=controllers)

    @classmethod
    @contextmanager
    def share(cls, folder: Path) -> Iterator[Self]:
        """The one that all holders of a keeper's folder share; whoever comes first starts it."""
        programs = find_or_build()
        with Hold.attach(folder) as hold:
            note = folder / "controlplane.json"
            with (folder / "controlplane.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if note.exists():
                    plane = cls(Servers.from_json(note.read_text()), hold)
                else:
                    plane = cls._launch(programs, hold, audit=True, controllers=True)
                    note.write_text(plane._servers.to_json())
            yield plane

    @classmethod
    def _launch(cls, programs: Programs, hold: Hold, *, audit: bool, controllers: bool, tries: int = _PORT_TRIES) -> Self:
        """Starts all servers; others may take a port between our look and the server's, so a few times if need be."""
        plane = cls(Servers(programs, hold.folder / "plane", audit, controllers and programs.has_controller_manager), hold)
        try:
            plane._start_all()
        except ControlPlaneError as error:
            if _PORT_TAKEN not in str(error):
                raise
            if tries == 1:
                raise ControlPlaneError(f"the control plane found no free ports in {_PORT_TRIES} tries: {error}") from error
        else:
            return plane
        for name in hold.returncodes():
            hold.end(name, signal.SIGKILL)
            (hold.folder / f"{name}.log").unlink()
        remove(hold.folder / "plane")
        return cls._launch(programs, hold, audit=audit, controllers=controllers, tries=tries - 1)

    def _start_all(self) -> None:
        self._servers.write_files()
        for name in ("etcd", "kube-apiserver"):  # at once: the API server waits for its database by itself
            self._start(name)
        for name in self._servers.names[1:]:
            if name not in self.hold.returncodes():
                self._start(name)
            self._wait(name)

    def start(self, name: str) -> None:
        """Starts a server that was stopped or killed, and returns when it serves."""
        self._start(name)
        self._wait(name)

    def stop(self, name: str) -> None:
        """Ends a server as an upgrade would, with time to finish what it is at."""
        self.hold.end(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """Ends a server as a power cut would."""
        self.hold.end(name, signal.SIGKILL)

    def request(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, Any]:
        """Status and parsed JSON (or text) of one call of the API, as the administrator unless a token is given.

        Raises OSError when there is no answer.
        """
        return self._request(method, path, body, token, _ANSWER_LIMIT)

    def etcd_get(self, key: str) -> bytes | None:
        """What the database holds under a key such as /registry/secrets/NAMESPACE/NAME, or None."""
        found = self._ask_etcd("/v3/kv/range", {"key": base64.b64encode(key.encode()).decode()}).get("kvs")
        return base64.b64decode(found[0]["value"]) if found else None

    def compact_etcd(self) -> int:
        """Forgets all revisions before the current one, which is returned.

        The API server answers old watches and list continuations from its own memory, though: to have them answered
        with 410, start it again after this.
        """
        revision = int(self._ask_etcd("/v3/kv/range", {"key": base64.b64encode(b"/").decode()})["header"]["revision"])
        self._ask_etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        return revision

    def _request(self, method: str, path: str, body: object, token: str | None, seconds: float) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or self._servers.token}", "Content-Type": "application/json"}
        return _ask(self._opener, urllib.request.Request(self.url + path, data, headers, method=method), seconds)

    def _ask_etcd(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = _ask(_direct(), urllib.request.Request(self._servers.etcd_url + path, json.dumps(body).encode()), _ANSWER_LIMIT)
        if status != 200:
            raise ControlPlaneError(f"etcd answers {path} with {status}: {answer}")
        return dict(answer)

    def _start(self, name: str) -> None:
        self.hold.start(name, self._servers.argv(name), self._servers.environment())

    def _wait(self, name: str) -> None:
        """Returns when a server serves; raises ControlPlaneError at once when one that should run has ended."""
        deadline = time.monotonic() + _READY_LIMIT
        while not self._serves(name):
            for other, returncode in self.hold.returncodes().items():
                if returncode is not None:
                    raise ControlPlaneError(f"{other} ended with {returncode}:\n{self.hold.log(other)}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"{name} is not ready after {_READY_LIMIT} s:\n{self.hold.log(name)}")
            time.sleep(_LOOK_EVERY)

    def _serves(self, name: str) -> bool:
        signs: dict[str, Callable[[], bool]] = {
            "etcd": lambda: _ask(_direct(), urllib.request.Request(f"{self._servers.etcd_url}/health"), _LOOK_LIMIT)[0] == 200,
            "kube-apiserver": lambda: self._finds("/readyz"),
            "kube-controller-manager": lambda: self._finds("/api/v1/namespaces/default/serviceaccounts/default"),
        }
        try:
            return signs[name]()
        except (
            OSError,
            http.client.HTTPException,
        ):  # refused, somebody else there, or no certificate yet: that is what "not yet" looks like
            return False

    def _finds(self, path: str) -> bool:
        return self._request("GET", path, None, None, _LOOK_LIMIT)[0] == 200

    @functools.cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        return _direct(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.ca_file)))


def _direct(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Calls that no proxy of the user's environment sees."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)


def _ask(opener: urllib.request.OpenerDirector, request: urllib.request.Request, seconds: float) -> tuple[int, Any]:
    """Status and JSON or text; raises OSError when there is no answer in that time."""
    try:
        with opener.open(request, timeout=seconds) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode(errors="replace")
