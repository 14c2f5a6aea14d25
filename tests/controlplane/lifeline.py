"""Ties a child process to its parent, so that a parent that is killed leaves no orphan behind."""

import ctypes
import os
import resource
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LARGEST_FILE = 4 * 2**30  # bytes: a log or a database that runs wild must not fill the disk

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> Callable[[], None]:
    """A `preexec_fn`: the kernel kills the child when the calling thread ends; no core files, no endless files.

    Only for callers of one thread: the kernel watches the thread that forked, not its process.
    """
    parent = os.getpid()

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
        if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # it died between fork and prctl: nobody would tell us any more
            os._exit(1)

    return prepare
