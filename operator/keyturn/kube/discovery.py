"""What the API server serves of ours: which kinds, and with which schema."""

import asyncio

from keyturn.kube.client import METADATA, Client, decode
from keyturn.kube.crds import HASH_ANNOTATION, schema_hash
from keyturn.kube.metadata import partial
from keyturn.model.errors import ObjectGone
from keyturn.model.ids import GROUP, VERSION, Kind


async def served(client: Client) -> set[str]:
    """The plural names of our kinds that are served."""
    try:
        found = decode(await client.request("GET", f"/apis/{GROUP}/{VERSION}", what="discovery"))
    except ObjectGone:
        return set()
    return {resource["name"] for resource in found.get("resources", ())}


async def is_current(client: Client, kind: Kind) -> bool:
    """Whether the CRD was made from the same models as this operator. Raises a `ClusterError` without the right to look."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.{GROUP}"
    found = partial.decode(await client.request("GET", path, accept=METADATA, what=f"CRD of {kind.plural}")).metadata
    # In a thread: building a schema takes tens of milliseconds.
    return found.annotations.get(HASH_ANNOTATION) == await asyncio.to_thread(schema_hash, kind)
