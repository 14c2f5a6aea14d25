"""The blocking half of the file provider: a folder of values, or a document of them, beneath a root.

What is missing is told apart with care, since "gone" may delete a Secret: only a key that is absent
from a readable folder or document is `NotFound`. A root, folder or document that is not there is an
outage (a volume that is not mounted), and so is an empty folder.

Runs in threads of ``providers/file.py``; never on the event loop.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from keyturn.decide.reach import Place, Reach, is_closed
from keyturn.model.errors import AccessDenied, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import Meta, Value
from keyturn.model.order import FileFormat
from keyturn.model.sensitive import Sensitive
from keyturn.providers.beneath import FLAGS, FOLDER_FLAGS, LOOK_FLAGS, opener
from keyturn.providers.file_formats import parse

MAX_BYTES = 1 << 20
KEPT = "..keyturn"
"""The folder in which a writer keeps what nobody reads as a key."""
NO_PATH = f"is no path beneath the provider's folder; write names with one '/' between them, none of them '.', '..' or {KEPT}"
_MAX_LISTED = 10_000
_MAX_LEVELS = 32
_ATTEMPTS = 3
# A file that changed this recently can change again within one tick of its clock, unseen.
_YOUNG_NS = 2_000_000_000
# A document that changed this recently may be half written.
_BEING_WRITTEN_NS = 250_000_000

Answer = Value | ProviderError


class FolderSource:
    """One file for each value; the key is its path beneath the folder, and the bytes are taken as they are."""

    def __init__(self, place: Place, reach: Reach) -> None:
        self._place = place
        self._reach = reach

    @staticmethod
    def is_key(key: str) -> bool:
        """Says that a key can name a file, and none that a writer keeps for itself."""
        return _is_plain(key) and KEPT not in key.casefold().split("/")

    def read(self, keys: Sequence[str]) -> Mapping[str, Answer]:
        with open_place(self._place, self._reach) as folder:
            for _ in range(_ATTEMPTS):
                generation = _generation(folder)
                answers = {key: self._get(folder, key) for key in keys}
                # A mounted volume is replaced as a whole, by renaming ``..data``. User and password of
                # one generation belong together, and what is removed with the old one is not gone.
                if _generation(folder) == generation:
                    return answers
        raise Unavailable(f"{self._place.path} changes while it is read")

    def list(self, prefix: str) -> Sequence[Meta]:
        with open_place(self._place, self._reach) as folder:
            try:
                return [_meta(key, found) for key, found in _walk(folder) if key.startswith(prefix)]
            except OSError as error:
                raise _of_place(error, self._place.path) from None

    def check(self) -> None:
        with open_place(self._place, self._reach):
            pass

    def _get(self, folder: int, key: str) -> Answer:
        if not self.is_key(key):
            return Invalid(f"{key!r} {NO_PATH}")
        try:
            data, found = _read(folder, key)
        except ProviderError as error:
            return error
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                return _missing(folder, key, self._place.path)
            return _of_file(error, key)
        return self._found(folder, key, data, found)

    def _found(self, _folder: int, _key: str, data: bytes, found: os.stat_result) -> Value:
        return Value(Sensitive(data), updated=_updated(found))


class DocumentSource:
    """One file for all values; it is parsed anew only when it changed."""

    def __init__(self, place: Place, file_format: FileFormat, reach: Reach) -> None:
        self._path = place.path
        # Links in the document's own folder may not leave that folder, as keys may not in a `FolderSource`.
        self._folder = Place(place.root, place.inner[:-1])
        self._name = place.inner[-1]
        self._format = file_format
        self._reach = reach
        self._parsed: tuple[str, Mapping[str, Sensitive]] = ("", {})

    def read(self, keys: Sequence[str]) -> Mapping[str, Answer]:
        members, found = self._load()
        none: ProviderError = NotFound(f"{self._path} has no such key")
        if _age_ns(found) < _BEING_WRITTEN_NS:
            none = Unavailable(f"{self._path} has no such key, and is being written")
        updated = _updated(found)
        return {key: none if (member := members.get(key)) is None else Value(member, updated=updated) for key in keys}

    def list(self, prefix: str) -> Sequence[Meta]:
        members, found = self._load()
        return [_meta(key, found) for key in members if key.startswith(prefix)]

    def check(self) -> None:
        self._load()

    def _load(self) -> tuple[Mapping[str, Sensitive], os.stat_result]:
        with open_place(self._folder, self._reach) as folder:
            try:
                known, members = self._parsed
                found = _look(folder, self._name)
                if _signature(found) == known:
                    return members, found
                data, found = _read(folder, self._name)
            except OSError as error:
                raise _of_place(error, self._path) from None
        try:
            members = parse(data, self._format)
        except Invalid as error:
            raise Invalid(f"{self._path}: {error}") from None
        if _age_ns(found) > _YOUNG_NS:
            self._parsed = (_signature(found), members)
        return members, found


@contextmanager
def open_place(place: Place, reach: Reach) -> Iterator[int]:
    """The folder's descriptor. The root's own path may be a link, since an admin set it; below it none leads out."""
    folder = -1
    try:
        root = os.open(place.root, LOOK_FLAGS | os.O_DIRECTORY)
        try:
            folder = opener()(root, "/".join(place.inner) or ".", FOLDER_FLAGS)
        finally:
            os.close(root)
    except OSError as error:
        raise _of_place(error, place.path) from None
    try:
        if is_closed(_real_path(folder, place), reach):
            raise Invalid(f"{place.path} leads to folders of the system or of the operator")
        yield folder
    finally:
        os.close(folder)


def _real_path(folder: int, place: Place) -> str:
    try:
        return str(Path(f"/proc/self/fd/{folder}").readlink())
    except OSError:
        return os.path.realpath(place.path)


def _read(folder: int, path: str) -> tuple[bytes, os.stat_result]:
    for _ in range(_ATTEMPTS):
        descriptor = opener()(folder, path, FLAGS)
        try:
            before = os.fstat(descriptor)
            refuse_unfit(before, path)
            data = read_all(descriptor, before.st_size, path)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
            return data, after
    raise Unavailable(f"{path} changes while it is read")


def refuse_unfit(found: os.stat_result, path: str) -> None:
    """Raises `Invalid` for what is not read."""
    if not stat.S_ISREG(found.st_mode):
        raise Invalid(f"{path} is {'a folder and ' if stat.S_ISDIR(found.st_mode) else ''}no regular file")
    if found.st_size > MAX_BYTES:
        raise Invalid(f"{path} is larger than 1 MiB")


def read_all(descriptor: int, size: int, path: str) -> bytes:
    """All bytes of a file of about this size. Raises `Invalid` where they are too many."""
    data = b""
    # One byte more than the size: usually one read, and a file that grows is noticed.
    while chunk := os.read(descriptor, max(size - len(data), 0) + 1):
        data += chunk
        size = max(size, 2 * len(data))
        if len(data) > MAX_BYTES:
            raise Invalid(f"{path} is larger than 1 MiB")
    return data


def _look(folder: int, path: str) -> os.stat_result:
    descriptor = opener()(folder, path, LOOK_FLAGS)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: int) -> Iterator[tuple[str, os.stat_result]]:
    """All regular files beneath, by key. Names that start with two dots belong to whoever mounts the volume."""
    seen = 0
    open_folders: list[tuple[str, frozenset[tuple[int, int]]]] = [(".", frozenset())]
    while open_folders:
        path, above = open_folders.pop()
        descriptor = opener()(folder, path, FOLDER_FLAGS)
        try:
            here = os.fstat(descriptor)
            listed = os.listdir(descriptor)  # noqa: PTH208  # a descriptor, which pathlib does not take
            names = [name for name in listed if not name.startswith("..") and _is_plain(name)]
        finally:
            os.close(descriptor)
        line = above | {(here.st_dev, here.st_ino)}
        seen += len(names)
        if seen > _MAX_LISTED or len(line) > _MAX_LEVELS:
            raise Invalid(f"the folder holds more than {_MAX_LISTED} files or {_MAX_LEVELS} levels")
        for name in names:
            key = name if path == "." else f"{path}/{name}"
            try:
                found = _look(folder, key)
            except OSError:
                continue  # gone again, or a link that leads out or nowhere: a read of it says so
            if stat.S_ISREG(found.st_mode):
                yield key, found
            elif stat.S_ISDIR(found.st_mode) and (found.st_dev, found.st_ino) not in line:
                open_folders.append((key, line))


def _generation(folder: int) -> str:
    try:
        return os.readlink("..data", dir_fd=folder)
    except OSError:
        return ""


def _missing(folder: int, key: str, path: str) -> ProviderError:
    with os.scandir(folder) as entries:
        if next(entries, None) is None:
            return Unavailable(f"{path} is empty; is its volume mounted?")
    return NotFound(f"{path} has no file {key!r}")


def _is_plain(key: str) -> bool:
    """Says that a key can name a file below the folder, in the one spelling that we take."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in key and all(name not in {"", ".", ".."} for name in key.split("/"))


