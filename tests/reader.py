"""Reads everything of a namespace as the administrator, over one kept connection: what watchers of a test look at."""

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from controlplane.plane import ControlPlane

Json = dict[str, Any]

OURS = "/apis/keyturn.dev/v1alpha1"
_LIMIT_S = 30


class Reader:
    """Answers are given as text too: a scan must see what a parser would drop."""

    def __init__(self, plane: ControlPlane) -> None:
        kubeconfig = json.loads(plane.kubeconfig.read_text())
        self._headers = {"Authorization": f"Bearer {kubeconfig['users'][0]['user']['token']}"}
        self._host = plane.url.removeprefix("https://")
        self._tls = ssl.create_default_context(cafile=str(plane.ca_file))
        self._kept: http.client.HTTPSConnection | None = None
        self._resources: tuple[str, ...] = ()

    def text(self, path: str) -> str:
        """The answer, '' where it is no success (what was asked for went meanwhile). Raises OSError where nobody answers."""
        for again in (True, False):
            if self._kept is None:
                self._kept = self._connect()
            try:
                self._kept.request("GET", path, headers=self._headers)
                with self._kept.getresponse() as answer:
                    text = answer.read().decode()
                    return text if answer.status == 200 else ""
            except (OSError, http.client.HTTPException):
                # A kept connection that the server closed meanwhile; a new one says what is really wrong.
                self.close()
                if not again:
                    raise
        raise AssertionError

    def items(self, path: str) -> list[Json]:
        """The objects of a collection."""
        return list(json.loads(self.text(path) or '{"items": []}')["items"])

    def watch(self, path: str, since: str, seconds: int) -> Iterator[Json]:
        """Events after a resourceVersion, those of the past at once; at most for so long."""
        connection = self._connect()
        try:
            connection.request("GET", f"{path}?watch=1&resourceVersion={since}&timeoutSeconds={seconds}", headers=self._headers)
            with connection.getresponse() as answer:
                yield from (json.loads(line) for line in answer)
        finally:
            connection.close()

    def collections(self, namespace: str) -> Iterator[str]:
        """The path of each sort of object that a namespace can hold."""
        if not self._resources:
            self._resources = tuple(self._discover())
        for resource in self._resources:
            base, _, plural = resource.rpartition("/")
            yield f"{base}/namespaces/{namespace}/{plural}"

    def close(self) -> None:
        if self._kept is not None:
            with suppress(OSError):
                self._kept.close()
            self._kept = None

    def _discover(self) -> Iterator[str]:
        groups = json.loads(self.text("/apis"))["groups"]
        for base in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
            for resource in json.loads(self.text(base) or '{"resources": []}')["resources"]:
                if resource["namespaced"] and "list" in resource["verbs"]:
                    yield f"{base}/{resource['name']}"

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, context=self._tls, timeout=_LIMIT_S)


_readers: dict[str, Reader] = {}


def reader_of(plane: ControlPlane) -> Reader:
    """The one that all watchers of a control plane share."""
    return _readers.setdefault(f"{plane.url} {plane.folder}", Reader(plane))


def close_all() -> None:
    """Lets go of all connections."""
    while _readers:
        _readers.popitem()[1].close()
