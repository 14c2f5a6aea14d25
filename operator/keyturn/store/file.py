"""SQLite's file: made once, and the same one for as long as it is used.

Where it is taken away, or another one is put in its place, connections that are open go on with the old one, which has no name any
more, and new ones would be of another database. Never opens a file that is there: to close it would take the locks of all
connections that this process has to it.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from keyturn.model.errors import Unavailable

_GONE: Final = (-1, -1)
TAKEN_AWAY: Final = "the database's file was taken away or replaced while it was used; put the right one there, and restart"


class DatabaseFile:
    """Which one it is, is noted when it was connected to first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first: tuple[int, int] | None = None

    def ready(self) -> None:
        """Before a connection is made: the first one finds a file, and later ones that of the first. Raises as `check`."""
        if self._first is not None:
            self.check()
            return
        # Names, tags and tokens are nobody else's; SQLite gives its other files the mode of this one. What hinders it, SQLite says.
        with suppress(OSError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def check(self) -> None:
        """Whether what has the name now is what was connected to. Raises `Unavailable` where it is not, and from then on always."""
        try:
            found = self._path.stat()
            seen = found.st_dev, found.st_ino
        except FileNotFoundError:
            seen = _GONE
        if self._first is None:
            self._first = seen
        if seen == _GONE or seen != self._first:
            self._first = _GONE  # for good: once nobody has the old one open, a new one may get its number
            raise Unavailable(TAKEN_AWAY)
