"""The lease in memory, and a fence that a test opens and closes."""

import asyncio
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from keyturn.model.errors import Busy, ClusterConflict, NotLeading, ObjectGone
from keyturn.model.lease import Lease


@dataclass(slots=True)
class FakeFence:
    """Stands open while ``is_leading``, and for what takes no longer than ``left_s``."""

    is_leading: bool = True
    left_s: float = math.inf

    def check(self, for_s: float = 0.0) -> None:
        if not self.is_leading or for_s > self.left_s:
            raise NotLeading("another replica leads")


@dataclass(slots=True)
class FakeLeases:
    """One record for all replicas that share it. ``is_away``: nobody answers; ``loses_answers``: writes are done, unheard of."""

    record: Lease | None = None
    is_away: bool = False
    loses_answers: bool = False
    written: list[Lease] = field(default_factory=list)
    _serial: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def read(self) -> Lease | None:
        await self._answer()
        return self.record

    async def write(self, lease: Lease) -> Lease:
        await self._answer()
        if self.record is None and lease.resource_version:
            raise ObjectGone("the lease is gone", status=404)
        if self.record is not None and self.record.resource_version != lease.resource_version:
            raise ClusterConflict("the lease moved", status=409)
        self.record = replace(lease, resource_version=str(next(self._serial)))
        self.written.append(self.record)
        if self.loses_answers:
            raise Busy("no answer")
        return self.record

    def touch(self) -> None:
        """Somebody's edit that changes nothing of what it says."""
        if self.record is not None:
            self.record = replace(self.record, resource_version=str(next(self._serial)))

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            raise Busy("no answer")
