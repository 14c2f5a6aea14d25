"""What one provider gave, and who wants what of it: the nouns of `Refresher`, which alone reads and wakes."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from keyturn.decide.refresh import Surveys
from keyturn.model.errors import AuthFailed, NotFound, ProviderError, Throttled, Unavailable
from keyturn.model.ids import ObjectRef
from keyturn.model.material import SourceRef, Value
from keyturn.model.objects import ProviderObject
from keyturn.ports import Provider

FAILURE_TTL_S = 1.0
"""How long a failed read answers others too: 200 objects of a dead provider are one call, not 200."""

PASSING_S = 10.0
"""So long a value that was read for somebody who wants no refreshes is there for others."""

Answer = Value | ProviderError

_AWAY = (Unavailable, AuthFailed)


@dataclass(slots=True)
class Held:
    """What was read last. ``answer`` None = dropped for room; ``mark`` still tells whether a new one differs.

    ``at``: when it was known to be so, by a read or a survey; ``read_at``: when it was read. Unix seconds.
    ``fingerprint``: what a survey says of it while it is unchanged, '' where none can tell.
    """

    mark: bytes
    at: float
    answer: Answer | None
    fingerprint: str = ""
    read_at: float = 0.0


@dataclass(slots=True)
class Shelf:
    """One incarnation and generation of a provider object, open; ``is_outdated`` once its log-in was replaced.

    ``drawn`` has the mark of what each who wants something drew, or was woken for, last. ``surveys`` are by the
    intervals that were due together: each has keys, and so a folder to list, of its own. ``is_answering`` None: not asked yet.
    ``drawn_at``: when somebody last asked for values, in Unix seconds.
    """

    object: ProviderObject
    provider: Provider
    wants: dict[SourceRef, dict[ObjectRef, float]] = field(default_factory=dict)
    drawn: dict[SourceRef, dict[ObjectRef, bytes]] = field(default_factory=dict)
    intervals: Counter[float] = field(default_factory=Counter)
    passing: dict[SourceRef, float] = field(default_factory=dict)
    held: dict[SourceRef, Held] = field(default_factory=dict)
    surveys: dict[frozenset[float], Surveys] = field(default_factory=dict)
    last_good: datetime | None = None
    rounds: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    is_outdated: bool = False
    is_answering: bool | None = None
    drawn_at: float = 0.0

    def succeed(self, former: "Shelf") -> None:
        """Takes over who wants what, and after a new log-in how the old one fared; never a value."""
        self.wants, self.intervals = former.wants, former.intervals
        if self.object.is_same_order(former.object):
            self.last_good, self.is_answering = former.last_good, former.is_answering
            # Marks alone: the next pass wakes whose value differs, and not everybody.
            self.drawn = former.drawn
            self.held = {ref: Held(held.mark, held.at, None) for ref, held in former.held.items() if ref in self.wants}

    def is_turned_by(self, answers: Collection[Answer]) -> bool:
        """Notes whether it answers; True where that is new. A pause that it asked for tells neither."""
        before = self.is_answering
        if answers and all(isinstance(answer, _AWAY) for answer in answers):
            self.is_answering = False
        elif any(not isinstance(answer, (*_AWAY, Throttled)) for answer in answers):
            self.is_answering = True
        return self.is_answering is not before

    def count(self, former: float | None, now: float | None) -> None:
        """Keeps count of intervals, and calls the round only where one comes or goes: not once for each object."""
        if now is not None:
            self.intervals[now] += 1
            if self.intervals[now] == 1:
                self.changed.set()
        if former is not None:
            self.intervals[former] -= 1
            if not self.intervals[former]:
                del self.intervals[former]
                self.changed.set()

    def unwant(self, refs: Collection[SourceRef], who: ObjectRef) -> list[SourceRef]:
        """``who`` wants these no more; what nobody else wants is let go, and named."""
        gone = []
        for ref in refs:
            whos = self.wants.get(ref, {})
            self.count(whos.pop(who, None), None)
            self.drawn.get(ref, {}).pop(who, None)
            if not whos:
                self.wants.pop(ref, None)
                self.drawn.pop(ref, None)
                self.held.pop(ref, None)
                gone.append(ref)
        return gone

    def kept(self, refs: Collection[SourceRef], needed: Collection[SourceRef]) -> dict[SourceRef, Answer] | None:
        """What was read of these, however long ago; None where it is not all there any more. What is ``needed`` has to be a value."""
        found: dict[SourceRef, Answer] = {}
        for ref in refs:
            match held.answer if (held := self.held.get(ref)) else None:
                case Value() as answer:
                    found[ref] = answer
                case NotFound() as answer if ref not in needed:
                    found[ref] = answer
                case _:
                    return None
        return found

    def let_pass(self, now: float) -> list[SourceRef]:
        """Lets go, and names, values that nobody wants to have refreshed, once nobody new can share them."""
        gone = []
        while self.passing and now - (oldest := next(iter(self.passing.items())))[1] > PASSING_S:
            ref = oldest[0]
            del self.passing[ref]
            if ref not in self.wants:
                self.held.pop(ref, None)
                gone.append(ref)
        return gone

    def note_drawn(self, ref: SourceRef, who: ObjectRef) -> None:
        """``who`` has what is held now."""
        held = self.held.get(ref)
        if held is not None and who in self.wants.get(ref, ()):
            self.drawn.setdefault(ref, {})[who] = held.mark

    def moved(self, answers: Mapping[SourceRef, Answer], marks: Mapping[SourceRef, bytes]) -> list[SourceRef]:
        """Which of these values are others than those that were read before, as far as they were."""
        values = (ref for ref, answer in answers.items() if isinstance(answer, Value))
        return [ref for ref in values if (held := self.held.get(ref)) is not None and held.mark != marks[ref]]

    def behind(self, ref: SourceRef) -> list[ObjectRef]:
        """Whoever wants it and drew something else last; all where nothing is held."""
        held, drawn = self.held.get(ref), self.drawn.get(ref, {})
        return [who for who in self.wants.get(ref, ()) if held is None or drawn.get(who) != held.mark]


def is_fresh(held: Held | None, now: float, max_age_s: float) -> bool:
    """Says that what is held may still be given to somebody who wants it no older than ``max_age_s``."""
    if held is None or held.answer is None:
        return False
    limit = min(max_age_s, FAILURE_TTL_S) if isinstance(held.answer, ProviderError) else max_age_s
    return now - held.at <= limit


def mark_of(answer: Answer, key: bytes) -> bytes:
    """What tells an answer from another one; of a value it tells nothing without the key."""
    if isinstance(answer, ProviderError):
        return type(answer).__name__.encode()
    return hashlib.blake2b(answer.data.reveal(), key=key, digest_size=16).digest()
