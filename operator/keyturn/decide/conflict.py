"""How often another writer's edit is taken back before we stop fighting it (cluster rule 6)."""

from collections.abc import Mapping
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=10)
TOLD_AT = 3
LIMIT = 5

Takes = Mapping[str, tuple[datetime, ...]]
"""Field → when it was taken back, within the window."""


def taken(takes: Takes, fields: Mapping[str, str], now: datetime) -> dict[str, tuple[datetime, ...]]:
    """The record after ``fields`` were taken back once more; what left the window is forgotten."""
    recent = {name: tuple(t for t in times if now - t < WINDOW) for name, times in takes.items()}
    for name in fields:
        recent[name] = (*recent.get(name, ()), now)[-LIMIT - 1 :]
    return {name: times for name, times in recent.items() if times}


def is_contested(takes: Takes, now: datetime) -> str:
    """The field whose take-backs reached the limit, '' without one."""
    return next((name for name, times in takes.items() if sum(now - t < WINDOW for t in times) >= LIMIT), "")
