"""Reads values one by one from a server that has no call for many: some at a time, and no more than there is room for.

A wall that the first one meets is met once, and not once for each. Knows no protocol.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from keyturn.model.errors import AuthFailed, ProviderError, Throttled, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.providers.room import Hold, NoRoomError, Room

Answers = dict[SourceRef, Value | ProviderError]
Read = Callable[[SourceRef, Hold], Awaitable[Value]]

AT_ONCE: Final = 8
"""In one call. With the guard's four calls that is all that the dialer's pool holds, so that nothing waits there."""

# Whoever meets one of these meets it for every other key too.
_DOWN: Final = (Unavailable, Throttled, AuthFailed)


async def read_each(refs: Sequence[SourceRef], fit: Callable[[SourceRef], object], read: Read, room: Room, tenant: str) -> Answers:
    """What ``read`` gives, or raises, for each; leaves out what there is no room for beside the rest. Raises what the first meets,
    where that stands for all.

    ``fit`` raises for a reference that no server is asked for: such a one tells nothing of whether the server is there.
    """
    answers: Answers = {}
    waiting = deque[SourceRef]()
    for ref in dict.fromkeys(refs):
        try:
            fit(ref)
        except ProviderError as error:
            answers[ref] = error.with_traceback(None)
        else:
            waiting.append(ref)
    if not waiting:
        return answers
    with room.hold(tenant) as hold:
        first = waiting.popleft()
        # Alone: a server that is away, or that lets nobody in, is asked once and not once for each key.
        answers[first] = wall = await _tried(read, first, hold)
        if isinstance(wall, _DOWN):
            raise wall
        hold.is_kept = True
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(waiting))):
                group.create_task(_work_off(waiting, read, answers, hold), name="keyturn-read")
    return answers


async def _work_off(waiting: deque[SourceRef], read: Read, answers: Answers, hold: Hold) -> None:
    while waiting:
        ref = waiting.popleft()
        try:
            answers[ref] = wall = await _tried(read, ref, hold)
        except NoRoomError:
            waiting.clear()
            return
        if isinstance(wall, _DOWN):
            answers.update((left, wall) for left in waiting)
            waiting.clear()


async def _tried(read: Read, ref: SourceRef, hold: Hold) -> Value | ProviderError:
    try:
        return await read(ref, hold)
    except ProviderError as error:
        return error.with_traceback(None)
