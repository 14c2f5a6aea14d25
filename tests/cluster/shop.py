"""A namespace with a file provider of its own, and short ways to make and see what is in it."""

import base64
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from canary import Canary
from cluster.api import Api, Json
from cluster.waiting import LIMIT_S, eventually

API_VERSION = "keyturn.dev/v1alpha1"


def managed_secret(namespace: str, name: str, provider: Mapping[str, str], keys: Mapping[str, str], **spec: Any) -> Json:
    """A ManagedSecret whose ``keys`` map a key of the Secret to one of the provider."""
    data = [{"secretKey": key, "remoteRef": {"key": remote}} for key, remote in keys.items()]
    metadata = {"name": name, "namespace": namespace}
    return {
        "apiVersion": API_VERSION,
        "kind": "ManagedSecret",
        "metadata": metadata,
        "spec": {"providerRef": dict(provider), "data": data, **spec},
    }


def cluster_provider(name: str, provider: Json, **spec: Any) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": "ClusterSecretProvider",
        "metadata": {"name": name},
        "spec": {"provider": provider, **spec},
    }


def secret_provider(namespace: str, name: str, provider: Json, **spec: Any) -> Json:
    made = cluster_provider(name, provider, **spec)
    return {**made, "kind": "SecretProvider", "metadata": {"name": name, "namespace": namespace}}


def fake(**values: str) -> Json:
    return {"fake": {"data": [{"key": key, "value": value} for key, value in values.items()]}}


def encoded(**data: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


class Shop:
    """One namespace. Its sources are files in a folder, each file a value."""

    def __init__(self, api: Api, sources: Path, canary: Canary) -> None:
        self.api = api
        self._canary = canary
        self.namespace = f"shop-{secrets.token_hex(4)}"
        self.folder = sources / self.namespace
        self.provider = {"kind": "ClusterSecretProvider", "name": self.namespace}

    def open(self, **labels: str) -> "Shop":
        self.folder.mkdir()
        (self.folder / "beside").write_text("an empty folder would look like a volume that is not mounted")
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}})
        files = {"file": {"path": self.namespace, "format": "Directory"}}
        self.api.create(cluster_provider(self.namespace, files, conditions=[{"namespaces": [self.namespace]}]))
        return self

    def close(self) -> None:
        self.api.delete("Namespace", "", self.namespace)
        self.api.delete("ClusterSecretProvider", "", self.namespace)

    def value(self, name: str = "value") -> str:
        """A new secret value, which is looked for wherever it must not be."""
        return self._canary(name)

    def source(self, **values: str) -> None:
        """Sets values at the provider, each at once."""
        for key, value in values.items():
            fresh = self.folder.parent / f".{self.namespace}-{key}"
            fresh.write_text(value)
            fresh.rename(self.folder / key)

    def drop_source(self, *keys: str) -> None:
        for key in keys:
            (self.folder / key).unlink()

    def order(self, name: str, keys: Mapping[str, str] | None = None, **spec: Any) -> Json:
        """Makes a ManagedSecret; without ``keys`` with the one key `password` from the source `password`."""
        return self.api.create(managed_secret(self.namespace, name, self.provider, keys or {"password": "password"}, **spec))

    def synced(self, name: str, keys: Mapping[str, str] | None = None, **spec: Any) -> Json:
        """Makes a ManagedSecret and returns its Secret."""
        self.order(name, keys, **spec)
        self.wait(name)
        return self.secret(spec.get("target", {}).get("name", name))

    def change(self, name: str, **spec: Any) -> Json:
        """Changes the spec; None takes a field away."""
        return self.api.merge("ManagedSecret", self.namespace, name, {"spec": spec})

    def request_sync(self, name: str) -> str:
        """Asks for a reconcile by annotation; the token."""
        token = secrets.token_hex(4)
        annotations = {"keyturn.dev/reconcile-requested-at": token}
        self.api.merge("ManagedSecret", self.namespace, name, {"metadata": {"annotations": annotations}})
        return token

    def resync(self, name: str) -> Json:
        """Asks for a reconcile and waits for the answer; the status."""
        token = self.request_sync(name)
        return self.wait_status(name, lambda status: status.get("lastHandledReconcileAt") == token, f"request {token} handled")

    def status(self, name: str) -> Json:
        return dict(self.api.get("ManagedSecret", self.namespace, name).get("status", {}))

    def ready(self, name: str) -> Json:
        """The Ready condition, empty where there is none."""
        return condition(self.status(name), "Ready")

    def wait_status(self, name: str, is_wanted: Any, what: str, deadline_s: float = LIMIT_S) -> Json:
        def found() -> Json | None:
            status = self.status(name)
            return status if is_wanted(status) else None

        return eventually(found, deadline_s, lambda: f"{what} of {name}: {self.status(name)}") or {}

    def wait(self, name: str, reason: str = "Synced", deadline_s: float = LIMIT_S) -> Json:
        """Waits for Ready with this reason for the present generation; the condition."""

        def found() -> Json | None:
            managed = self.api.get("ManagedSecret", self.namespace, name)
            ready = condition(managed.get("status", {}), "Ready")
            is_current = ready.get("observedGeneration") == managed["metadata"]["generation"]
            return ready if is_current and ready["reason"] == reason else None

        return eventually(found, deadline_s, lambda: f"{name} has {reason}: {self.status(name)}") or {}

    def find(self, name: str) -> Json | None:
        """A Secret, None where there is none."""
        return self.api.find("Secret", self.namespace, name)

    def secret(self, name: str) -> Json:
        return self.api.get("Secret", self.namespace, name)

    def data(self, name: str) -> dict[str, str]:
        """The decoded data of a Secret, empty where there is none."""
        return {key: base64.b64decode(value).decode() for key, value in ((self.find(name) or {}).get("data") or {}).items()}

    def edit(self, name: str, manager: str = "somebody", **patch: Any) -> Json:
        """Edits a Secret by a merge patch, as somebody else."""
        return self.api.merge("Secret", self.namespace, name, patch, fieldManager=manager)

    def remove(self, name: str, **options: Any) -> None:
        """Deletes a ManagedSecret."""
        self.api.delete("ManagedSecret", self.namespace, name, **options)

    def collector_knows_all(self) -> None:
        """Waits until the garbage collector has seen every Secret so far: one that it does not know yet it would not free.

        After a restart of the API server it can take a minute or two to work again.
        """
        self.synced("beacon")
        self.remove("beacon", propagationPolicy="Background")
        eventually(lambda: self.find("beacon") is None, 200, "the garbage collector works")

    def is_gone(self, name: str) -> bool:
        """Whether the ManagedSecret is gone."""
        return self.api.find("ManagedSecret", self.namespace, name) is None

    def events(self, name: str) -> list[Json]:
        """Events about an object of that name, oldest first."""
        found = [e for e in self.api.items("Event", self.namespace) if e["regarding"]["name"] == name]
        return sorted(found, key=lambda event: str(event["eventTime"]))

    def reasons(self, name: str) -> list[str]:
        return [str(event["reason"]) for event in self.events(name)]


def condition(status: Json, kind: str) -> Json:
    return next((dict(c) for c in status.get("conditions", ()) if c["type"] == kind), {})
