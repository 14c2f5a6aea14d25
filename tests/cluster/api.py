"""Calls of the API as the administrator over one kept connection: what kubectl does, without a process for each."""

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlencode

from cluster.audit import refer
from cluster.waiting import eventually
from controlplane.installation import NAMESPACE
from controlplane.plane import ControlPlane
from keyturn.kube.audit_head import NAME as AUDIT_CONFIG_MAP
from keyturn.model.ids import AUDIT_HEAD_ANNOTATION

Json = dict[str, Any]

JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"

_GROUPS = {
    "Namespace": "/api/v1",
    "Secret": "/api/v1",
    "ConfigMap": "/api/v1",
    "ServiceAccount": "/api/v1",
    "Deployment": "/apis/apps/v1",
    "Lease": "/apis/coordination.k8s.io/v1",
    "ManagedSecret": "/apis/keyturn.dev/v1alpha1",
    "SecretProvider": "/apis/keyturn.dev/v1alpha1",
    "ClusterSecretProvider": "/apis/keyturn.dev/v1alpha1",
    "Event": "/apis/events.k8s.io/v1",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1",
    "Role": "/apis/rbac.authorization.k8s.io/v1",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1",
}
_LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/keyturn"
_OF_THE_CLUSTER = ("Namespace", "ClusterSecretProvider", "CustomResourceDefinition", "ClusterRoleBinding")


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """The URL path of an object, or of its collection."""
    middle = f"/namespaces/{namespace}" if namespace and kind not in _OF_THE_CLUSTER else ""
    return f"{_GROUPS[kind]}{middle}/{kind.lower()}s{f'/{name}' if name else ''}"


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, answer: Any) -> None:
        super().__init__(f"{status}: {answer.get('message') if isinstance(answer, dict) else answer}")
        self.status = status


class Api:
    """The API server, as the administrator."""

    def __init__(self, plane: ControlPlane) -> None:
        shown = json.loads(plane.kubeconfig.read_text())
        self._headers = {"Authorization": f"Bearer {shown['users'][0]['user']['token']}"}
        self._host = plane.url.removeprefix("https://")
        self._tls = ssl.create_default_context(cafile=str(plane.ca_file))
        self._connection: http.client.HTTPSConnection | None = None

    def call(self, verb: str, path: str, body: object = None, content: str = JSON, **query: str) -> Any:
        """The parsed answer. Raises ApiError."""
        data = None if body is None else json.dumps(body)
        status, text = self._send(verb, f"{path}{'?' + urlencode(query) if query else ''}", data, content)
        answer = json.loads(text)
        if status >= 300:
            raise ApiError(status, answer)
        return answer

    def find(self, kind: str, namespace: str, name: str) -> Json | None:
        """The object, None where there is none."""
        try:
            return dict(self.call("GET", path_of(kind, namespace, name)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def get(self, kind: str, namespace: str, name: str) -> Json:
        return dict(self.call("GET", path_of(kind, namespace, name)))

    def items(self, kind: str, namespace: str = "", **query: str) -> list[Json]:
        return list(self.call("GET", path_of(kind, namespace), **query)["items"])

    def create(self, made: Json, **query: str) -> Json:
        return refer(self.call("POST", path_of(made["kind"], made["metadata"].get("namespace", "")), made, **query))

    def merge(self, kind: str, namespace: str, name: str, patch: Json, **query: str) -> Json:
        return refer(self.call("PATCH", path_of(kind, namespace, name), patch, MERGE, **query))

    def delete(self, kind: str, namespace: str, name: str, **options: Any) -> None:
        self.call("DELETE", path_of(kind, namespace, name), {"apiVersion": "v1", "kind": "DeleteOptions", **options})

    def audit_head(self) -> str:
        """How far the operator's Lease knows its audit trail to go; '' where it knows of none."""
        return str(self.call("GET", _LEASE)["metadata"].get("annotations", {}).get(AUDIT_HEAD_ANNOTATION, ""))

    def audit_anchors(self) -> list[str]:
        """How somebody accepts that all is lost which the cluster knows of the audit trail."""
        kept = (self.find("ConfigMap", NAMESPACE, AUDIT_CONFIG_MAP) or {}).get("data", {}).get("head", "")
        return [part for head in (self.audit_head(), kept) if head for part in ("--anchor", head)]

    def warning(self, reason: str, about: str) -> dict[str, Any]:
        """The first event with this reason about an object of the operator's namespace, once it is there."""

        def found() -> list[dict[str, Any]]:
            events = [each for each in self.items("Event", NAMESPACE) if each["reason"] == reason]
            return [each for each in events if (each["type"], each["regarding"]["name"]) == ("Warning", about)]

        return eventually(found, what=lambda: f"no warning {reason}")[0]

    def forget_audit_head(self) -> None:
        """What the operator of an earlier test left there, whose trail was in another database."""
        calls: tuple[tuple[Any, ...], ...] = (
            ("PATCH", _LEASE, {"metadata": {"annotations": {AUDIT_HEAD_ANNOTATION: None}}}, MERGE),
            ("DELETE", path_of("ConfigMap", NAMESPACE, AUDIT_CONFIG_MAP)),
        )
        for call in calls:
            try:
                self.call(*call)
            except ApiError as error:
                if error.status != 404:
                    raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, verb: str, path: str, data: str | None, content: str) -> tuple[int, bytes]:
        for again in (True, False):
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(self._host, context=self._tls, timeout=30)
            try:
                self._connection.request(verb, path, data, {**self._headers, "Content-Type": content})
                with self._connection.getresponse() as answer:
                    return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                # A kept connection that the server has closed meanwhile; a new one says what is really wrong.
                self.close()
                if not again:
                    raise
        raise AssertionError
