"""Tells people how far a long step is: one line that is rewritten on a terminal, else a line now and then."""

import time
from dataclasses import dataclass, field
from typing import Self, TextIO

_ON_TERMINAL = 0.5  # seconds between two lines
_IN_LOG = 30.0


@dataclass(slots=True)
class Progress:
    """Shows lines for as long as it is entered."""

    stream: TextIO
    started: float = field(default_factory=time.monotonic)
    _shown: float = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def say(self, text: str) -> None:
        """Prints what is to stay."""
        self._clear()
        print(text, file=self.stream, flush=True)

    def show(self, doing: str) -> None:
        """Prints what is done and since when, unless the last line is too fresh."""
        terminal = self.stream.isatty()
        now = time.monotonic()
        if now - self._shown < (_ON_TERMINAL if terminal else _IN_LOG):
            return
        self._shown = now
        seconds = int(now - self.started)
        line = f"  {doing}, {seconds // 60} min {seconds % 60:02} s"
        self._clear()
        print(line, end="" if terminal else "\n", file=self.stream, flush=True)

    def _clear(self) -> None:
        if self.stream.isatty():
            self.stream.write("\r\x1b[K")
