"""What has stood still for too long, from signs of life and the time. Looks at nothing itself."""

from collections.abc import Iterable
from dataclasses import dataclass

BOOKMARK_S = 60.0
"""How often the API server says something on a watch on which nothing happens."""
LAG_S = 5.0
"""How late the event loop may be before we are not ready."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A part and its last sign of life. ``claim`` says what is wrong where none came for longer than ``limit_s`` seconds.

    ``beat_s`` None: none is expected, such as of a queue in which nothing waits.
    """

    claim: str
    beat_s: float | None
    limit_s: float

    def silence_s(self, now_s: float) -> float:
        """How long nothing came, 0 where nothing is expected."""
        return 0.0 if self.beat_s is None else max(0.0, now_s - self.beat_s)

    def is_stalled(self, now_s: float) -> bool:
        return self.silence_s(now_s) > self.limit_s

    def told(self, now_s: float) -> str:
        """The claim with its time, for people."""
        return f"{self.claim} for {self.silence_s(now_s):.0f} s"


def stalled(loop: Pulse, parts: Iterable[Pulse], now_s: float) -> list[Pulse]:
    """What stands still. While the event loop does, all others do for that reason, and are not told."""
    return [loop] if loop.is_stalled(now_s) else [part for part in parts if part.is_stalled(now_s)]


@dataclass(frozen=True, slots=True)
class Watching:
    """How long a watch runs, and how long it may bring nothing before it is opened anew, in whole seconds."""

    runs_s: int = 300
    silent_s: int = 70


def watching(stall_limit_s: float) -> Watching:
    """Within the limit a healthy watch has to say something, and a dead one has to be replaced.

    An idle watch speaks by bookmarks. Where the limit is too short for these, it ends sooner: its next one is a sign of life.
    """
    if stall_limit_s >= 1.5 * BOOKMARK_S:
        return Watching(silent_s=min(Watching().silent_s, int(stall_limit_s * 3 / 4)))
    return Watching(max(1, int(stall_limit_s / 2)), max(2, int(stall_limit_s * 3 / 4)))
