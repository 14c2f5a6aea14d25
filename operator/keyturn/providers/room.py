"""How many bytes of answers may be on their way at once, over all servers: many large ones must not cost the process its life.

A call claims what it reads, when the answer's head tells or its body shows how much that is, and gives all back when it ends.
Who holds something never waits for more, so that nobody can wait for ever; and no tenant holds more than is free.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from keyturn.decide.share import may_take

ROOM: Final = 64 << 20
"""Bytes, for a process."""
CALL: Final = 16 << 20
"""What a call may gather before it brings home what it has."""


class NoRoomError(Exception):
    """There is no room for this beside what the call has already. The answer is to be asked for again, by another call."""


@dataclass(slots=True, eq=False)
class _Waiter:
    tenant: str
    size: int
    turn: asyncio.Future[None]


@dataclass(slots=True, eq=False)
class Room:
    """The room of a process. ``most`` is how much of it was taken at one time, at most."""

    size: int = ROOM
    taken: int = 0
    most: int = 0
    _held: dict[str, int] = field(default_factory=dict)
    _line: list[_Waiter] = field(default_factory=list)

    @contextmanager
    def hold(self, tenant: str) -> Iterator["Hold"]:
        """For one call; what it claimed is given back at the end."""
        hold = Hold(self, tenant)
        try:
            yield hold
        finally:
            hold.give_back(hold.size)

    async def wait(self, tenant: str, size: int) -> None:
        """Takes it once there is room, in the order in which a tenant's calls come."""
        if self._may_take(tenant, size) and not any(each.tenant == tenant for each in self._line):
            return self.take(tenant, size)
        waiter = _Waiter(tenant, size, asyncio.get_running_loop().create_future())
        self._line.append(waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.give_back(tenant, size)
            else:
                self._line.remove(waiter)
                self._serve()
            raise
        return None

    def may_take_now(self, tenant: str, size: int) -> bool:
        """Says that it is free, and that nobody waits for it."""
        return not self._line and self._may_take(tenant, size)

    def take(self, tenant: str, size: int) -> None:
        """It is taken, whether there was room or not."""
        self._held[tenant] = self._held.get(tenant, 0) + size
        self.taken += size
        self.most = max(self.most, self.taken)

    def give_back(self, tenant: str, size: int) -> None:
        """It is free, and whoever waits for it has it."""
        self.taken -= size
        self._held[tenant] -= size
        if not self._held[tenant]:
            del self._held[tenant]
        if self._line:
            self._serve()

    def _may_take(self, tenant: str, size: int) -> bool:
        return may_take(self._held.get(tenant, 0), self.size - self.taken, size)

    def _serve(self) -> None:
        behind = set[str]()
        for waiter in tuple(self._line):
            if waiter.tenant not in behind and self._may_take(waiter.tenant, waiter.size):
                self._line.remove(waiter)
                self.take(waiter.tenant, waiter.size)
                waiter.turn.set_result(None)
            else:
                behind.add(waiter.tenant)


@dataclass(slots=True, eq=False)
class Hold:
    """What one call holds. ``is_kept``: it has answers that stay until it ends, so that it may not wait for more."""

    room: Room
    tenant: str
    size: int = 0
    is_kept: bool = False

    async def claim(self, size: int, *, instead_of: int = 0) -> None:
        """Takes so many bytes, for those that it had for the same answer. Raises `NoRoomError` where it may not wait."""
        if not self.is_kept:
            # Who waits has nothing: what came before this was looked at, and is gone.
            self.give_back(self.size)
            await self.room.wait(self.tenant, size)
        elif self.size + size - instead_of > CALL or not self.room.may_take_now(self.tenant, size - instead_of):
            raise NoRoomError
        else:
            self.give_back(instead_of)
            self.room.take(self.tenant, size)
        self.size += size

    def give_back(self, size: int) -> None:
        """Needs so many bytes no more."""
        if size:
            self.size -= size
            self.room.give_back(self.tenant, size)
