"""What one provider gave, and who wants what of it: the nouns of `Refresher`, which alone reads and wakes."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from keyturn.decide.refresh import Surveys
from keyturn.model.errors import ProviderError
from keyturn.model.ids import ObjectRef
from keyturn.model.material import SourceRef, Value
from keyturn.model.objects import ProviderObject
from keyturn.ports import Provider

FAILURE_TTL_S = 1.0
"""How long a failed read answers others too: 200 objects of a dead provider are one call, not 200."""

Answer = Value | ProviderError


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
    intervals that were due together: each has keys, and so a folder to list, of its own.
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

    def succeed(self, former: "Shelf") -> None:
        """Takes over who wants what, and after a new log-in how the old one fared; never a value."""
        self.wants, self.intervals = former.wants, former.intervals
        if self.object.is_same_order(former.object):
            self.last_good = former.last_good
            # Marks alone: the next pass wakes whose value differs, and not everybody.
            self.drawn = former.drawn
            self.held = {ref: Held(held.mark, held.at, None) for ref, held in former.held.items() if ref in self.wants}

    def note_drawn(self, ref: SourceRef, who: ObjectRef) -> None:
        """``who`` has what is held now."""
        held = self.held.get(ref)
        if held is not None and who in self.wants.get(ref, ()):
            self.drawn.setdefault(ref, {})[who] = held.mark

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
