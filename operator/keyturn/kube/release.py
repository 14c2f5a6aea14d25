"""Lets go of Secrets: takes our ownerReferences off, and leaves data and marks where they are.

Whoever deletes the CRDs deletes all ManagedSecrets, and the garbage collector would delete their
Secrets with them. After this it finds nothing to delete, and a re-installed operator, which knows
its Secrets by their marks, takes them back.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from keyturn.kube.client import METADATA_LIST, Client, decode
from keyturn.kube.metadata import items_of, partial_list
from keyturn.kube.objects import collection as objects_at
from keyturn.kube.secrets import SecretCache, SecretEditor
from keyturn.model.errors import ClusterConflict, Forbidden, KeyturnError, ObjectGone
from keyturn.model.ids import GROUP, MANAGED_LABEL, Kind, SecretRef
from keyturn.model.plan import Leftover

OPERATOR_LABELS = "app.kubernetes.io/name=keyturn"
TRIES = 5


class OperatorRuns(KeyturnError):
    """An operator runs, and would take everything back at once; the message has the command that stops it."""


@dataclass(frozen=True, slots=True)
class Released:
    """One Secret that was looked at, and whether there was something to let go."""

    ref: SecretRef
    was_ours: bool


async def check_stopped(client: Client, namespaces: tuple[str, ...]) -> bool:
    """Raises `OperatorRuns` where a Deployment of ours wants replicas and serves one of these namespaces (none = all).

    False where this cannot be told: whoever administers a namespace alone may not list the cluster's Deployments.
    """
    query = {"labelSelector": OPERATOR_LABELS}
    try:
        found = decode(await client.request("GET", "/apis/apps/v1/deployments", query=query, what="list deployments"))
    except Forbidden:
        if not namespaces:
            raise
        return False
    for item in found.get("items") or ():
        if _is_running(item) and _serves(item, namespaces):
            raise OperatorRuns(
                "an operator runs and would take the Secrets back at once; stop it first: "
                f"kubectl -n {item['metadata']['namespace']} scale deployment/{item['metadata']['name']} --replicas=0"
            )
    return True


def _is_running(deployment: Mapping[str, Any]) -> bool:
    return bool(deployment["spec"].get("replicas", 1) or deployment.get("status", {}).get("replicas", 0))


def _serves(deployment: Mapping[str, Any], namespaces: tuple[str, ...]) -> bool:
    """Whether its flags, or their twins in the environment, name one of these; without any it serves the whole cluster."""
    served: set[str] = set()
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        words = [*container.get("command", ()), *container.get("args", ())]
        given = [word.removeprefix("--namespace=") for word in words if word.startswith("--namespace=")]
        given += [value for flag, value in pairwise(words) if flag == "--namespace"]
        given += [pair.get("value", "") for pair in container.get("env", ()) if pair["name"] == "KEYTURN_NAMESPACES"]
        served |= {name.strip() for value in given for name in value.replace(",", " ").split()}
    return not namespaces or not served or not served.isdisjoint(namespaces)


async def taken_back(client: Client, released: Sequence[SecretRef]) -> SecretRef | None:
    """The first Secret that is owned again: an operator that no Deployment shows runs somewhere, and was quicker."""
    reader = SecretCache(client)
    for ref in released:
        live = await reader.look(ref)
        if live is not None and any(_is_ours(o.api_version, o.kind) for o in live.owners):
            return ref
    return None


async def release(client: Client, namespaces: tuple[str, ...]) -> AsyncIterator[Released]:
    """Lets go of every Secret of ours in these namespaces, or in all where none is named."""
    reader = SecretCache(client)
    editor = SecretEditor(client, reader)
    seen: set[SecretRef] = set()
    for namespace in namespaces or ("",):
        async for ref in _ours(client, namespace):
            if ref not in seen:
                seen.add(ref)
                yield Released(ref, await _let_go(reader, editor, ref))


async def _ours(client: Client, namespace: str) -> AsyncIterator[SecretRef]:
    """By our label, and by the status of each ManagedSecret: a label can be taken off by anybody."""
    secrets = f"/api/v1/namespaces/{namespace}/secrets" if namespace else "/api/v1/secrets"
    async for body in _pages(client, secrets, METADATA_LIST, {"labelSelector": f"{MANAGED_LABEL}=true"}):
        for item in items_of(partial_list.decode(body)):
            yield SecretRef(item.namespace, item.name)
    try:
        async for body in _pages(client, objects_at(Kind.MANAGED_SECRET, namespace), "application/json", {}):
            for item in decode(body).get("items") or ():
                if name := ((item.get("status") or {}).get("target") or {}).get("name"):
                    yield SecretRef(item["metadata"]["namespace"], name)
    except ObjectGone:
        # The CRDs are gone already; labels are what is left to go by.
        return


async def _pages(client: Client, path: str, accept: str, selection: dict[str, str]) -> AsyncIterator[bytes]:
    token = ""
    while True:
        query = {"limit": "500", **selection, **({"continue": token} if token else {})}
        body = await client.request("GET", path, query=query, accept=accept, what=f"list {path}")
        yield body
        token = (decode(body).get("metadata") or {}).get("continue", "")
        if not token:
            return


async def _let_go(reader: SecretCache, editor: SecretEditor, ref: SecretRef) -> bool:
    for _ in range(TRIES):
        live = await reader.look(ref)
        if live is None or all(not _is_ours(o.api_version, o.kind) for o in live.owners):
            return False
        try:
            await editor.strip(live, Leftover(), {o.uid for o in live.owners if not _is_ours(o.api_version, o.kind)})
        except ClusterConflict:
            continue
        return True
    raise ClusterConflict(f"{ref} keeps changing; run the command again")


def _is_ours(api_version: str, kind: str) -> bool:
    return api_version.startswith(f"{GROUP}/") and kind == Kind.MANAGED_SECRET
