"""Cuts a process at a boundary of an effect, and counts what was done before and after the cut."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from keyturn.flow.world import World
from keyturn.model.audit import AuditEntry, Findings, Outcome
from keyturn.model.objects import Managed, ProviderObject
from keyturn.model.plan import Desired, Leftover, Live
from keyturn.model.status import ProviderStatus, Status
from keyturn.ports import AuditLog, SecretWriter, Statuses
from keyturn.testing.cluster import FakeCluster

_T = TypeVar("_T")


class Cut(BaseException):
    """The process is gone: nothing of it may catch this, and nothing of it does anything any more."""


@dataclass
class Knife:
    """``cut_at`` is the number of the boundary at which the process ends; None only records them while ``is_armed``."""

    cluster: FakeCluster
    cut_at: int | None = None
    is_armed: bool = False
    is_dead: bool = False
    boundaries: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def fit(self, world: World) -> None:
        """Puts itself before the ports of a new process, which is alive."""
        self.is_dead = False
        world.writer, world.statuses, world.audit = _Writer(world.writer, self), _Statuses(world.statuses, self), _Audit(world.audit, self)
        world.refresher._audit = world.audit

    async def around(self, name: str, call: Callable[[], Awaitable[_T]]) -> _T:
        """One effect, with a boundary on either side."""
        self._boundary(f"before {name}")
        try:
            result = await call()
        except Exception:
            self._boundary(f"after {name} was refused")
            raise
        self.done[name] += 1
        self._boundary(f"after {name}")
        return result

    async def moving(self, name: str, live_of: Callable[[], Awaitable[Live]]) -> Live:
        """One write to a Secret that may be no change at all; only one that moved it is counted."""
        versions = {ref: secret.version for ref, secret in self.cluster.secrets.items()}
        live = await self.around(name, live_of)
        if versions.get(live.ref) == self.cluster.secrets[live.ref].version:
            self.done[name] -= 1
        return live

    def _boundary(self, name: str) -> None:
        if self.is_dead:
            raise Cut(name)
        if not self.is_armed:
            return
        self.boundaries.append(name)
        if len(self.boundaries) - 1 == self.cut_at:
            self.is_dead = True
            raise Cut(name)


@dataclass
class _Writer:
    inner: SecretWriter
    knife: Knife

    async def create(self, desired: Desired, changed_at: str) -> Live:
        return await self.knife.around("create", lambda: self.inner.create(desired, changed_at))

    async def rehearse(self, desired: Desired) -> None:
        # Changes nothing, so there is nothing to cut.
        await self.inner.rehearse(desired)

    async def apply(self, desired: Desired, live: Live, changed_at: str) -> Live:
        return await self.knife.moving("apply", lambda: self.inner.apply(desired, live, changed_at))

    async def strip(self, live: Live, leftover: Leftover, keep_owners: Collection[str] | None = None) -> Live:
        return await self.knife.moving("strip", lambda: self.inner.strip(live, leftover, keep_owners))

    async def delete(self, live: Live) -> None:
        await self.knife.around("delete", lambda: self.inner.delete(live))


@dataclass
class _Statuses:
    inner: Statuses
    knife: Knife

    async def write(self, managed: Managed, status: Status) -> None:
        await self.knife.around("status", lambda: self.inner.write(managed, status))

    async def write_provider(self, provider: ProviderObject, status: ProviderStatus) -> None:
        await self.inner.write_provider(provider, status)


@dataclass
class _Audit:
    inner: AuditLog
    knife: Knife

    async def intend(self, entry: AuditEntry) -> str:
        return await self.knife.around(f"intend {entry.action}", lambda: self.inner.intend(entry))

    async def settle(self, intent: str, outcome: Outcome, reason: str = "", found: Findings | None = None) -> None:
        await self.knife.around("settle", lambda: self.inner.settle(intent, outcome, reason, found))

    def record(self, entry: AuditEntry, outcome: Outcome, reason: str = "") -> None:
        self.inner.record(entry, outcome, reason)
