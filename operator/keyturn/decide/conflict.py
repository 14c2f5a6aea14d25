"""How often another writer's edit is taken back before we stop fighting it (cluster rule 6)."""

from collections.abc import Mapping
from datetime import datetime, timedelta

WINDOW_S = 600.0
TOLD_AT = 3
LIMIT = 5

Takes = Mapping[str, tuple[datetime, ...]]
"""Field → when it was taken back, within the window."""


def taken(takes: Takes, fields: Mapping[str, str], now: datetime, *, window_s: float = WINDOW_S) -> dict[str, tuple[datetime, ...]]:
    """The record after ``fields`` were taken back once more; what left the window is forgotten."""
    window = timedelta(seconds=window_s)
    recent = {name: tuple(t for t in times if now - t < window) for name, times in takes.items()}
    for name in fields:
        recent[name] = (*recent.get(name, ()), now)[-LIMIT - 1 :]
    return {name: times for name, times in recent.items() if times}


def is_contested(takes: Takes, now: datetime, *, window_s: float = WINDOW_S) -> str:
    """The field whose take-backs reached the limit, '' without one."""
    return next((name for name, times in takes.items() if sum(now - t < timedelta(seconds=window_s) for t in times) >= LIMIT), "")
