"""Which secrets are read by one call, and how many calls are on their way: a wall that the first one meets is met once.

Knows no protocol.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyturn.model.errors import AuthFailed, ProviderError, Throttled, Unavailable
from keyturn.model.material import CURRENT, SourceRef, Value
from keyturn.providers.aws_names import AWSCURRENT, chosen, id_of
from keyturn.providers.room import Hold, NoRoomError, Room

AT_ONCE: Final = 8
"""Calls of one ask. With the guard's four that is all that the dialer's pool holds, so that nothing waits there."""
MANY_AT_ONCE: Final = 2
"""The same of calls for many: AWS takes a hundred of them in a second, from all of an account."""

# Whoever meets one of these meets it for every other secret too.
_DOWN: Final = (Unavailable, Throttled, AuthFailed)

Answers = dict[SourceRef, Value | ProviderError]


@dataclass(frozen=True, slots=True)
class Job:
    """What one call asks for: the current values of many, by what AWS calls them, or one of any version, then by ``name``."""

    names: Mapping[str, Sequence[SourceRef]] = field(default_factory=dict)
    name: str | None = None

    @property
    def refs(self) -> list[SourceRef]:
        return [ref for refs in self.names.values() for ref in refs]

    def singly(self) -> list["Job"]:
        """The same, one by one."""
        return [Job({name: (ref,)}, name) for name, refs in self.names.items() for ref in refs]


Read = Callable[[Job, Hold], Awaitable[Mapping[SourceRef, Value | ProviderError]]]


def jobs_of(prefix: str, refs: Sequence[SourceRef], size: int) -> tuple[Answers, list[Job]]:
    """The calls that bring all of these, ``size`` of them with one call at most, and answers for what no call can bring."""
    answers: Answers = {}
    current: dict[str, list[SourceRef]] = {}
    jobs: list[Job] = []
    for ref in dict.fromkeys(refs):
        try:
            name = id_of(prefix, ref.key)
            chosen(ref)
        except ProviderError as error:
            answers[ref] = error.with_traceback(None)
            continue
        if ref.version in {"", CURRENT, AWSCURRENT} and size > 1:
            current.setdefault(name, []).append(ref)
        else:
            jobs.append(Job({name: (ref,)}, name))
    names = list(current)
    for at in range(0, len(names), size):
        job = Job({name: current[name] for name in names[at : at + size]})
        # One by itself takes no right to read many.
        jobs += [job] if len(job.names) > 1 else job.singly()
    return answers, jobs


async def work_off(jobs: Sequence[Job], read: Read, room: Room, tenant: str) -> Answers:
    """What ``read`` gives; leaves out what there is no room for. Raises what the first call meets, where that stands for all.

    What a call for many leaves out is asked for one by one. ``read`` raises what stands for all, and answers with other errors.
    """
    answers: Answers = {}
    if not jobs:
        return answers
    waiting = deque(jobs)
    with room.hold(tenant) as hold:
        try:
            await _do(waiting.popleft(), read, hold, answers)
        except NoRoomError:
            return answers
        hold.is_kept = True
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE if all(job.name for job in jobs) else MANY_AT_ONCE, len(waiting))):
                group.create_task(_work(waiting, read, hold, answers), name="keyturn-read")
    return answers


async def _work(waiting: deque[Job], read: Read, hold: Hold, answers: Answers) -> None:
    while waiting:
        job = waiting.popleft()
        try:
            await _do(job, read, hold, answers)
        except NoRoomError:
            waiting.clear()
        except _DOWN as wall:
            error = wall.with_traceback(None)
            for each in (job, *waiting):
                answers.update((ref, error) for ref in each.refs if ref not in answers)
            waiting.clear()


async def _do(job: Job, read: Read, hold: Hold, answers: Answers) -> None:
    answers.update(await read(job, hold))
    for single in () if job.name is not None else job.singly():
        if not answers.keys() >= set(single.refs):
            # What came before this stays.
            hold.is_kept = hold.is_kept or bool(answers)
            answers.update(await read(single, hold))
