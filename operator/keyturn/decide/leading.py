"""Who works, as far as one replica can tell: from the record, and from how long it has seen it unchanged.

A holder is dead when its record did not change for as long as it promised, counted on our own monotonic clock
from when we first saw this version. No two machines' clocks are ever compared.
"""

from dataclasses import dataclass, replace
from enum import Enum

from keyturn.model.audit import Head
from keyturn.model.lease import Lease, Terms

LONGEST_S = 600.0
"""The longest life of a holder that did not renew, in seconds."""

LAST_EPOCH = 2**31 - 1
"""The API's own limit (its source: coordination.k8s.io LeaseSpec, an int32); after it epochs begin anew."""


class Step(Enum):
    """What to do about the lease now."""

    ACQUIRE = "begin a term of our own"
    RENEW = "go on with our term"
    WAIT = "another one holds it"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record, and the moment (monotonic seconds) since which we know it as it is."""

    lease: Lease
    since: float


def sight(before: Sighting | None, found: Lease, now: float) -> Sighting:
    """What is known after a look; a record that did not change keeps its moment."""
    if before is not None and before.lease.resource_version == found.resource_version:
        return before
    return Sighting(found, now)


def is_ours(lease: Lease, me: str, epoch: int | None) -> bool:
    """Whether the term is ours; ``epoch`` is the last one that this process claimed.

    A process that claimed none takes its own name's term for its own: its container was restarted. One that did sees
    in its name with another epoch a second process of that name, which is another one.
    """
    return lease.holder == me and epoch in (None, lease.transitions)


def dies_in_s(seen: Sighting, now: float, terms: Terms) -> float:
    """How long the holder may still be alive; nothing or less: it is dead."""
    # Nobody promises for years: a record that says so was edited.
    return seen.since + min(seen.lease.duration_s or terms.duration_s, LONGEST_S) - now


def next_step(seen: Sighting, me: str, epoch: int | None, now: float, terms: Terms) -> Step:
    """What to do about the record now."""
    lease = seen.lease
    if is_ours(lease, me, epoch):
        return Step.ACQUIRE if epoch is None else Step.RENEW
    if not lease.holder or dies_in_s(seen, now, terms) <= 0:
        return Step.ACQUIRE
    return Step.WAIT


def claimed(seen: Sighting, step: Step, me: str, epoch: int | None, at: str, terms: Terms) -> Lease:
    """The record to write for a step that takes or keeps the lease; ``at`` is the wall clock as text.

    Where somebody deleted the record, its epoch goes on from the last that we know.
    """
    kept = replace(seen.lease, holder=me, renewed=at, duration_s=terms.told_s)
    return kept if step is Step.RENEW else replace(kept, acquired=at, transitions=max(kept.transitions, epoch or 0) % LAST_EPOCH + 1)


def later_head(one: str, other: str) -> str:
    """Of two ends of the audit trail, each as a record carries it, the one with more rows."""
    first, second = Head.parse(one), Head.parse(other)
    if first is None or second is None:
        return one if second is None else other
    return other if second.seq > first.seq else one


def released(lease: Lease) -> Lease:
    """The record without a holder: whoever looks next begins a term at once."""
    return replace(lease, holder="", duration_s=1.0)
