"""The Lease object by which replicas agree on who works. Changed by merge patches that a newer version refuses."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from keyturn.kube.client import MERGE, Client
from keyturn.model.errors import ObjectGone
from keyturn.model.ids import AUDIT_HEAD_ANNOTATION
from keyturn.model.lease import Lease


class _Metadata(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    acquire_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


_lease = msgspec.json.Decoder(_Lease)


@dataclass(frozen=True, slots=True)
class KubeLeases:
    """The port `Leases`: one `coordination.k8s.io/v1` Lease. ``client`` should serve nothing else, so that a renewal waits for nobody."""

    client: Client
    namespace: str
    name: str

    async def read(self) -> Lease | None:
        try:
            return _from(await self.client.request("GET", f"{self._collection}/{self.name}", what=self._what))
        except ObjectGone:
            return None

    async def write(self, lease: Lease) -> Lease:
        spec = {
            "holderIdentity": lease.holder,
            "leaseDurationSeconds": int(lease.duration_s),
            "renewTime": _micro(lease.renewed),
            "acquireTime": _micro(lease.acquired),
            "leaseTransitions": lease.transitions,
        }
        noted = {"annotations": {AUDIT_HEAD_ANNOTATION: lease.audit_head}} if lease.audit_head else {}
        if not lease.resource_version:
            return await self._create(spec, noted)
        body = {"metadata": {"resourceVersion": lease.resource_version, **noted}, "spec": spec}
        path = f"{self._collection}/{self.name}"
        return _from(await self.client.request("PATCH", path, msgspec.json.encode(body), content=MERGE, what=self._what))

    async def _create(self, spec: dict[str, Any], noted: dict[str, Any]) -> Lease:
        metadata = {"name": self.name, "labels": {"app.kubernetes.io/part-of": "keyturn"}, **noted}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        return _from(await self.client.request("POST", self._collection, msgspec.json.encode(body), what=self._what))

    @property
    def _collection(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"

    @property
    def _what(self) -> str:
        return f"Lease {self.namespace}/{self.name}"


def _from(body: bytes) -> Lease:
    found = _lease.decode(body)
    spec = found.spec
    return Lease(
        holder=spec.holder_identity or "",
        renewed=spec.renew_time or "",
        acquired=spec.acquire_time or "",
        transitions=spec.lease_transitions or 0,
        duration_s=float(spec.lease_duration_seconds or 0),
        resource_version=found.metadata.resource_version,
        audit_head=(found.metadata.annotations or {}).get(AUDIT_HEAD_ANNOTATION, ""),
    )


def _micro(at: str) -> str | None:
    """As a MicroTime, which takes no shorter form."""
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else None
