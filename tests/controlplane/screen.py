"""What the demo shows: steps with their times, commands as a user would type them, and what they print."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

_BOLD, _FAINT, _GREEN, _RED = "1", "2", "32", "31"
_WIDTH = 78


@dataclass(slots=True)
class Screen:
    """Lines on a stream; colours on a terminal, unless NO_COLOR is set."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)

    def heading(self, text: str) -> None:
        """A new part."""
        self._print(f"\n{self._in(_BOLD, text)}")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """One step: when its block has ended well, a line with the time that it took."""
        started = time.monotonic()
        yield
        self._print(f"  {self._in(_GREEN, '✓')} {text:<{_WIDTH - 14}} {time.monotonic() - started:6.1f} s")

    def command(self, line: str) -> None:
        """A command that is run now."""
        self._print(f"  {self._in(_FAINT, '$')} {self._in(_BOLD, line)}")

    def output(self, text: str) -> None:
        """What a command printed, or what it read."""
        for line in text.rstrip().splitlines():
            self._print(f"    {line}" if line else "")

    def note(self, text: str) -> None:
        """A remark."""
        self._print(f"  {self._in(_FAINT, text)}")

    def failure(self, text: str) -> None:
        """What went wrong."""
        self._print(f"\n{self._in(_RED, '✗')} {text}")

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)

    def _in(self, colour: str, text: str) -> str:
        if self.stream.isatty() and "NO_COLOR" not in os.environ:
            return f"\x1b[{colour}m{text}\x1b[0m"
        return text
