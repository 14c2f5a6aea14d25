"""Reads providers: one read for each distinct value, shared by all who want it, and again in its slot.

One `Shelf` stands for one incarnation of one provider object. It holds what was read (values as
`Sensitive`, at most 64 MiB over all shelves), knows who wants what, and wakes exactly those whose
value changed. Nothing here knows what becomes of a value.
"""

import asyncio
import hashlib
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keyturn.decide.refresh import next_slot
from keyturn.flow.audit import audited
from keyturn.model.audit import AuditEntry
from keyturn.model.errors import AuditUnavailable, KeyturnError, ProviderError, Rejected, Unavailable, Unread
from keyturn.model.ids import ObjectRef
from keyturn.model.material import SourceRef, Value
from keyturn.model.objects import ProviderObject
from keyturn.ports import AuditLog, Clock, Provider, Providers

CACHE_BYTES = 64 << 20
PASSING_S = 10.0
FAILURE_TTL_S = 1.0
"""How long a failed read answers others too: 200 objects of a dead provider are one call, not 200."""

Answer = Value | ProviderError


@dataclass(slots=True)
class Held:
    """What was read last. ``value`` None = dropped for room; ``mark`` still tells whether a new one differs."""

    mark: bytes
    at: float
    answer: Answer | None


@dataclass(slots=True)
class Shelf:
    """One incarnation and generation of a provider object, open."""

    object: ProviderObject
    provider: Provider
    wants: dict[SourceRef, dict[ObjectRef, float]] = field(default_factory=dict)
    intervals: Counter[float] = field(default_factory=Counter)
    passing: dict[SourceRef, float] = field(default_factory=dict)
    held: dict[SourceRef, Held] = field(default_factory=dict)
    last_good: datetime | None = None
    rounds: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Refresher:
    """All shelves. ``wake`` is told of each object whose value may have changed."""

    def __init__(
        self,
        providers: Providers,
        audit: AuditLog,
        clock: Clock,
        wake: Callable[[ObjectRef], None],
        *,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._providers, self._audit, self._clock, self._wake = providers, audit, clock, wake
        self._shelves: dict[ObjectRef, Shelf] = {}
        self._wishes: dict[ObjectRef, dict[ObjectRef, frozenset[SourceRef]]] = {}
        self._room: OrderedDict[tuple[ObjectRef, SourceRef], int] = OrderedDict()
        self._room_left = cache_bytes
        # A key of this process alone: marks are compared with each other and never leave it.
        self._mark_key = secrets.token_bytes(32)
        self._closing: set[asyncio.Task[None]] = set()

    def shelf(self, provider: ProviderObject) -> Shelf:
        """The open shelf of this incarnation and generation. Raises `Rejected` or `MissingExtra`."""
        shelf = self._shelves.get(provider.ref)
        if shelf is not None and (shelf.object.uid, shelf.object.generation) == (provider.uid, provider.generation):
            return shelf
        if isinstance(provider.order, Rejected):
            raise provider.order.with_traceback(None)
        opened = Shelf(provider, self._providers.open(provider.order, provider.ref.kind))
        if shelf is not None:
            opened.wants, opened.intervals = shelf.wants, shelf.intervals
            self._close(shelf)
        self._shelves[provider.ref] = opened
        opened.rounds = asyncio.create_task(self._go_round(opened), name=f"refresh {provider.ref}")
        return opened

    async def fetch(
        self, provider: ProviderObject, refs: Collection[SourceRef], *, max_age_s: float, trigger: str
    ) -> Mapping[SourceRef, Answer]:
        """Values not older than ``max_age_s``, from the shelf where it has them."""
        shelf = self.shelf(provider)
        now = self._clock.now().timestamp()
        missing = [ref for ref in refs if not _is_fresh(shelf.held.get(ref), now, max_age_s)]
        fresh = await self._read(shelf, missing, trigger) if missing else {}
        found: dict[SourceRef, Answer] = {}
        for ref in refs:
            held = shelf.held.get(ref)
            answer = fresh.get(ref, held.answer if held else None)
            found[ref] = answer if answer is not None else Unavailable("the value left the cache while it was wanted")
            if (provider.ref, ref) in self._room:
                self._room.move_to_end((provider.ref, ref))
        return found

    def want(self, who: ObjectRef, wishes: Mapping[ObjectRef, Collection[SourceRef]], interval_s: float | None) -> None:
        """From now on ``who`` wants these and nothing else, each ``interval_s`` seconds; None = no refresh."""
        if interval_s is None:
            return self.forget(who)
        former = self._wishes.get(who, {})
        now = {at: frozenset(refs) for at, refs in wishes.items() if at in self._shelves}
        for at, refs in former.items():
            self._drop(at, refs - now.get(at, frozenset()), who)
        for at, refs in now.items():
            shelf = self._shelves[at]
            for ref in refs:
                whos = shelf.wants.setdefault(ref, {})
                if whos.get(who) != interval_s:
                    self._count(shelf, whos.get(who), interval_s)
                    whos[who] = interval_s
        self._wishes[who] = now
        return None

    def forget(self, who: ObjectRef) -> None:
        """``who`` is gone."""
        for at, refs in self._wishes.pop(who, {}).items():
            self._drop(at, refs, who)

    def last_good(self, provider: ObjectRef) -> datetime | None:
        """When this process last read something from the provider."""
        shelf = self._shelves.get(provider)
        return shelf.last_good if shelf else None

    def close_shelf(self, provider: ObjectRef) -> None:
        """The provider object is gone."""
        shelf = self._shelves.pop(provider, None)
        if shelf is not None:
            self._close(shelf)

    async def close(self) -> None:
        """Ends all rounds and closes all providers."""
        for ref in list(self._shelves):
            self.close_shelf(ref)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _go_round(self, shelf: Shelf) -> None:
        """Reads what is due, slot by slot, until the shelf is closed."""
        identity = shelf.object.uid
        # Beginning at now, and not at the last slot: what was fetched on the way in is fresh.
        reached = self._clock.now().timestamp()
        while True:
            shelf.changed.clear()
            slots = {interval: next_slot(identity, interval, reached) for interval in shelf.intervals}
            if not slots:
                await shelf.changed.wait()
                reached = self._clock.now().timestamp()
                continue
            target = min(slots.values())
            if await _sleep_until(target, self._clock, shelf.changed):
                continue
            # Slots that went by while a pass was under way are not made up for.
            reached = max(target, self._clock.now().timestamp())
            due_intervals = {interval for interval, slot in slots.items() if slot <= target}
            due = [ref for ref, whos in shelf.wants.items() if not due_intervals.isdisjoint(whos.values())]
            await self._pass(shelf, due)

    async def _pass(self, shelf: Shelf, due: Sequence[SourceRef]) -> None:
        before = {ref: held.mark for ref in due if (held := shelf.held.get(ref))}
        try:
            await self._read(shelf, due, "refresh")
        except KeyturnError:
            # Not swallowed: whoever wants these is woken below, meets the same error and reports it.
            before = {}
        for ref in due:
            held = shelf.held.get(ref)
            if held is None or before.get(ref) != held.mark:
                for who in shelf.wants.get(ref, ()):
                    self._wake(who)

    async def _read(self, shelf: Shelf, refs: Sequence[SourceRef], trigger: str) -> Mapping[SourceRef, Answer]:
        entry = AuditEntry(
            "provider.read", str(shelf.object.ref), str(shelf.object.ref), trigger, tuple(map(str, refs[:100])), {"count": str(len(refs))}
        )
        try:
            async with audited(self._audit, entry):
                answers = await shelf.provider.get_many(refs)
        except AuditUnavailable as refusal:
            raise Unread(str(refusal)) from refusal
        now = self._clock.now()
        if any(not isinstance(a, ProviderError) or a.reason == "SourceNotFound" for a in answers.values()):
            shelf.last_good = now
        if self._shelves.get(shelf.object.ref) is shelf:
            for ref, answer in answers.items():
                self._hold(shelf, ref, answer, now.timestamp())
            self._let_pass(shelf, now.timestamp())
        return answers

    def _hold(self, shelf: Shelf, ref: SourceRef, answer: Answer, at: float) -> None:
        if ref not in shelf.wants:
            if isinstance(answer, ProviderError):
                return
            # To the end: the oldest stay in front.
            shelf.passing.pop(ref, None)
            shelf.passing[ref] = at
        shelf.held[ref] = Held(self._mark(answer), at, answer)
        place = (shelf.object.ref, ref)
        self._room_left += self._room.pop(place, 0)
        if isinstance(answer, Value):
            self._room[place] = len(answer.data)
            self._room_left -= len(answer.data)
        while self._room_left < 0 and self._room:
            (provider_ref, source), size = self._room.popitem(last=False)
            self._room_left += size
            evicted = self._shelves.get(provider_ref)
            if evicted and source in evicted.held:
                evicted.held[source].answer = None
                if source not in evicted.wants:
                    del evicted.held[source]

    def _let_pass(self, shelf: Shelf, now: float) -> None:
        """Drops values that nobody wants to have refreshed, once nobody new can share them."""
        while shelf.passing and now - (oldest := next(iter(shelf.passing.items())))[1] > PASSING_S:
            ref = oldest[0]
            del shelf.passing[ref]
            if ref not in shelf.wants:
                shelf.held.pop(ref, None)
                self._room_left += self._room.pop((shelf.object.ref, ref), 0)

    def _mark(self, answer: Answer) -> bytes:
        if isinstance(answer, ProviderError):
            return type(answer).__name__.encode()
        return hashlib.blake2b(answer.data.reveal(), key=self._mark_key, digest_size=16).digest()

    def _drop(self, at: ObjectRef, refs: Collection[SourceRef], who: ObjectRef) -> None:
        shelf = self._shelves.get(at)
        if shelf is None:
            return
        for ref in refs:
            whos = shelf.wants.get(ref, {})
            self._count(shelf, whos.pop(who, None), None)
            if not whos:
                shelf.wants.pop(ref, None)
                shelf.held.pop(ref, None)
                self._room_left += self._room.pop((at, ref), 0)

    def _count(self, shelf: Shelf, former: float | None, now: float | None) -> None:
        """Keeps count of intervals, and calls the round only where one comes or goes: not once for each object."""
        if now is not None:
            shelf.intervals[now] += 1
            if shelf.intervals[now] == 1:
                shelf.changed.set()
        if former is not None:
            shelf.intervals[former] -= 1
            if not shelf.intervals[former]:
                del shelf.intervals[former]
                shelf.changed.set()

    def _close(self, shelf: Shelf) -> None:
        if shelf.rounds is not None:
            shelf.rounds.cancel()
        for source in shelf.held:
            self._room_left += self._room.pop((shelf.object.ref, source), 0)
        task = asyncio.create_task(shelf.provider.close(), name=f"close {shelf.object.ref}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _is_fresh(held: Held | None, now: float, max_age_s: float) -> bool:
    if held is None or held.answer is None:
        return False
    limit = min(max_age_s, FAILURE_TTL_S) if isinstance(held.answer, ProviderError) else max_age_s
    return now - held.at <= limit


async def _sleep_until(target: float, clock: Clock, changed: asyncio.Event) -> bool:
    """Waits for a wall-clock time; True where the plan changed before it came."""
    left = target - clock.now().timestamp()
    try:
        async with asyncio.timeout(max(0.0, left)):
            await changed.wait()
    except TimeoutError:
        return False
    return True
