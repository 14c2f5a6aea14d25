"""What our objects have said one after the other, asked for afterwards: the API server keeps the events of some minutes."""

import json
from collections.abc import Iterator

from controlplane.plane import ControlPlane
from reader import OURS, Json, Reader, reader_of

_LIMIT_S = 5


def mark(plane: ControlPlane) -> str:
    """A place in the history: what is written from now on comes after it."""
    return str(json.loads(reader_of(plane).text(f"{OURS}/clustersecretproviders?limit=1"))["metadata"]["resourceVersion"])


def histories(plane: ControlPlane, namespace: str, since: str) -> Iterator[list[Json]]:
    """For each of our objects the versions that it had since a mark, oldest first, the present one included."""
    reader = reader_of(plane)
    for path in (
        f"{OURS}/namespaces/{namespace}/managedsecrets",
        f"{OURS}/namespaces/{namespace}/secretproviders",
        f"{OURS}/clustersecretproviders",
    ):
        yield from _histories(reader, path, since)


def _histories(reader: Reader, path: str, since: str) -> Iterator[list[Json]]:
    present = {item["metadata"]["uid"]: item for item in reader.items(path)}
    awaited = {uid: version for uid, item in present.items() if int(version := item["metadata"]["resourceVersion"]) > int(since)}
    found: dict[str, list[Json]] = {}
    for event in reader.watch(path, since, _LIMIT_S) if awaited else ():
        made, meta = event["object"], event["object"]["metadata"]
        if event["type"] == "ERROR":
            break  # so old that it was forgotten; the present remains
        found.setdefault(meta["uid"], []).append(made)
        if int(meta["resourceVersion"]) >= int(awaited.get(meta["uid"], meta["resourceVersion"])):
            awaited.pop(meta["uid"], None)
        if not awaited:
            break
    yield from ([*found.pop(uid, ()), item] for uid, item in present.items())
    yield from found.values()
