"""Looks names up in threads, since the system's own resolver knows no other way, and never in more than some.

A name whose server is silent keeps its thread until the resolver gives up, and nothing ends it before. So who asks for
many such names gets ever fewer threads, and the last one that is free goes to somebody who has none. Belongs to no event
loop. Keeps no answer, and judges no address: that is ``dial``.
"""

import asyncio
import copy
import socket
import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

MOST: Final = 32
"""Threads, and so names at once."""

SHARE: Final = 4
"""Nobody gets another thread who has this part of those that are still free: one alone takes 6 of 32, and 8 together 24."""


@dataclass(frozen=True, slots=True)
class _Name:
    asker: str
    host: str
    family: int


@dataclass(slots=True, eq=False)
class _Question:
    """A name that is asked for, once for all who wait. ``is_out``: it is with a thread."""

    name: _Name
    answers: list[Future[list[str]]] = field(default_factory=list)
    is_out: bool = False

    @property
    def is_wanted(self) -> bool:
        return not all(answer.cancelled() for answer in self.answers)


class LookUps:
    """Where all ask for names; ``most`` is how many threads there are at once."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._questions: dict[_Name, _Question] = {}
        self._out: Counter[str] = Counter()

    async def ask(self, asker: str, host: str, family: int) -> list[str]:
        """The addresses of a name, each once. ``asker`` is on whose behalf. Raises `OSError`, or `ValueError` for what is no name."""
        answer: Future[list[str]] = Future()
        name = _Name(asker, host, family)
        with self._lock:
            self._questions.setdefault(name, _Question(name)).answers.append(answer)
        if question := self._next():
            try:
                threading.Thread(target=self._work_off, args=(question,), name="keyturn-name", daemon=True).start()
            except RuntimeError as error:  # the system has no thread for us
                self._land(question, error)
        return await asyncio.wrap_future(answer)

    def _work_off(self, question: _Question | None) -> None:
        while question:
            try:
                told = socket.getaddrinfo(question.name.host, None, question.name.family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
                found: list[str] | Exception = list(dict.fromkeys(str(address[0]) for *_, address in told))
            except Exception as error:  # noqa: BLE001  # whatever it is, those who wait are told, and the thread goes on
                found = error
            self._land(question, found)
            question = self._next()

    def _next(self) -> _Question | None:
        """The oldest question whose asker may have a thread more; forgets what nobody waits for any more."""
        with self._lock:
            for question in [each for each in self._questions.values() if not each.is_out and not each.is_wanted]:
                del self._questions[question.name]
            free = self._most - self._out.total()
            for name, question in self._questions.items():
                if free and not question.is_out and self._out[name.asker] < max(1, free // SHARE):
                    self._out[name.asker] += 1
                    question.is_out = True
                    return question
        return None

    def _land(self, question: _Question, found: list[str] | Exception) -> None:
        with self._lock:
            del self._questions[question.name]
            self._out[question.name.asker] -= 1
            if not self._out[question.name.asker]:
                del self._out[question.name.asker]
        for answer in question.answers:
            if not answer.set_running_or_notify_cancel():
                continue
            if isinstance(found, Exception):
                # One for each: raising one object in many tasks would chain their tracebacks.
                answer.set_exception(copy.copy(found).with_traceback(None))
            else:
                answer.set_result(found)


FOR_TENANTS: Final = LookUps()
FOR_ADMINS: Final = LookUps()
"""Threads are the process's, and so are these two: whatever tenants do, an admin's names are looked up."""
