"""Keeps programs running for as long as somebody holds it; then ends them and removes their folder.

A process in a session of its own: it sees no Ctrl-C, and when the run that holds it is killed the kernel closes the
run's socket, which is the sign to end. Should the keeper itself be killed, the kernel ends its programs, and the
folder is swept by the next run. It speaks one JSON object a line; `hold` is the other side.
"""

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from controlplane.lifeline import die_with_parent

SOCKET = "keeper.sock"
_REMOVAL_LIMIT = 10  # seconds


class Keeper:
    """The programs by name, and those who hold them."""

    def __init__(self, folder: Path, first: socket.socket) -> None:
        self._folder = folder
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(folder / SOCKET))
        self._door.listen()
        self._sockets = selectors.DefaultSelector()
        self._sockets.register(self._door, selectors.EVENT_READ)
        self._admit(first)

    def serve(self) -> None:
        """Returns when the last holder has let go, and all is ended and removed."""
        while self._holders:
            for key, _ in self._sockets.select():
                if key.fileobj is self._door:
                    self._admit(self._door.accept()[0])
                else:
                    self._hear(key.data)
        self.end()

    @property
    def _holders(self) -> int:
        return len(self._sockets.get_map()) - 1  # the door is one of the sockets

    def _admit(self, holder: socket.socket) -> None:
        self._sockets.register(holder, selectors.EVENT_READ, holder)

    def _hear(self, holder: socket.socket) -> None:
        """Does what a holder asks; one that is gone, or makes no sense, holds no more."""
        try:
            for line in _lines(holder) or [b'{"do": "leave"}']:
                request = json.loads(line)
                if request["do"] == "leave":
                    self._sockets.unregister(holder)
                answer = json.dumps(self._do(**request)).encode() + b"\n"
                holder.sendall(answer)
        except (OSError, ValueError, LookupError, TypeError) as error:
            print(f"keeper: a holder is dropped: {type(error).__name__}: {error}", file=sys.stderr)
            if holder in {key.fileobj for key in self._sockets.get_map().values()}:
                self._sockets.unregister(holder)

    def _do(self, do: str, request: int = 0, name: str = "", **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = {"request": request}
        try:
            match do:
                case "start":
                    answer["pid"] = self._start(name, **more)
                case "end":
                    answer["returncode"] = self._end(name, **more)
                case "look":
                    answer["returncodes"] = {name: program.poll() for name, program in self._programs.items()}
                case "leave":
                    answer["ended"] = not self._holders
                    if answer["ended"]:
                        self.end()
        except (OSError, LookupError, subprocess.SubprocessError) as error:
            answer["error"] = f"{do} {name}: {type(error).__name__}: {error}"
        return answer

    def _start(self, name: str, argv: list[str], env: dict[str, str]) -> int:
        if name in self._programs and self._programs[name].poll() is None:
            raise OSError("it runs already")
        with (self._folder / f"{name}.log").open("ab") as log:
            program = subprocess.Popen(
                argv,
                env=env,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - a keeper has one thread
            )
        self._programs[name] = program
        return program.pid

    def _end(self, name: str, sign: int, seconds: float) -> int:
        """The return code; a program that does not heed the signal in time is killed."""
        program = self._programs[name]
        program.send_signal(sign)
        try:
            program.wait(seconds)
        except subprocess.TimeoutExpired:
            program.kill()
        del self._programs[name]
        return program.wait()

    def end(self) -> None:
        """Ends every program at once, without mercy, and removes the folder: what they hold is thrown away."""
        for program in self._programs.values():
            program.kill()
        for program in self._programs.values():
            program.wait()
        remove(self._folder)


def _lines(holder: socket.socket) -> list[bytes]:
    """What a holder asks, or nothing when it has gone. A Ctrl-C may have cut its waiting short, so there may be several."""
    lines = b""
    while not lines.endswith(b"\n"):
        if not (got := holder.recv(65536)):
            return []
        lines += got
    return lines.splitlines()


def remove(folder: Path) -> None:
    """Removes a folder in which a child of the dead run may still be writing; raises OSError in the end."""
    deadline = time.monotonic() + _REMOVAL_LIMIT
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main(folder: Path, first: int, lock: int) -> None:
    """Serves with the inherited socket as the first holder; the lock on the folder says that we live."""
    os.set_inheritable(lock, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    keeper = Keeper(folder, socket.socket(fileno=first))
    try:
        keeper.serve()
    finally:
        keeper.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
