"""Runs Go for minutes: shows how far it is, ends it with the caller, says its last words when it fails."""

import codecs
import itertools
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from controlplane.errors import ControlPlaneError
from controlplane.lifeline import die_with_parent
from controlplane.progress import Progress
from controlplane.toolchain import MODULE, Toolchain, build_environment

_LIMIT = 5400  # seconds for one command: ten times what it takes
_FAREWELL = 10  # seconds that Go gets to end its compilers
_BATCH = 400  # packages


@dataclass(frozen=True, slots=True)
class Package:
    """One that has to be compiled."""

    path: str
    is_gos_own: bool  # such ones are not built by name, but with what imports them


class GoRun:
    """Go at work with fixed flags, in a scratch folder that is the caller's to remove."""

    def __init__(self, toolchain: Toolchain, flags: list[str], scratch: Path, progress: Progress) -> None:
        self._toolchain = toolchain
        self._flags = flags
        self._scratch = scratch
        self._progress = progress

    def stale_packages(self) -> list[Package]:
        """What a build would compile, importers after what they import; fetches missing modules first."""
        fetched = itertools.count(1)

        def tell(line: str) -> str:
            return f"fetching modules: {next(fetched)}" if line.startswith("go: downloading ") else "looking for what has to be compiled"

        listed = self._follow(["list", "-deps", *self._flags, "-f", "{{if .Stale}}{{.Standard}} {{.ImportPath}}{{end}}", "."], tell)
        fields = [line.split() for line in listed.splitlines() if line]
        return [Package(path, standard == "true") for standard, path in fields]

    def build(self, stale: Sequence[Package], binary: Path) -> None:
        """Compiles and links.

        Some hundred packages at a time, since Go keeps all that one command compiles a second time until its end: 3 GB.
        """
        compiled = 0

        def tell(line: str) -> str:
            nonlocal compiled
            compiled += bool(line) and not line.startswith(("go: ", "#"))
            return f"compiling: {compiled} of {len(stale)} packages" if compiled < len(stale) else "linking"

        names = [package.path for package in stale[:-1] if not package.is_gos_own]  # the last one is the program itself
        for start in range(0, len(names), _BATCH):
            self._follow(["build", "-v", *self._flags, *names[start : start + _BATCH]], tell)
        self._follow(["build", "-v", *self._flags, "-o", str(binary), "."], tell)

    def _follow(self, arguments: list[str], tell: Callable[[str], str]) -> str:
        """Go's stdout. Each line of its stderr, and an empty one each second, is told as progress."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as work, Path(work, "stdout").open("w+") as stdout:
            go = subprocess.Popen(
                [self._toolchain.program, *arguments],
                cwd=MODULE,
                env=build_environment() | {"GOTMPDIR": work},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C comes to us alone, and we end the compilers with it
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - this thread is the only one
            )
            try:
                last = self._show(go, tell)
            except BaseException:
                _end(go)
                raise
            if go.wait():
                raise ControlPlaneError(f"go {arguments[0]} failed:\n" + "\n".join(last))
            stdout.seek(0)
            return stdout.read()

    def _show(self, go: subprocess.Popen[bytes], tell: Callable[[str], str]) -> deque[str]:
        """Follows Go's stderr to its end; returns the last lines."""
        assert go.stderr
        last: deque[str] = deque(maxlen=15)
        deadline = time.monotonic() + _LIMIT
        for line in _lines(go.stderr):
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"Go is at work for {_LIMIT // 60} min: is the machine overloaded?\n" + "\n".join(last))
            if line:
                last.append(line)
            self._progress.show(tell(line))
        return last


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come, and an empty one each second in which none came."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        while True:
            if not ready.select(timeout=1):
                yield ""
                continue
            if not (got := os.read(stream.fileno(), 65536)):
                break
            *whole, rest = (rest + decoder.decode(got)).split("\n")
            yield from whole
    if rest:
        yield rest


def _end(go: subprocess.Popen[bytes]) -> None:
    """Ends Go with its compilers, which are in its process group."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        if go.poll() is None:
            os.killpg(go.pid, sign)
            try:
                go.wait(_FAREWELL)
            except subprocess.TimeoutExpired:
                continue
