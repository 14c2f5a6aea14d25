"""Reads providers: one read for each distinct value, shared by all who want it, and again in its slot.

One `Shelf` stands for one incarnation of one provider object. It holds what was read (values as
`Sensitive`, at most 64 MiB over all shelves), knows who wants what, and wakes exactly those whose
value changed. Nothing here knows what becomes of a value.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from keyturn.decide.refresh import FULL_READ_S, next_pass
from keyturn.flow.audit import audited
from keyturn.flow.changes import Changes
from keyturn.flow.load import Load
from keyturn.flow.passes import reading, tell_read
from keyturn.flow.shelf import Answer, Held, Shelf, is_fresh, mark_of
from keyturn.flow.slots import sleep_until
from keyturn.flow.space import CACHE_BYTES, Space
from keyturn.model.errors import AuditUnavailable, ClusterConflict, KeyturnError, NotLeading, ProviderError, Rejected, Unavailable, Unread
from keyturn.model.ids import ObjectRef
from keyturn.model.material import SourceRef, Value
from keyturn.model.objects import ProviderObject
from keyturn.ports import AuditLog, Clock, Providers

IDLE_S = 300.0
"""After so long a provider is closed that was opened for one namespace, where nobody wants anything of it."""


class Refresher:
    """All shelves. ``wake`` is told of each object whose value may have changed, ``on_turn`` of a provider that goes or returns."""

    def __init__(
        self,
        providers: Providers,
        audit: AuditLog,
        clock: Clock,
        wake: Callable[[ObjectRef], None],
        *,
        cache_bytes: int = CACHE_BYTES,
        full_read_s: float = FULL_READ_S,
    ) -> None:
        self._providers, self._audit, self._clock, self._wake = providers, audit, clock, wake
        self._shelves: dict[ObjectRef, Shelf] = {}
        self._wishes: dict[ObjectRef, dict[ObjectRef, frozenset[SourceRef]]] = {}
        self._space = Space(cache_bytes)
        self._changes = Changes(audit, clock, full_read_s)
        # A key of this process alone: marks are compared with each other and never leave it.
        self._mark_key = secrets.token_bytes(32)
        self._closing: set[asyncio.Task[None]] = set()
        self._is_shut = False
        self.on_turn: Callable[[ObjectRef, bool], None] = lambda _, __: None

    def shelf(self, provider: ProviderObject) -> Shelf:
        """The open shelf of this incarnation and generation. Raises `Rejected`, `MissingExtra` or `NotLeading`."""
        shelf = self._shelves.get(provider.ref)
        if shelf is not None and not shelf.is_outdated and shelf.object.is_same_order(provider):
            return shelf
        if self._is_shut:
            raise NotLeading("providers are read by the replica that leads")
        if isinstance(provider.order, Rejected):
            raise provider.order.with_traceback(None)
        opened = Shelf(provider, self._providers.open(provider.order, provider.ref), drawn_at=self._clock.now().timestamp())
        if shelf is not None:
            opened.succeed(shelf)
            self._close(shelf)
        self._shelves[provider.ref] = opened
        opened.rounds = asyncio.create_task(self._go_round(opened), name=f"refresh {provider.ref}")
        return opened

    async def fetch(
        self, provider: ProviderObject, refs: Collection[SourceRef], *, max_age_s: float, who: ObjectRef, load: Load | None = None
    ) -> Mapping[SourceRef, Answer]:
        """Values not older than ``max_age_s`` for ``who``, from the shelf where it has them.

        Raises `ClusterConflict` where the provider was edited or went meanwhile, `Invalid` where they are more than the ``load`` bears.
        """
        load = load or Load()
        shelf = self.shelf(provider)
        try:
            answers = await self._draw(shelf, refs, max_age_s, who, load)
        except ProviderError as error:
            if self.is_open(shelf):
                raise
            answers = dict.fromkeys(refs, error)
        if self.is_open(shelf) or not any(isinstance(answer, ProviderError) for answer in answers.values()):
            return answers
        successor = self._shelves.get(provider.ref)
        if not self._is_shut and (successor is None or not successor.object.is_same_order(provider)):
            raise ClusterConflict(f"{provider.ref} changed while it was read")  # whom the new one admits is still to be asked
        return await self._draw(self.shelf(provider), refs, max_age_s, who, load)

    def is_open(self, shelf: Shelf) -> bool:
        """Says that it was not replaced since, so that what its provider does is true of the object."""
        return self._shelves.get(shelf.object.ref) is shelf and not shelf.is_outdated

    async def _draw(
        self, shelf: Shelf, refs: Collection[SourceRef], max_age_s: float, who: ObjectRef, load: Load
    ) -> Mapping[SourceRef, Answer]:
        now = shelf.drawn_at = self._clock.now().timestamp()
        missing = [ref for ref in refs if not is_fresh(shelf.held.get(ref), now, max_age_s)]
        fresh = await self._read(shelf, missing, who, load) if missing else {}
        found: dict[SourceRef, Answer] = {}
        for ref in refs:
            held = shelf.held.get(ref)
            answer = fresh.get(ref, held.answer if held else None)
            found[ref] = answer if answer is not None else Unavailable("the value left the cache while it was wanted")
            shelf.note_drawn(ref, who)
            self._space.touch((shelf.object.ref, ref))
        load.add(answer for ref, answer in found.items() if ref not in fresh)
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
                    shelf.count(whos.get(who), interval_s)
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

    def renew(self, provider: ObjectRef) -> None:
        """What its log-in refers to changed: it is opened anew, for whoever asks next, with nothing of what was read before."""
        if shelf := self._shelves.get(provider):
            shelf.is_outdated = True
            if provider.reader:  # for which no check asks
                self.shelf(shelf.object)

    def close_shelf(self, provider: ObjectRef) -> None:
        """The provider object is gone, and with it what was opened for those who read by it."""
        for ref in {provider, *filter(provider.holds, self._shelves)}:
            self._put_away(ref)

    def leave(self, namespace: str) -> None:
        """A namespace is gone; one that is called so later is another's."""
        for ref in {ref for ref in self._shelves if ref.reader == namespace}:
            self._put_away(ref)

    def shut(self) -> None:
        """Ends all rounds, and forgets all that was read; until `reopen` nothing is opened, whoever still asks."""
        self._is_shut = True
        for ref in list(self._shelves):
            self._put_away(ref)

    def reopen(self) -> None:
        """Whoever asks has its provider opened anew."""
        self._is_shut = False

    async def close(self) -> None:
        """Ends all rounds and closes all providers."""
        self.shut()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _go_round(self, shelf: Shelf) -> None:
        """Reads what is due, slot by slot, until the shelf is closed."""
        identity, away = shelf.object.uid, frozenset[float]()
        # Beginning at now, and not at the last slot: what was fetched on the way in is fresh.
        reached = self._clock.now().timestamp()
        while True:
            shelf.changed.clear()
            slots = {interval: next_pass(identity, interval, reached, is_away=interval in away) for interval in shelf.intervals}
            if not slots:
                if await self._is_left(shelf):
                    return self._put_away(shelf.object.ref)
                reached = self._clock.now().timestamp()
                continue
            target = min(slots.values())
            if await sleep_until(target, self._clock, shelf.changed):
                continue
            # Slots that went by while a pass was under way are not made up for.
            reached = max(target, self._clock.now().timestamp())
            due = frozenset(interval for interval, slot in slots.items() if slot <= target)
            away = away - due | (due if await self._pass(shelf, due) else frozenset())

    async def _is_left(self, shelf: Shelf) -> bool:
        """Waits for somebody who wants refreshes; True where for long nobody did of what one namespace alone can ask for."""
        while shelf.object.ref.reader:
            if await sleep_until(closes_at := shelf.drawn_at + IDLE_S, self._clock, shelf.changed):
                return False
            if closes_at >= shelf.drawn_at + IDLE_S:
                return True
        await shelf.changed.wait()
        return False

    async def _pass(self, shelf: Shelf, intervals: frozenset[float]) -> bool:
        """Looks after all that is wanted in these intervals; True where the provider did not answer."""
        due = [ref for ref, whos in shelf.wants.items() if not intervals.isdisjoint(whos.values())]
        try:
            if left := await self._changes.unvouched(shelf, due, intervals):
                await self._read(shelf, left)
            elif self._shelves.get(shelf.object.ref) is shelf:
                self._let_pass(shelf, self._clock.now().timestamp())
        except KeyturnError:
            # Not swallowed: whoever wants these is woken below, meets the same error and reports it.
            shelf.drawn.clear()
        for ref in due:
            # Not only where this pass found something new: another object may have been the first to see it.
            for who in shelf.behind(ref):
                shelf.note_drawn(ref, who)
                self._wake(who)
        return any(isinstance(held.answer, Unavailable) for ref in due if (held := shelf.held.get(ref)))

    async def _read(
        self, shelf: Shelf, refs: Sequence[SourceRef], who: ObjectRef | None = None, load: Load | None = None
    ) -> Mapping[SourceRef, Answer]:
        """Reads piece by piece where values are large; without a ``load`` nobody here needs them, and what was held is let go."""
        found: dict[SourceRef, Answer] = {}
        while refs:
            answers = await self._read_some(shelf, refs, who)
            refs = [ref for ref in refs if ref not in answers]
            if load is not None:
                load.add(answers.values())
                found.update(answers)
        return found

    async def _read_some(self, shelf: Shelf, refs: Sequence[SourceRef], who: ObjectRef | None) -> Mapping[SourceRef, Answer]:
        """For ``who``, or for all who want a refresh."""
        try:
            async with audited(self._audit, reading(shelf.object, refs, who)) as result:
                answers = await shelf.provider.get_many(refs)
                marks = {ref: mark_of(answer, self._mark_key) for ref, answer in answers.items()}
                tell_read(result, refs, answers, None if who else shelf.moved(answers, marks))
        except AuditUnavailable as refusal:
            raise Unread(str(refusal)) from refusal
        now = self._clock.now()
        if any(not isinstance(a, ProviderError) or a.reason == "SourceNotFound" for a in answers.values()):
            shelf.last_good = now
        if self._shelves.get(shelf.object.ref) is shelf:
            for ref, answer in answers.items():
                self._hold(shelf, ref, answer, marks[ref], now.timestamp())
            self._let_pass(shelf, now.timestamp())
        self._note_turn(shelf, answers.values())
        return answers

    def _note_turn(self, shelf: Shelf, answers: Collection[Answer]) -> None:
        if self.is_open(shelf) and shelf.is_turned_by(answers):
            self.on_turn(shelf.object.ref, bool(shelf.is_answering))

    def _hold(self, shelf: Shelf, ref: SourceRef, answer: Answer, mark: bytes, at: float) -> None:
        if ref not in shelf.wants:
            if isinstance(answer, ProviderError):
                return
            # To the end: the oldest stay in front.
            shelf.passing.pop(ref, None)
            shelf.passing[ref] = at
        shelf.held[ref] = Held(mark, at, answer, answer.fingerprint if isinstance(answer, Value) else "", at)
        place = (shelf.object.ref, ref)
        self._space.give_back(place)
        for provider_ref, source in self._space.take(place, len(answer.data)) if isinstance(answer, Value) else ():
            evicted = self._shelves.get(provider_ref)
            if evicted and source in evicted.held:
                evicted.held[source].answer = None
                if source not in evicted.wants:
                    del evicted.held[source]

    def _let_pass(self, shelf: Shelf, now: float) -> None:
        for ref in shelf.let_pass(now):
            self._space.give_back((shelf.object.ref, ref))

    def _drop(self, at: ObjectRef, refs: Collection[SourceRef], who: ObjectRef) -> None:
        shelf = self._shelves.get(at)
        if shelf is None:
            return
        for ref in shelf.unwant(refs, who):
            self._space.give_back((at, ref))

    def _put_away(self, ref: ObjectRef) -> None:
        shelf = self._shelves.pop(ref, None)
        self._providers.forget(ref)
        if shelf is not None:
            self._close(shelf)

    def _close(self, shelf: Shelf) -> None:
        if shelf.rounds is not None:
            shelf.rounds.cancel()
        for source in shelf.held:
            self._space.give_back((shelf.object.ref, source))
        task = asyncio.create_task(shelf.provider.close(), name=f"close {shelf.object.ref}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
