"""What processes cost, as the kernel counts it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_MIB = 1024  # KiB
_IDLE = (3, 4)  # idle, and waiting for a disk
_GUESTS = 8  # what follows is counted in the others already
_UTIME = 11  # its place after the name of the program, which may hold anything
_LOOK_S = 1.0


def cpu_s(*pids: int) -> float:
    """Seconds of CPU, user and system, that processes have used by now."""
    return sum(_ticks(pid) for pid in pids) * _TICK_S


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[_UTIME]) + int(fields[_UTIME + 1])


def machine_s() -> float:
    """Seconds of CPU that all of the machine has used, and what a hypervisor took from it."""
    spent = list(map(int, Path("/proc/stat").read_text().split()[1 : _GUESTS + 1]))
    return sum(ticks for place, ticks in enumerate(spent) if place not in _IDLE) * _TICK_S


def rss_mib(pid: int) -> float:
    """Memory that is resident now."""
    return _status(pid, "VmRSS") / _MIB


def peak_mib(pid: int) -> float:
    """The most that ever was."""
    return _status(pid, "VmHWM") / _MIB


def _status(pid: int, name: str) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1])


def find(program: str, folder: Path) -> int:
    """The process that runs a program with something below a folder in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it ended while we looked
            continue
        if Path(argv[0]).name == program and any(str(folder) in argument for argument in argv[1:]):
            return int(path.parent.name)
    raise LookupError(f"no {program} runs for {folder}")


def settle(pids: tuple[int, ...], limit_s: float, tell: Callable[[], None], *, busy: float = 0.04) -> None:
    """Returns when the processes have used less than that share of a core for a while, or when the time is up."""
    deadline = time.monotonic() + limit_s
    quiet, before = 0, cpu_s(*pids)
    while quiet < 2 and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        tell()
        now = cpu_s(*pids)
        quiet = quiet + 1 if now - before <= busy * _LOOK_S else 0
        before = now
