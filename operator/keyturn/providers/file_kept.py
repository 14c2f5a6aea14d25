"""What a writer keeps of one file: its versions beside it, in a folder ``..keyturn``, and a state that says what they are called.

Beside the file NAME there is ``..keyturn/NAME.previous``, ``NAME.pending`` and ``NAME.deleted``, as far as there is such a version;
``NAME.new`` and ``NAME.last`` are there while one is written, and ``NAME.state`` names all of them. Nobody who reads NAME
notices any of this; it changes by one rename. Every change is noted in the state before it, so that whoever comes after a crash
ends it or takes it back. Follows no link. Blocks: for threads alone.
"""

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from keyturn.model.errors import Invalid, ProviderError, Unavailable
from keyturn.providers.beneath import FLAGS, FOLDER_FLAGS, opener
from keyturn.providers.file_sources import KEPT, read_all, refuse_unfit
from keyturn.providers.file_state import DELETED, LAST, NEW, PENDING, PREVIOUS, STATE, Doing, State, ident, name_of

_SAVING: Final = ".saving"
_LOCK: Final = "lock"
_LOCKED_S: Final = 5.0
_POLL_S: Final = 0.01
_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Kept:
    """One file and what is kept of it, for as long as `opened` is entered; others wait meanwhile."""

    def __init__(self, parent: int, folder: int, name: str, key: str) -> None:
        self._parent, self._folder, self._name, self.key = parent, folder, name, key
        self.state = self._load()
        self._recover()

    def found(self, suffix: str = "") -> os.stat_result | None:
        """The file that is there; '' is the one that all read. None where there is none. Raises `Invalid` where it is no plain file."""
        try:
            found = os.stat(self._path(suffix), dir_fd=self._at(suffix), follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(found.st_mode):
            raise Invalid(f"{self.key} is a folder; name a file in it, such as {self.key}/NAME")
        if not stat.S_ISREG(found.st_mode):
            what = "a link" if stat.S_ISLNK(found.st_mode) else "no regular file"
            raise Invalid(f"{self.key} is {what}: whoever made it is the one who writes it")
        return found

    def version(self, suffix: str = "") -> str:
        """The name of the version that is there, '' where there is none."""
        found = self.found(suffix)
        return name_of(self.state, found) if found else ""

    def created(self, suffix: str = "") -> datetime | None:
        """When that version came."""
        found = self.found(suffix)
        if found is None:
            return None
        known = self.state.names.get(ident(found))
        return datetime.fromisoformat(known[1]) if known else datetime.fromtimestamp(found.st_mtime, UTC)

    @property
    def is_deleted(self) -> bool:
        return self.found() is None and (self.state.is_deleted or self.found(DELETED) is not None)

    def read(self, suffix: str) -> bytes:
        """The bytes of a file that is there."""
        descriptor = os.open(self._path(suffix), FLAGS | os.O_NOFOLLOW, dir_fd=self._at(suffix))
        try:
            found = os.fstat(descriptor)
            refuse_unfit(found, self.key)
            return read_all(descriptor, found.st_size, self.key)
        finally:
            os.close(descriptor)

    def write(self, suffix: str, data: bytes, version: str, created: datetime | None = None) -> None:
        """Makes a file that a change will put in its place, readable for those who could read what is there now."""
        there = self.found()
        made = self._create(suffix, data, stat.S_IMODE(there.st_mode) & 0o777 if there else _MODE)
        self.state.names[ident(made)] = (version, (created or datetime.now(UTC)).isoformat())

    def change(self, doing: Doing, target: str) -> None:
        """Puts `Doing.source` in the place of ``target``, by one rename, and does the rest."""
        if doing.has_last:
            self.write(LAST, self.read(""), self.version(), self.created())
        self.state.doing = doing
        self.save()
        self.move(doing.source, target)
        self._finish(doing)

    def move(self, source: str, target: str) -> None:
        """Renames, and lasts."""
        os.rename(self._path(source), self._path(target), src_dir_fd=self._at(source), dst_dir_fd=self._at(target))
        self._sync()

    def remove(self, *suffixes: str) -> None:
        for suffix in suffixes:
            with suppress(FileNotFoundError):
                os.unlink(self._path(suffix), dir_fd=self._at(suffix))
        self._sync()

    def save(self) -> None:
        """Writes the state down, with the names of what is there alone."""
        slots = (self.found(suffix) for suffix in ("", NEW, LAST, PREVIOUS, PENDING, DELETED))
        there = {ident(found) for found in slots if found}
        self.state.names = {known: name for known, name in self.state.names.items() if known in there}
        self._create(_SAVING, json.dumps(asdict(self.state)).encode(), _MODE)
        self.move(_SAVING, STATE)

    def give_up(self) -> None:
        """Leaves all as it was, where a change failed before it was done; ends it where that was later."""
        with suppress(OSError, ProviderError):  # whoever comes next does it
            self.state = self._load()
            self._recover()

    def _recover(self) -> None:
        """Ends what somebody has begun who was killed, or takes it back."""
        doing = self.state.doing
        if doing is None:
            if self.found(NEW) or self.found(LAST):
                self.remove(NEW, LAST)
            return
        is_done = self.found(doing.source) is None or (doing.has_last and self.found(LAST) is None)
        if is_done:
            self._finish(doing)
            return
        self.state.doing = None
        self.state.puts.pop(doing.put, None)
        self.save()  # before the files go, by which it is known that nothing was done
        self.remove(NEW, LAST)

    def _finish(self, doing: Doing) -> None:
        if doing.has_last and self.found(LAST):
            self.move(LAST, PREVIOUS)
        if doing.clean:
            self.remove(*doing.clean)
        self.state.doing, self.state.is_deleted = None, False
        self.save()

    def _create(self, suffix: str, data: bytes, mode: int) -> os.stat_result:
        path, at = self._path(suffix), self._at(suffix)
        with suppress(FileNotFoundError):
            os.unlink(path, dir_fd=at)
        descriptor = os.open(path, _CREATE, _MODE, dir_fd=at)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fchmod(descriptor, mode)
            # The clock of a file system ticks slowly; two versions in one tick would be known by the same.
            os.utime(descriptor, ns=(time.time_ns(), time.time_ns()))
            os.fsync(descriptor)
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _load(self) -> State:
        try:
            return State.of(self.read(STATE))
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            problem = f"{KEPT}/{self._name}{STATE} is damaged; remove it, and names of versions and what is pending are lost"
        raise Invalid(problem)

    def _path(self, suffix: str) -> str:
        return f"{self._name}{suffix}"

    def _at(self, suffix: str) -> int:
        return self._folder if suffix else self._parent

    def _sync(self) -> None:
        os.fsync(self._folder)
        os.fsync(self._parent)


@contextmanager
def opened(folder: int, key: str, *, make: bool = False) -> Iterator[Kept | None]:
    """What is kept of a key, and nobody else changes it meanwhile. None where nothing is, unless it is to be made."""
    above, _, name = key.rpartition("/")
    held: list[int] = []
    try:
        try:
            held.append(_parent(folder, above, make=make))
            held.append(_kept(held[0], make=make))
        except FileNotFoundError:
            if make:
                raise
            yield None
            return
        held.append(os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE, dir_fd=held[1]))
        _lock(held[2], key)
        yield Kept(held[0], held[1], name, key)
    finally:
        for descriptor in held:
            os.close(descriptor)


def _parent(folder: int, path: str, *, make: bool) -> int:
    try:
        return opener()(folder, path or ".", FOLDER_FLAGS)
    except FileNotFoundError:
        if not make:
            raise
    above, _, name = path.rpartition("/")
    upper = _parent(folder, above, make=True)
    try:
        _make(upper, name)
    finally:
        os.close(upper)
    return opener()(folder, path, FOLDER_FLAGS)


def _kept(parent: int, *, make: bool) -> int:
    if make:
        _make(parent, KEPT)
    return os.open(KEPT, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)


def _make(folder: int, name: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
        os.fsync(folder)


def _lock(descriptor: int, key: str) -> None:
    """Of the kernel: whoever is killed lets go."""
    deadline = time.monotonic() + _LOCKED_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
        time.sleep(_POLL_S)
    raise Unavailable(f"{key} is being written by somebody else")