def _of_place(error: OSError, path: str) -> ProviderError:
    """What a failure to open the provider's own folder or document means."""
    match error.errno:
        case errno.ENOENT:
            return Unavailable(f"{path} is not there; is its volume mounted?")
        case errno.ENOTDIR:
            return Invalid(f"{path} is no folder")
        case _:
            return _of_file(error, path)


def _of_file(error: OSError, path: str) -> ProviderError:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return AccessDenied(f"{path} may not be read by the operator")
        case errno.EXDEV | errno.ELOOP:
            return Invalid(f"{path} is a link that leads out of its folder, or nowhere")
        case errno.ENAMETOOLONG | errno.EINVAL | errno.ENXIO:
            return Invalid(f"{path} is no regular file")
        case _:
            return Unavailable(f"{path} cannot be read ({errno.errorcode.get(error.errno or 0, 'unknown error')})")


def _signature(found: os.stat_result) -> str:
    """Changes when the content may have. A young file has a second one, so that it is looked at once more."""
    young = "-young" if _age_ns(found) <= _YOUNG_NS else ""
    return f"{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}-{found.st_size}{young}"


def _age_ns(found: os.stat_result) -> int:
    return abs(time.time_ns() - found.st_mtime_ns)


def _updated(found: os.stat_result) -> datetime:
    return datetime.fromtimestamp(found.st_mtime, UTC)


def _meta(key: str, found: os.stat_result) -> Meta:
    return Meta(key, _signature(found), _updated(found))
