"""SQLite's file: made once, and the same one for as long as it is used.

Where it is taken away, or another one is put in its place, connections that are open go on with the old one, which has no name any
more, and new ones would be of another database. Never opens a file that is there but by its name alone (O_PATH): to close it would
take the locks of all connections that this process has to it.
"""

import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final

from keyturn.model.errors import Unavailable

_GONE: Final = (-1, -1)
_BY_NAME: Final[int | None] = getattr(os, "O_PATH", None)  # Linux has it
TAKEN_AWAY: Final = "the database's file was taken away while it was used; put that very file back, moved and not copied, or restart"
REPLACED: Final = "the database's file was taken away or replaced while it was used; put the right one there, and restart"


class DatabaseFile:
    """Which one it is, is noted when it was connected to first. ``losses``: how often it was found gone.

    As long as it is held by its name, no other file gets its number: so it is known again when it is back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first: tuple[int, int] | None = None
        self._held: weakref.finalize[[int], DatabaseFile] | None = None
        self.losses = 0

    def ready(self) -> None:
        """Before a connection is made: the first one finds a file, and later ones that of the first. Raises as `check`."""
        if self._first is not None:
            self.check()
            return
        # Names, tags and tokens are nobody else's; SQLite gives its other files the mode of this one. What hinders it, SQLite says.
        with suppress(OSError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def check(self) -> None:
        """Whether what has the name now is what was connected to. Raises `Unavailable` where it is not; from then on always, where
        there was another one.
        """
        try:
            seen = self._found()
        except FileNotFoundError:
            seen = _GONE
        if seen == self._first != _GONE:
            return
        self.losses += 1
        if seen != _GONE or self._held is None or not self._held.alive:
            self._first = _GONE  # for good: what was put there may be used by others now, and a new one may get the number of the old
        raise Unavailable(TAKEN_AWAY if self._first != _GONE else REPLACED)

    def close(self) -> None:
        """Nobody is connected any more; may be called twice."""
        if self._held is not None:
            self._held()

    def _found(self) -> tuple[int, int]:
        if self._first is not None or _BY_NAME is None:
            found = self._path.stat()
        else:
            number = os.open(self._path, _BY_NAME | os.O_CLOEXEC)
            self._held = weakref.finalize(self, os.close, number)
            found = os.fstat(number)
        if self._first is None:
            self._first = found.st_dev, found.st_ino
        return found.st_dev, found.st_ino
