"""Where a value must not turn up: each sink is called and gives what is there, as (where, text)."""

import logging
import os
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

Text = tuple[str, str]
Sink = Callable[[], Iterable[Text]]

_BEFORE = 200  # bytes that are looked at again: a value may have been cut in two by the last look
_STANDARD = frozenset(vars(logging.makeLogRecord({})))


def texts_of(record: logging.LogRecord) -> Iterator[Text]:
    """A log record as any handler could print it: its message, its extras, and the texts of its exception."""
    where = f"log record of {record.name}"
    try:
        yield where, record.getMessage()
    except (TypeError, ValueError):
        yield where, f"{record.msg} {record.args}"
    yield from ((f"{where}, {name}", str(value)) for name, value in vars(record).items() if name not in _STANDARD)
    if record.exc_info and record.exc_info[1]:
        yield from ((f"{where}, exception", text) for text in texts_of_error(record.exc_info[1]))


def texts_of_error(error: BaseException) -> Iterator[str]:
    """What a traceback would print of an exception and of all that hang on it, without source lines."""
    yield f"{type(error).__name__}: {error} {error.args} {getattr(error, '__notes__', '')}"
    for other in (error.__cause__, None if error.__suppress_context__ else error.__context__):
        if other is not None:
            yield from texts_of_error(other)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from texts_of_error(inner)


class FileSink:
    """A file that others write: what came since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = 0

    def __call__(self) -> Iterator[Text]:
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(0 if size < self._seen else max(0, self._seen - _BEFORE))
                fresh, self._seen = file.read(), size
        except FileNotFoundError:
            return  # its folder went with what wrote it
        yield f"file {self.path.name}", fresh.decode(errors="replace")


def process(pid: int, *, environ: bool) -> Iterator[Text]:
    """What everybody on the machine can read of a process, and, where asked for, its environment."""
    for part in ("cmdline", "environ") if environ else ("cmdline",):
        try:
            yield f"{part} of process {pid}", Path(f"/proc/{pid}/{part}").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return  # it ended


def processes_with(argument: str) -> Iterator[int]:
    """Processes that were started with this argument."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument in line.read_text(errors="replace").split("\0"):
                yield int(line.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked


def page(url: str) -> Iterator[Text]:
    """What a URL answers; nothing where nobody is there any more."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            yield url, answer.read().decode(errors="replace")
    except OSError:
        return
