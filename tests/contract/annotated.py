"""Annotations of ServiceAccounts on a real API server, as their tenants write them."""

import asyncio

from contract.kubes import Cluster


async def annotate(here: Cluster, name: str, **annotations: str) -> None:
    """From now on these are all that it has."""
    path = f"/api/v1/namespaces/{here.namespace}/serviceaccounts/{name}"
    found = await asyncio.to_thread(here.call, "GET", path)
    found["metadata"]["annotations"] = annotations
    await asyncio.to_thread(here.call, "PUT", path, found)
