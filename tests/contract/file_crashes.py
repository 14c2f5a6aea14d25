"""A program that writes to a folder of values and is killed in the middle: by itself at a step that it is told, or by whoever started it.

Told a folder and ``cut``, it reads lines of standard input, each a JSON list of a step, a method of the writer and its arguments.
It forks for each; the child does it and sends itself SIGKILL before that step, a call that changes the disk. Answers `killed` or
`done`. Told a folder and ``run``, it puts one value after another, and prints the number of each once it is put.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from keyturn.decide.reach import Reach, check_file_path
from keyturn.model.material import CURRENT
from keyturn.model.sensitive import Sensitive
from keyturn.providers.file_writer import Folder

STEPS = ("rename", "unlink", "write", "fsync", "mkdir", "utime", "fchmod")


def value_of(number: int) -> bytes:
    """A value of many pages, so that half of one would be seen."""
    return b"kt-canary-%06d " % number * 3000


def token_of(number: int) -> str:
    return f"{number:032d}"


def folder_at(root: str) -> Folder:
    reach = Reach(file_roots=(root,))
    return Folder(check_file_path(".", reach), reach)


def call(folder: Folder, method: str, arguments: list[Any]) -> None:
    if method == "put":
        key, number, stage = arguments
        folder.put(key, Sensitive(value_of(number)), token_of(number), None, stage)
    else:
        getattr(folder, method)(*arguments)


def cut_at(step: int) -> None:
    """From now on this process ends before the ``step``-th call of `STEPS`, from 0 on."""
    left = [step]

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(*args, **named)

        return counted

    for name in STEPS:
        setattr(os, name, counting(getattr(os, name)))


def cut(root: str) -> None:
    for line in sys.stdin:
        where, step, method, arguments = json.loads(line)
        child = os.fork()
        if not child:
            cut_at(step)
            call(folder_at(f"{root}/{where}"), method, arguments)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "done" if status == 0 else f"failed: {status}", flush=True)


def run(root: str, first: int) -> None:
    folder = folder_at(root)
    for number in range(first, first + 1_000_000):
        call(folder, "put", ["db/password", number, CURRENT])
        print(number, flush=True)


if __name__ == "__main__":
    if sys.argv[2] == "cut":
        cut(sys.argv[1])
    else:
        run(sys.argv[1], int(sys.argv[3]))
