"""The sink that a cluster is: every object of a namespace, its events among them, and of Secrets all but their data."""

import json
from collections.abc import Collection, Iterator

from canary.sinks import Text
from reader import OURS, Json, Reader

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def objects(reader: Reader, namespace: str, allowed: Collection[str]) -> Iterator[Text]:
    """What stands in a namespace, one text for each sort of object. Of the kinds in ``allowed``, the spec may hold values."""
    hidden = {"secrets": ("data", "stringData")} | {f"{kind.lower()}s": ("spec",) for kind in allowed}
    for path in reader.collections(namespace):
        members = hidden.get(path.rpartition("/")[2])
        yield path, json.dumps([without(made, *members) for made in reader.items(path)]) if members else reader.text(path)


def cluster_objects(reader: Reader) -> Iterator[Text]:
    """Our kinds that belong to no namespace. Their specs are not ours to write, and others' tests make them too."""
    for provider in reader.items(f"{OURS}/clustersecretproviders"):
        yield f"ClusterSecretProvider {provider['metadata']['name']}", json.dumps(without(provider, "spec"))


def without(made: Json, *members: str) -> Json:
    """The object without these members, and without the copy of itself that `kubectl apply` keeps in an annotation."""
    metadata = dict(made["metadata"])
    metadata["annotations"] = {name: value for name, value in (metadata.get("annotations") or {}).items() if name != _APPLIED}
    return {name: value for name, value in made.items() if name not in members} | {"metadata": metadata}
