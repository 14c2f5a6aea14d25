"""A hold on a keeper (see there): the way to start a program that cannot outlive the run."""

import fcntl
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from controlplane.errors import ControlPlaneError
from controlplane.keeper import SOCKET, remove

PREFIX = "keyturn-"
_LOCK = "lock"
_ANSWER_LIMIT = 60  # seconds
_LONGEST_SOCKET_PATH = 107  # bytes, the kernel's


class Hold:
    """Programs run and their folder stays while any hold on the same keeper is open."""

    def __init__(self, folder: Path, connection: socket.socket, keeper: subprocess.Popen[bytes] | None) -> None:
        self.folder = folder
        self._connection = connection
        connection.settimeout(_ANSWER_LIMIT)
        self._answers = connection.makefile("rb")
        self._keeper = keeper  # where it is our child
        self._requests = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def open(cls) -> "Hold":
        """A new keeper with a new folder, after what dead runs left is swept away; raises ControlPlaneError."""
        sweep()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            if len(str(folder / SOCKET)) > _LONGEST_SOCKET_PATH:
                raise ControlPlaneError(f"the path of {folder} is too long for a socket: set TMPDIR to a shorter one.")
            hold = cls(folder, *_new_keeper(folder))
            hold.returncodes()  # it answers: its door is open for others
        except BaseException:
            remove(folder)
            raise
        return hold

    @classmethod
    def attach(cls, folder: Path) -> "Hold":
        """One more hold on the keeper of a folder; raises ControlPlaneError when it is gone."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(folder / SOCKET))
        except OSError as error:
            connection.close()
            raise ControlPlaneError(f"the control plane in {folder} is gone: {error}") from error
        return cls(folder, connection, None)

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> int:
        """The pid of a new program; its output goes to `<name>.log`. Raises ControlPlaneError."""
        return int(self._ask(do="start", name=name, argv=list(argv), env=dict(env))["pid"])

    def end(self, name: str, sign: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """The return code of a program after a signal; it is killed when that takes longer. Raises ControlPlaneError."""
        return int(self._ask(do="end", name=name, sign=int(sign), seconds=seconds)["returncode"])

    def returncodes(self) -> dict[str, int | None]:
        """Of each program that was started and not ended by us; None while it runs."""
        return dict(self._ask(do="look")["returncodes"])

    def log(self, name: str, lines: int = 15) -> str:
        """The last lines of a program's output."""
        with suppress(FileNotFoundError):
            return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
        return "(no output)"

    def close(self) -> None:
        """Lets go. When nobody else holds the keeper, all is ended and removed when this returns."""
        with self._connection, self._answers:
            ended = self._ask(do="leave")["ended"]
        if ended and self._keeper:
            self._keeper.wait(_ANSWER_LIMIT)

    def _ask(self, **question: Any) -> dict[str, Any]:
        request = next(self._requests)
        try:
            self._connection.sendall(json.dumps({"request": request, **question}).encode() + b"\n")
            answer = {"request": 0}
            while answer["request"] != request:  # the answer to a question that a Ctrl-C cut short may come first
                answer = json.loads(self._answers.readline())
        except (OSError, ValueError) as error:
            raise ControlPlaneError(f"the keeper of {self.folder} does not answer: {error}\n{self.log('keeper')}") from error
        if "error" in answer:
            raise ControlPlaneError(f"{answer['error']}\n{self.log('keeper')}")
        return answer


def _new_keeper(folder: Path) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair()
    with theirs, (folder / "unlocked").open("w") as lock, (folder / "keeper.log").open("wb") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(lock.name).rename(folder / _LOCK)  # only now may a sweep ask whether its keeper lives
        keeper = subprocess.Popen(
            [sys.executable, "-m", "controlplane.keeper", folder, str(theirs.fileno()), str(lock.fileno())],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(), lock.fileno()),
            start_new_session=True,
        )
    return ours, keeper


def sweep() -> None:
    """Removes the folders of this user's runs whose keeper was killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{_LOCK}"):
        try:
            lock = path.open()
        except (FileNotFoundError, PermissionError):
            continue  # ended a moment ago, or another user's
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its keeper lives
            remove(path.parent)
