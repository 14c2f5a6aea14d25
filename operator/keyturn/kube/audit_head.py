"""The ConfigMap that keeps the newest checkpoint of the audit trail, where whoever has the database has no access."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from keyturn.kube.client import MERGE, METADATA, Client
from keyturn.kube.events import EventPoster
from keyturn.model.audit import Head
from keyturn.model.errors import ObjectGone

NAME: Final = "keyturn-audit-head"


class _Metadata(msgspec.Struct):
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _ConfigMap(msgspec.Struct):
    metadata: _Metadata
    data: dict[str, str] | None = None


_config_map: Final = msgspec.json.Decoder(_ConfigMap)


@dataclass(slots=True)
class KubeAuditHead:
    """The port `Outside`. Operators of different classes, each with a trail of its own, have members of their own in one ConfigMap.

    ``client`` must be one that may write after our term too: the last checkpoint follows the last row.
    """

    client: Client
    namespace: str
    controller_class: str
    events: EventPoster
    _seen: _Metadata = field(default_factory=_Metadata)

    async def read(self) -> str:
        try:
            found = _config_map.decode(await self.client.request("GET", self._path, what=self._what))
        except ObjectGone:
            self._seen = _Metadata()
            return ""
        self._seen = found.metadata
        return (found.data or {}).get(self._member("note"), "")

    async def write(self, note: str, head: Head, vkey: str) -> None:
        data = {self._member(name): text for name, text in (("note", note), ("head", str(head)), ("vkey", vkey))}
        metadata: dict[str, Any] = {"labels": {"app.kubernetes.io/part-of": "keyturn"}}
        if not self._seen.resource_version:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, **metadata}, "data": data}
            answer = await self.client.request("POST", self._collection, msgspec.json.encode(body), accept=METADATA, what=self._what)
        else:
            body = {"metadata": {"resourceVersion": self._seen.resource_version, **metadata}, "data": data}
            encoded = msgspec.json.encode(body)
            answer = await self.client.request("PATCH", self._path, encoded, content=MERGE, accept=METADATA, what=self._what)
        self._seen = _config_map.decode(answer).metadata

    def tell(self, kind: str, reason: str, note: str) -> None:
        regarding = {"apiVersion": "v1", "kind": "ConfigMap", "name": NAME, "namespace": self.namespace, "uid": self._seen.uid}
        self.events.tell(regarding, kind, reason, note)

    def _member(self, name: str) -> str:
        return f"{name}.{self.controller_class}" if self.controller_class else name

    @property
    def _collection(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"

    @property
    def _path(self) -> str:
        return f"{self._collection}/{NAME}"

    @property
    def _what(self) -> str:
        return f"ConfigMap {self.namespace}/{NAME}"
