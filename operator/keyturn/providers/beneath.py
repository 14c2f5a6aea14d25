"""Opens files beneath a folder so that no link, ``..`` or swap in mid-walk can lead out of it.

The kernel does it where it can (``openat2`` with RESOLVE_BENEATH, Linux 5.6); else a walk takes one
name at a time and resolves links itself. Both follow links that stay inside, as mounted volumes
need them (``password -> ..data/password``), and refuse absolute ones. Errors are `OSError`, EXDEV
for what leads out; says nothing about what may be opened (``decide/reach.py``).
"""

import ctypes
import errno
import functools
import os
import stat
from collections.abc import Callable

_OPENAT2 = 437  # the same on every architecture but alpha
_NO_MAGICLINKS, _BENEATH = 0x02, 0x08
_MAX_LINKS = 40  # as the kernel
_MAX_RETRIES = 8

# O_NONBLOCK: a FIFO must not hold the thread until somebody writes to it.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
FOLDER_FLAGS = FLAGS | os.O_DIRECTORY
# Enough for a look at what it is, and to pass through; needs no right to read, and wakes no device.
LOOK_FLAGS = getattr(os, "O_PATH", FLAGS) | os.O_CLOEXEC

Opener = Callable[[int, str, int], int]
"""Opens a relative path beneath a folder's descriptor, with flags."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def _syscall() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)
    return function


def open_by_kernel(folder: int, path: str, flags: int = FLAGS) -> int:
    """Opens with ``openat2``; ENOSYS (or EPERM under an old seccomp profile) where the kernel has none."""
    if "\0" in path:
        raise _error(errno.EINVAL, path)  # C would read up to there
    how = _OpenHow(flags, 0, _BENEATH | _NO_MAGICLINKS)
    number = errno.EAGAIN
    for _ in range(_MAX_RETRIES):
        descriptor = _syscall()(_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number not in {errno.EAGAIN, errno.EINTR}:  # EAGAIN: something on the way was renamed just now
            break
    raise _error(number, path)


def open_by_walk(folder: int, path: str, flags: int = FLAGS) -> int:
    """Opens name by name, never letting the kernel follow a link."""
    names = _split(path)
    links = 0
    held = [os.dup(folder)]  # the folders from the first one down to where the walk stands
    try:
        while names:
            name = names.pop()
            if name == "..":
                if len(held) == 1:
                    raise _error(errno.EXDEV, path)
                os.close(held.pop())
                continue
            mode = os.stat(name, dir_fd=held[-1], follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                links += 1
                target = os.readlink(name, dir_fd=held[-1])
                if links > _MAX_LINKS:
                    raise _error(errno.ELOOP, path)
                if target.startswith("/"):
                    raise _error(errno.EXDEV, path)
                names += _split(target)
            elif names:
                held.append(os.open(name, LOOK_FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=held[-1]))
            else:
                # Swapped for a link since the stat: ELOOP, never followed.
                return os.open(name, flags | os.O_NOFOLLOW, dir_fd=held[-1])
        return os.open(".", flags, dir_fd=held[-1])
    finally:
        for descriptor in held:
            os.close(descriptor)


def _split(path: str) -> list[str]:
    """The names of a relative path, last first."""
    if path.startswith("/"):
        raise _error(errno.EXDEV, path)
    return [name for name in reversed(path.split("/")) if name not in {"", "."}]


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


@functools.cache
def opener() -> Opener:
    """The best way that this kernel, and the sandbox around us, allow."""
    folder = os.open("/", LOOK_FLAGS)
    try:
        os.close(open_by_kernel(folder, ".", LOOK_FLAGS))
    except (OSError, AttributeError):
        return open_by_walk
    finally:
        os.close(folder)
    return open_by_kernel
