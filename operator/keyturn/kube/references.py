"""Keys of Secrets and ConfigMaps that provider objects refer to: read by name, and their objects followed as metadata alone.

Tells that an object changed, and never what of it: metadata show no difference between a new value and a new label. What
follows from a change is for others to decide. Beside `SecretCache.read` the one place that asks for data.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from keyturn.decide.seats import giver
from keyturn.kube.client import JSON, METADATA, Client
from keyturn.kube.metadata import Metadata, partial
from keyturn.kube.pages import Room
from keyturn.kube.secrets import is_newer
from keyturn.kube.watch import Key, MetadataWatch
from keyturn.model.errors import AuthFailed, Busy, ClusterError, Forbidden, ObjectGone, Unavailable
from keyturn.model.ids import Carrier, KeyRef, ObjectRef
from keyturn.model.sensitive import Sensitive

log = logging.getLogger("keyturn.references")

WATCH_LIMIT = 200
POLL_S = 30.0


class _Holding(msgspec.Struct, rename="camel"):
    """A Secret or ConfigMap with its data; empty bytes may come as null."""

    metadata: Metadata
    data: dict[str, str | None] = {}
    binary_data: dict[str, str | None] = {}


_holding = msgspec.json.Decoder(_Holding)


class Holder(NamedTuple):
    """The object that has the key."""

    carrier: Carrier
    namespace: str
    name: str

    @classmethod
    def of(cls, ref: KeyRef) -> "Holder":
        return cls(ref.carrier, ref.namespace, ref.name)

    @property
    def collection(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/{self.carrier.plural}"

    @property
    def path(self) -> str:
        return f"{self.collection}/{quote(self.name, safe='')}"

    def __str__(self) -> str:
        return f"{self.carrier}/{self.namespace}/{self.name}"


class State(NamedTuple):
    """An object as it stood at some time."""

    uid: str = ""
    version: str = ""


ABSENT = State()


@dataclass(slots=True, eq=False)
class Followed:
    """One object, and those on whose behalf it is followed.

    ``known`` are the states that they may know of: the one that they were told of, and those that were read since. Each read
    is one follower's: the others have still to hear of what came before it.
    """

    holder: Holder
    followers: set[ObjectRef] = field(default_factory=set)
    known: set[State] = field(default_factory=set)
    seen: State | None = None
    watching: asyncio.Task[None] | None = None
    problem: str = ""

    @property
    def is_watched(self) -> bool:
        return self.watching is not None and not self.watching.done()

    def stop(self) -> None:
        """Ends the watch; what was seen by it stays."""
        if self.watching is not None:
            self.watching.cancel()
            self.watching = None


@dataclass(slots=True)
class ReferenceWatches:
    """The port `References`: one watch for each object, shared by its followers; what is beyond ``watch_limit`` is polled.

    Where the limit is reached, no namespace keeps more watches than another one that wants more.

    ``on_change`` is told of each follower of an object that came, went or was changed after it was first read. A watch
    that faults goes on trying and says so in the log: what a tenant names must not make the operator unready.
    """

    client: Client
    on_change: Callable[[ObjectRef], None] = lambda _: None
    poll_s: float = POLL_S
    watch_limit: int = WATCH_LIMIT
    _followed: dict[Holder, Followed] = field(default_factory=dict)
    _wishes: dict[ObjectRef, frozenset[Holder]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _polling: asyncio.Task[None] | None = None
    _room: Room = field(default_factory=Room)

    async def read(self, ref: KeyRef) -> Sensitive:
        holder = Holder.of(ref)
        try:
            found = _holding.decode(await self.client.request("GET", holder.path, accept=JSON, what=f"read {ref}"))
        except ObjectGone:
            self._note(holder, ABSENT)
            raise AuthFailed(f"{ref} is not there, and the provider needs its key {ref.key!r}; create it, or name another one") from None
        except Forbidden:
            right = f"the right to get {ref.carrier.plural} in the namespace {ref.namespace}"
            raise AuthFailed(f"{ref}, key {ref.key!r}: give the operator's ServiceAccount {right} (deploy/base has its role)") from None
        except ClusterError as error:
            raise Unavailable(str(error), retry_after=error.retry_after) from None
        self._note(holder, State(found.metadata.uid, found.metadata.resource_version))
        return _value(found, ref)

    def follow(self, who: ObjectRef, refs: Collection[KeyRef]) -> None:
        former, wished = self._wishes.pop(who, frozenset()), frozenset(map(Holder.of, refs))
        if wished:
            self._wishes[who] = wished
        for holder in former - wished:
            self._leave(holder, who)
        for holder in sorted(wished - former):
            self._followed.setdefault(holder, Followed(holder)).followers.add(who)
        self._arrange()

    async def close(self) -> None:
        """Ends all watches; nothing is told of any more."""
        self._followed.clear()
        self._wishes.clear()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # `_ended` has said what was wrong

    def _leave(self, holder: Holder, who: ObjectRef) -> None:
        followed = self._followed[holder]
        followed.followers.discard(who)
        if not followed.followers:
            del self._followed[holder]
            followed.stop()

    def _arrange(self) -> None:
        """Watches as many as may be, and polls for as long as anything is followed: also those whose watch broke."""
        watched: dict[str, list[Followed]] = {}
        polled: dict[str, list[Followed]] = {}
        for followed in self._followed.values():
            (watched if followed.is_watched else polled).setdefault(followed.holder.namespace, []).append(followed)
        for namespace, waiting in polled.items():
            for followed in waiting:
                if not self._has_seat(namespace, watched):
                    break
                followed.watching = self._spawn(self._watch(followed).run(), f"follow {followed.holder}")
                watched.setdefault(namespace, []).append(followed)
        if self._followed and (self._polling is None or self._polling.done()):
            self._polling = self._spawn(self._poll(), "poll references")
        elif not self._followed and self._polling is not None:
            self._polling.cancel()
            self._polling = None

    def _has_seat(self, namespace: str, watched: Mapping[str, list[Followed]]) -> bool:
        """Whether one more of the namespace may be watched: a seat is free, or given up by who has most."""
        held = {name: len(found) for name, found in watched.items()}
        if sum(held.values()) < self.watch_limit:
            return True
        gives = giver(held, namespace)
        if gives:
            watched[gives].pop().stop()
        return bool(gives)

    def _watch(self, followed: Followed) -> MetadataWatch:
        def put(found: Metadata) -> None:
            self._see(followed, State(found.uid, found.resource_version))

        def drop(_: Key, uid: str) -> None:
            followed.seen = ABSENT
            # A successor that was read already is no news, and its own event comes.
            if any(state.uid == uid for state in followed.known):
                self._compare(followed)

        def on_list() -> None:
            if not watch.known:
                self._see(followed, ABSENT)

        holder = followed.holder
        selector = f"metadata.name={holder.name}"
        watch = MetadataWatch(self.client, holder.collection, put, drop, field_selector=selector, on_list=on_list, room=self._room)
        return watch

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self.poll_s)
            for followed in [followed for followed in self._followed.values() if not followed.is_watched]:
                try:
                    state = await self._look(followed.holder)
                except ClusterError as error:
                    log.log(logging.DEBUG if str(error) == followed.problem else logging.WARNING, "not followed: %s", error)
                    followed.problem = str(error)
                    if isinstance(error, Busy):
                        break
                    continue
                followed.problem = ""
                if not followed.is_watched:
                    self._see(followed, state)

    async def _look(self, holder: Holder) -> State:
        try:
            found = partial.decode(await self.client.request("GET", holder.path, accept=METADATA, what=f"look at {holder}")).metadata
        except ObjectGone:
            return ABSENT
        return State(found.uid, found.resource_version)

    def _note(self, holder: Holder, read: State) -> None:
        """What the watch saw while a read was under way may be newer."""
        followed = self._followed.get(holder)
        if followed is not None:
            followed.known.add(read)
            self._compare(followed)

    def _see(self, followed: Followed, state: State) -> None:
        followed.seen = state
        self._compare(followed)

    def _compare(self, followed: Followed) -> None:
        seen = followed.seen
        if seen is None or not any(_is_news(known, seen) for known in followed.known):
            return
        followed.known = {seen}
        log.info("%s changed", followed.holder)
        for who in sorted(followed.followers):
            self.on_change(who)

    def _spawn(self, job: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(job, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("%s ended", task.get_name(), exc_info=error)


def _is_news(known: State, seen: State) -> bool:
    """Whether ``seen`` came after ``known``."""
    if ABSENT in (known, seen):
        return known != seen
    return is_newer(seen.version, known.version)


def _value(found: _Holding, ref: KeyRef) -> Sensitive:
    plain, encoded = (found.data, found.binary_data) if ref.carrier is Carrier.CONFIG_MAP else ({}, found.data)
    if ref.key in plain:
        return Sensitive.of(plain[ref.key] or "")
    if ref.key in encoded:
        return Sensitive(base64.b64decode(encoded[ref.key] or "", validate=True))
    raise AuthFailed(f"{ref} has no key {ref.key!r}, which the provider needs; add it, or name another one")
