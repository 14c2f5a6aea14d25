"""The file of a spool, and work on it in a thread: one that is ours alone, is no other file, and is left as it is by nobody half done."""

import asyncio
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from keyturn.model.errors import AuditUnavailable

T = TypeVar("T")


async def finished(work: Callable[..., T], *given: object) -> T:
    """As `asyncio.to_thread`; whoever is called off waits for the thread's end all the same: before it the file is not the next one's."""
    job = asyncio.ensure_future(asyncio.to_thread(work, *given))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        while not job.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({job})
        if not job.cancelled():
            job.exception()  # heard of
        raise


def taken(path: Path, largest: int) -> BinaryIO:
    """The file, made where there is none. Keep it open, for its lock. Raises `AuditUnavailable` and `OSError`."""
    # No link to another file, which would be overwritten, nor a pipe, which would be waited for.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
    try:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_size > largest:
            raise AuditUnavailable(f"{path} is no spool of the audit trail, which is a file of at most {largest >> 20} MiB: move it away")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise AuditUnavailable(f"another process writes {path}: give each operator a folder of its own by --audit-spool") from None
    except BaseException:
        file.close()
        raise
    return file


def is_in_place(file: BinaryIO, path: Path) -> bool:
    """Whether it is the one that the next process will find."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except OSError:
        return False
