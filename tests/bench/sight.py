"""What a watch sees of our Secrets, and when."""

import base64
import http.client
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Self

from bench.sources import FIELD
from cluster.api import path_of
from controlplane.plane import ControlPlane
from keyturn.model.ids import MANAGED_LABEL

Name = tuple[str, str]
"""Namespace and name."""

_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Seen:
    """The value of a Secret at a moment of the monotonic clock; None = it was gone."""

    at: float
    value: str | None


class Sight:
    """A thread that reads the watch as its lines come; it ends with the block."""

    def __init__(self, plane: ControlPlane) -> None:
        token = json.loads(plane.kubeconfig.read_text())["users"][0]["user"]["token"]
        tls = ssl.create_default_context(cafile=str(plane.ca_file))
        self._connection = http.client.HTTPSConnection(plane.url.removeprefix("https://"), context=tls, timeout=_HOUR_S)
        path = f"{path_of('Secret')}?watch=1&timeoutSeconds={_HOUR_S}&labelSelector={MANAGED_LABEL}%3Dtrue"
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        self._socket = self._connection.sock
        self._answer = self._connection.getresponse()
        self._seen: dict[Name, Seen] = {}
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="sight", daemon=True)
        self._is_over = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        assert isinstance(self._socket, socket.socket)
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def took(self, name: Name, value: str, since: float, limit_s: float) -> float:
        """Seconds from a moment of the monotonic clock until the watch told of that value. Raises TimeoutError."""
        deadline = time.monotonic() + limit_s
        with self._news:
            while (seen := self._seen.get(name)) is None or seen.at <= since or seen.value != value:
                if not self._news.wait(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"Secret {'/'.join(name)} was not as it should be within {limit_s:g} s")
            return seen.at - since

    def value(self, name: Name) -> str:
        """What the watch told last."""
        with self._news:
            assert self._news.wait_for(lambda: name in self._seen, timeout=60), f"no Secret {'/'.join(name)}"
            return self._seen[name].value or ""

    def _read(self) -> None:
        try:
            for line in iter(self._answer.readline, b""):
                self._take(line, time.monotonic())
        except (OSError, http.client.HTTPException, ValueError):
            if not self._is_over:
                raise

    def _take(self, line: bytes, at: float) -> None:
        event = json.loads(line)
        found = event["object"]
        held = (found.get("data") or {}).get(FIELD)
        value = None if held is None or event["type"] == "DELETED" else base64.b64decode(held).decode()
        with self._news:
            self._seen[found["metadata"]["namespace"], found["metadata"]["name"]] = Seen(at, value)
            self._news.notify_all()
