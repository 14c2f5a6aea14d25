"""What the API server's audit log says of the operator's requests."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from controlplane.plane import ControlPlane

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
READS = frozenset({"get", "list", "watch"})
MANAGED = "keyturn.dev/managed=true"

_REFERRING = ("clientCert", "clientKey", "bearerToken", "caProvider")
"""Fields that refer to a Secret or ConfigMap, beside those whose name says so."""

REFERRED: set[tuple[str, str, str]] = set()
"""Resource, namespace and name of all that the specs of providers have referred to in this process, in whatever cluster."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the API server saw it. ``is_ours``: made by our own client, not by Kopf."""

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    uri: str
    code: int
    agent: str
    at: str

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES

    @property
    def is_ours(self) -> bool:
        return not self.agent.endswith(" kopf")

    @property
    def is_narrow(self) -> bool:
        """Whether a list or watch is one of the two sorts that there may be."""
        query = parse_qs(urlsplit(self.uri).query)
        return may_list(self.resource, self.namespace, query.get("labelSelector", [""])[0], query.get("fieldSelector", [""])[0])

    def __str__(self) -> str:
        what = f"{self.resource}{'/' + self.subresource if self.subresource else ''}"
        return f"{self.code} {self.verb} {what} {self.namespace}/{self.name} ({self.agent})"


def mark(plane: ControlPlane) -> int:
    """A place in the log: what is asked from now on comes after it."""
    return plane.audit_log.stat().st_size


def requests(plane: ControlPlane, user_agent: str = "keyturn/", since: int = 0) -> list[Request]:
    """The requests after a mark by agents whose name begins so, in the order in which they were answered."""
    found: dict[str, Request] = {}
    for event in events(plane, since):
        if event.get("userAgent", "").startswith(user_agent):
            found.setdefault(event["auditID"], _request(event))  # a watch is there twice: at its start and at its end
    return list(found.values())


def events(plane: ControlPlane, since: int = 0) -> list[dict[str, Any]]:
    """What stands in the log after a mark. A line that was half written then is of something that was asked before."""
    with plane.audit_log.open("rb") as log:
        log.seek(max(since - 1, 0))
        lines = log.read().split(b"\n")
    return [json.loads(line) for line in lines[1 if since else 0 : -1]]


def _request(event: Mapping[str, Any]) -> Request:
    asked, answered = event.get("objectRef") or {}, event.get("responseStatus") or {}
    assert isinstance(asked, dict)
    assert isinstance(answered, dict)
    return Request(
        verb=str(event["verb"]),
        resource=asked.get("resource", ""),
        subresource=asked.get("subresource", ""),
        namespace=asked.get("namespace", ""),
        name=asked.get("name", ""),
        uri=str(event["requestURI"]),
        code=answered.get("code", 0),
        agent=str(event["userAgent"]),
        at=str(event["requestReceivedTimestamp"]),
    )


def writes(found: Iterable[Request], *resources: str) -> list[Request]:
    """The writes among them, of these resources, else of all."""
    return [r for r in found if r.is_write and (not resources or r.resource in resources)]


def tally(found: Iterable[Request]) -> dict[str, int]:
    """How many of each sort, for messages."""
    return dict(Counter(f"{r.verb} {r.resource}{'/' + r.subresource if r.subresource else ''}" for r in found))


def may_list(resource: str, namespace: str, selector: str, field_selector: str) -> bool:
    """Whether a list or watch of Secrets or ConfigMaps is of those with our label, or of one that a spec refers to."""
    if resource == "secrets" and (selector, field_selector) == (MANAGED, ""):
        return True
    key, _, name = field_selector.partition("=")
    return key == "metadata.name" and (resource, namespace, name) in REFERRED


def refer(made: Mapping[str, Any]) -> dict[str, Any]:
    """Notes what a provider object refers to, and gives it back; others it gives back as they are."""
    if made.get("kind") in ("SecretProvider", "ClusterSecretProvider"):
        REFERRED.update(_references(made["spec"].get("provider", {}), made["metadata"].get("namespace", "")))
    return dict(made)


def _references(spec: Mapping[str, Any], namespace: str) -> Iterator[tuple[str, str, str]]:
    for field, member in spec.items():
        if not isinstance(member, dict):
            continue
        if "name" in member and field != "serviceAccountRef" and (field.endswith("Ref") or field in _REFERRING):
            yield f"{member.get('type', 'Secret').lower()}s", member.get("namespace", namespace), member["name"]
        yield from _references(member, namespace)
