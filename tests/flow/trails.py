"""A trail in memory that fails as a database does, and a queue that writes to it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from keyturn.flow import audit_queue
from keyturn.flow.audit_queue import AuditQueue
from keyturn.model.audit import AuditEntry, AuditRow, Head, Term
from keyturn.model.errors import Fenced, Invalid, ProviderError, Unavailable
from keyturn.testing.clock import FakeClock

ENTRY = AuditEntry("secret.create", "ManagedSecret/shop/app", "Secret/shop/app", keys=("password",), attempt="t1")
OFFICE = "keyturn-system/keyturn"


@dataclass
class Trail:
    """As the database is: whole groups or nothing, each row once, and answers that are lost on the way."""

    rows: list[AuditRow] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    down: ProviderError | None = None
    loses_answers: bool = False
    refuses: str = ""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    epochs: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gate.set()

    async def head(self) -> Head:
        if self.down:
            raise self.down
        return Head(len(self.rows), bytes(32))

    async def holds(self, anchor: Head, writer: str = "") -> bool:
        return anchor.seq <= len(self.rows)

    async def renew(self) -> None:
        """It has no connections."""

    async def begin(self, office: str, holder: str, at: datetime) -> Term:
        if self.down:
            raise self.down
        self.epochs[office] = self.epochs.get(office, 0) + 1
        return Term(office, self.epochs[office])

    async def append(self, rows: Sequence[AuditRow], term: Term | None = None) -> Head:
        await self.gate.wait()
        if self.down:
            raise self.down
        if term is not None and self.epochs[term.office] != term.epoch:
            raise Fenced("somebody else")
        if self.refuses and any(row.target == self.refuses for row in rows):
            raise Invalid("the database cannot hold it")
        there, settled = {row.event for row in self.rows}, {row.settles for row in self.rows if row.settles}
        self.rows += [row for row in rows if row.event not in there and row.settles not in settled]
        self.groups += [len(rows)] if rows else []
        if self.loses_answers:
            raise Unavailable("the database gave no answer")
        return await self.head()

    async def known(self, events: Collection[str]) -> Collection[str]:
        if self.down:
            raise self.down
        return {row.event for row in self.rows} & set(events)

    async def open_intents(self, beginning: str = "", after: int = 0, upto: int | None = None) -> Mapping[int, AuditRow]:
        settled = {row.settles for row in self.rows}
        rows = enumerate(self.rows[:upto], 1)
        found = {n: row for n, row in rows if n > after and not row.outcome and row.event not in settled}
        return dict([(n, row) for n, row in found.items() if row.event.startswith(beginning)][:1000])

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [(row.action, str(row.outcome), row.reason) for row in self.rows]


@asynccontextmanager
async def queue(trail: Trail, office: str = OFFICE, **more: Any) -> AsyncIterator[AuditQueue]:
    async def opened() -> Trail:
        if trail.down:
            raise trail.down
        return trail

    made = AuditQueue(opened, FakeClock(), "operator", "a", office, **more)
    if office:
        made.begin_term("")
    job = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        job.cancel()
        with suppress(asyncio.CancelledError):
            await job
        await made.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_queue, "RETRY_S", 0.01)


async def until(is_so: object) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # type: ignore[operator]  # noqa: ASYNC110  # a condition of the trail's, which tells nobody
            await asyncio.sleep(0.001)
