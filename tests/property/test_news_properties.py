"""Nothing that another did to an object of ours goes unnoticed, in whatever order events and answers to our own writes come."""

from collections.abc import Callable, Coroutine, Generator
from copy import deepcopy
from typing import Any, cast

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from builders import condition, msec
from keyturn.flow.world import World
from keyturn.handlers.news import News
from keyturn.kube.client import Client
from keyturn.kube.objects import ObjectCache, managed_from
from keyturn.model.errors import ClusterConflict
from keyturn.model.ids import RECONCILE_ANNOTATION, Kind
from keyturn.model.objects import Managed
from keyturn.model.status import Status

APP = msec()
KEYS = {"one": "1", "two": "2"}


class Answer:
    """What a request waits for: it goes on when the test says so."""

    def __await__(self) -> Generator[None]:
        yield


class Server:
    """One object at an API server, a watch of it that lags behind, and one worker that looks at it when there is news."""

    def __init__(self) -> None:
        self.version, self.incarnation = 100, 1
        self.raw: dict[str, Any] = self._made()
        self.events: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.is_queued = False
        self.worked_on: Managed | None = None
        self.write: tuple[Managed, Status, Coroutine[Any, Any, None]] | None = None
        # The one request is the status that goes back, and the queue is the only part of the world that news of it need.
        self.cache = ObjectCache(cast("Client", self))
        self.queue = self
        self.news = News(self.cache, cast("World", self))
        self.news.hear(Kind.MANAGED_SECRET, None, deepcopy(self.raw))

    def add(self, *_: object) -> None:
        self.is_queued = True

    async def request(self, _verb: str, _path: str, body: bytes, **_: object) -> bytes:
        sent, meta = msgspec.json.decode(body), self.raw["metadata"]
        if any(sent["metadata"][name] != meta[name] for name in ("uid", "resourceVersion")):
            await Answer()
            raise ClusterConflict("status: 409 Conflict", status=409)
        self.raw["status"] = {name: held for name, held in sent["status"].items() if held is not None}
        self._moved()
        answer = msgspec.json.encode({"metadata": self.raw["metadata"]})
        await Answer()
        return answer

    def _made(self) -> dict[str, Any]:
        meta = {"namespace": APP.namespace, "name": APP.name, "uid": f"uid-{self.incarnation}", "generation": 1}
        return {"metadata": meta | {"resourceVersion": str(self.version)}, "spec": self._spec("one")}

    def _spec(self, key: str) -> dict[str, Any]:
        return {"providerRef": {"name": "vault"}, "data": [{"secretKey": key, "remoteRef": {"key": key}}]}

    def _moved(self) -> None:
        self.version += 1
        self.raw["metadata"]["resourceVersion"] = str(self.version)
        self.events.append(deepcopy(self.raw))

    def edit(self) -> None:
        self.raw["metadata"]["generation"] += 1
        self.raw["spec"] = self._spec(f"key-{self.version}")
        self._moved()

    def label(self) -> None:
        self.raw["metadata"]["labels"] = {"version": str(self.version)}
        self._moved()

    def ask(self) -> None:
        self.raw["metadata"]["annotations"] = {RECONCILE_ANNOTATION: str(self.version)}
        self._moved()

    def meddle(self) -> None:
        """Somebody else writes the status."""
        self.raw["status"] = {"revision": f"theirs-{self.version}"}
        self._moved()

    def delete(self) -> None:
        if "deletionTimestamp" not in self.raw["metadata"]:
            self.raw["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "generation": self.raw["metadata"]["generation"] + 1}
            self._moved()

    def replace(self) -> None:
        """Deleted and made anew, which the watch tells as one change of it."""
        self.incarnation += 1
        self.version += 1
        self.raw = self._made()
        self._moved()

    def listen(self) -> None:
        if self.events:
            self.told.append(self.events.pop(0))
            self.repeat()

    def repeat(self) -> None:
        """The last event once more."""
        if self.told:
            self.news.hear(Kind.MANAGED_SECRET, "MODIFIED", deepcopy(self.told[-1]))

    def relist(self) -> None:
        self.told += [*self.events, deepcopy(self.raw)]
        self.events.clear()
        self.news.hear(Kind.MANAGED_SECRET, None, deepcopy(self.raw))

    def work(self) -> None:
        """The worker takes the object, and its status is on its way."""
        held = self.cache.managed(APP)
        if self.write is None and self.is_queued and held is not None:
            self.is_queued, self.worked_on = False, held
            status = Status(held.generation, (condition(),), f"ours-{self.version}", handled_reconcile=held.reconcile_token)
            self.write = held, status, self.cache.write(held, status)
            self.write[2].send(None)

    def answer(self) -> None:
        if self.write is None:
            return
        held, status, sending = self.write
        self.write = None
        try:
            sending.send(None)
        except StopIteration:
            self.worked_on = Managed(held.ref, held.uid, held.generation, "", held.deleting, held.order, status, held.reconcile_token)
        except ClusterConflict:
            # Whoever moved it comes as news.
            self.worked_on = held


ACTS: dict[str, Callable[[Server], None]] = {
    "edit": Server.edit,
    "label": Server.label,
    "ask": Server.ask,
    "meddle": Server.meddle,
    "delete": Server.delete,
    "replace": Server.replace,
    "listen": Server.listen,
    "repeat": Server.repeat,
    "relist": Server.relist,
    "work": Server.work,
    "answer": Server.answer,
}


def essence(found: Managed) -> tuple[object, ...]:
    return found.uid, found.generation, found.deleting, found.reconcile_token, found.status


@given(st.lists(st.sampled_from(sorted(ACTS)), max_size=8) | st.lists(st.sampled_from(sorted(ACTS)), min_size=10, max_size=60))
@example(["work", "meddle", "listen", "listen", "answer"])
@example(["work", "listen", "answer", "meddle", "listen"])
@example(["work", "answer", "ask", "listen"])
@example(["work", "answer", "edit", "delete", "replace", "listen", "listen", "listen"])
def test_the_cache_ends_as_the_server_and_what_was_not_worked_on_waits(acts: list[str]) -> None:
    server = Server()
    for act in acts:
        ACTS[act](server)
    server.answer()
    while server.events:
        server.listen()
    held = server.cache.managed(APP)
    assert held == managed_from(server.raw)
    assert server.is_queued or (server.worked_on is not None and essence(server.worked_on) == essence(held))
