"""The event stream for people (events.k8s.io/v1): posted in the background, merged into series, bounded.

Losing an event loses no record, so that what comes too fast and what finds the queue full is dropped and counted, and a failed post
is logged.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from keyturn.decide.retry import Bucket
from keyturn.kube.client import MERGE, METADATA, Client
from keyturn.model.errors import ClusterError, NamespaceTerminating, NotLeading, ObjectGone
from keyturn.model.ids import API_VERSION
from keyturn.model.objects import Managed, ProviderObject
from keyturn.ports import Clock

log = logging.getLogger("keyturn.events")

CONTROLLER = "keyturn.dev/operator"
QUEUED = 1000
SERIES_WINDOW = timedelta(minutes=10)
REMEMBERED = 2000
OF_ONE, OF_ONE_PER_S = 25.0, 1 / 60
"""Of one object: so many at once, and then one a minute."""
OF_ALL, OF_ALL_PER_S = 500.0, 20.0
NOTE_LIMIT = 1000

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Series:
    name: str
    namespace: str
    first: datetime
    count: int = 1


@dataclass(frozen=True, slots=True)
class _Post:
    namespace: str
    regarding: dict[str, str]
    kind: str
    reason: str
    note: str
    at: datetime


@dataclass(slots=True)
class _Pace:
    """How many events there may be, of one object and of all: whoever flips a spec each second must not keep others from being heard."""

    _all: Bucket = field(default_factory=lambda: Bucket.full(OF_ALL_PER_S, OF_ALL, 0.0))
    _each: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)

    def admits(self, uid: str, now_s: float) -> bool:
        each, of_one_s = self._each.get(uid, Bucket.full(OF_ONE_PER_S, OF_ONE, now_s)).take(now_s)
        everybody, of_all_s = self._all.take(now_s)
        if of_one_s or of_all_s:
            return False
        self._all, self._each[uid] = everybody, each
        self._each.move_to_end(uid)
        while len(self._each) > REMEMBERED:
            self._each.popitem(last=False)
        return True


@dataclass(slots=True)
class EventPoster:
    """Takes events at once and posts them one after the other."""

    client: Client
    clock: Clock
    instance: str
    dropped: int = 0
    _pace: _Pace = field(default_factory=_Pace)
    _queue: asyncio.Queue[_Post] = field(default_factory=lambda: asyncio.Queue(QUEUED))
    _series: OrderedDict[tuple[str, str, str], _Series] = field(default_factory=OrderedDict)

    def post(self, about: Managed | ProviderObject, kind: str, reason: str, note: str) -> None:
        ref, now = about.ref, self.clock.now()
        if not self._pace.admits(about.uid, now.timestamp()):
            self.dropped += 1
            return
        regarding = {
            "apiVersion": API_VERSION,
            "kind": str(ref.kind),
            "name": ref.name,
            "uid": about.uid,
            "resourceVersion": about.resource_version,
        }
        if ref.namespace:
            regarding["namespace"] = ref.namespace
        self.tell(regarding, kind, reason, note)

    def tell(self, regarding: Mapping[str, str], kind: str, reason: str, note: str) -> None:
        """The same about any object, by a reference to it."""
        # Events on cluster-scoped objects live in "default", where kubectl describe looks for them.
        namespace = regarding.get("namespace", "default")
        made = _Post(namespace, dict(regarding), kind, reason, note[:NOTE_LIMIT], self.clock.now())
        try:
            self._queue.put_nowait(made)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            made = await self._queue.get()
            try:
                await self._send(made)
            except (NamespaceTerminating, ObjectGone):
                log.debug("event %s not posted: its namespace is going", made.reason)
            except NotLeading:
                self.dropped += 1
                log.info("event %s not posted: another replica leads", made.reason)
            except ClusterError as error:
                self.dropped += 1
                log.warning("event %s not posted: %s", made.reason, error)
            finally:
                self._queue.task_done()

    async def drain(self, limit_s: float = 2.0) -> None:
        """Gives what is queued a moment to go out before a stop."""
        try:
            async with asyncio.timeout(limit_s):
                await self._queue.join()
        except TimeoutError:
            self.dropped += self._queue.qsize()

    async def _send(self, made: _Post) -> None:
        key = (made.regarding["uid"], made.reason, made.note)
        series = self._series.get(key)
        if series is not None and made.at - series.first < SERIES_WINDOW:
            series.count += 1
            patch = {"series": {"count": series.count, "lastObservedTime": _micro(made.at)}}
            path = f"/apis/events.k8s.io/v1/namespaces/{series.namespace}/events/{series.name}"
            await self.client.request("PATCH", path, _encode(patch), content=MERGE, accept=METADATA, what="event series")
            return
        name = f"{made.regarding['name'][:200].rstrip('.-')}.{int(made.at.timestamp() * 1e6):x}"
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": made.namespace},
            "eventTime": _micro(made.at),
            "reportingController": CONTROLLER,
            "reportingInstance": self.instance[:128],
            "action": "Sync",
            "reason": made.reason,
            "regarding": made.regarding,
            "note": made.note,
            "type": made.kind,
        }
        path = f"/apis/events.k8s.io/v1/namespaces/{made.namespace}/events"
        await self.client.request("POST", path, _encode(body), accept=METADATA, what="event")
        self._series[key] = _Series(name, made.namespace, made.at)
        while len(self._series) > REMEMBERED:
            self._series.popitem(last=False)


def _micro(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
