"""Threads for work that blocks, in which nobody's work takes the place of all others'.

What blocks cannot be ended: it keeps its thread also when nobody waits for it any more. So who has many such jobs gets ever fewer
threads, and the last one that is free goes to somebody who has none. Belongs to no event loop.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

SHARE: Final = 4
"""Nobody gets another thread who has this part of those that are still free: one alone takes 3 of 16."""

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Job:
    whose: str
    work: Callable[[], Any]
    told: Future[Any]


class Threads:
    """``most`` at once, each called ``name``. They begin when there is work, and end when there is none."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._busy: Counter[str] = Counter()

    async def run(self, whose: str, work: Callable[[], _T]) -> _T:
        """What ``work`` gives or raises; ``whose`` it is, such as a namespace. Raises `RuntimeError` where the system has no thread."""
        told: Future[_T] = Future()
        with self._lock:
            self._waiting.append(_Job(whose, work, told))
        if job := self._next():
            try:
                threading.Thread(target=self._work_off, args=(job,), name=self._name, daemon=True).start()
            except RuntimeError as error:
                self._leave(job)
                job.told.set_exception(error)
        return await asyncio.wrap_future(told)

    def _work_off(self, job: _Job | None) -> None:
        while job:
            try:
                found = job.work()
            except BaseException as error:  # noqa: BLE001  # whatever it is, whoever waits is told, and the thread goes on
                self._leave(job)
                job.told.set_exception(error)
            else:
                self._leave(job)
                job.told.set_result(found)
            job = self._next()

    def _next(self) -> _Job | None:
        """The oldest job whose owner may have a thread more, which is then its; forgets those that nobody waits for any more."""
        with self._lock:
            self._waiting = [job for job in self._waiting if not job.told.cancelled()]
            free = self._most - self._busy.total()
            for job in self._waiting:
                if free and self._busy[job.whose] < max(1, free // SHARE) and job.told.set_running_or_notify_cancel():
                    self._waiting.remove(job)
                    self._busy[job.whose] += 1
                    return job
        return None

    def _leave(self, job: _Job) -> None:
        with self._lock:
            self._busy[job.whose] -= 1
            if not self._busy[job.whose]:
                del self._busy[job.whose]
