"""How long and how often is looked in one run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds. ``cycles``: refreshes that are counted; ``drifts`` and ``changes``: how many are timed."""

    idle_s: float = 60.0
    interval_s: int = 15
    cycles: int = 2
    drifts: int = 40
    changes: int = 20
