"""What the audit trail of a process is written to: a trail that keeps rows in one chain, and what stands in while it is away."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from keyturn.model.audit import AuditRow, Head, Term


class AuditRows(Protocol):
    """A trail that keeps rows in one chain, whoever adds to it. Raises `ProviderError` where it cannot."""

    async def append(self, rows: Sequence[AuditRow], term: Term | None = None) -> Head:
        """Adds these, or none, and gives the end; what is there already, and what settles an intent that is settled, is passed over.

        ``term``: of whoever will act upon them. Raises `Fenced` where a later one began, and `Invalid` where one of them can never be
        added.
        """

    async def known(self, events: Collection[str]) -> Collection[str]:
        """Those of these rows that are there."""

    async def head(self) -> Head:
        """The end."""

    async def holds(self, anchor: Head, writer: str = "") -> bool:
        """Whether it has the row that this is an end of, or somebody accepted that it has not.

        ``writer``: what ids of rows begin with of whoever wrote it down; an accepted loss of a later end counts then, until they wrote
        behind it.
        """

    async def renew(self) -> None:
        """Asks over new connections from now on: those that stand may lead to nobody."""


class Terms(Protocol):
    """Where such a trail says who acts alone."""

    async def begin(self, office: str, holder: str, at: datetime) -> Term:
        """A new term of this office, by which all before it end."""

    async def open_intents(self, beginning: str, after: int, upto: int | None = None) -> Mapping[int, AuditRow]:
        """Those behind this row that nothing settles and whose id begins so, by their numbers: the oldest of them, none for the end.

        ``upto``: the last row to look at, where that is not the end.
        """


class Trail(AuditRows, Terms, Protocol):
    """Both of it."""


class Spool(Protocol):
    """Keeps rows in their order while the trail takes none, over the end of the process too. Raises `AuditUnavailable` where it cannot."""

    @property
    def rows(self) -> int:
        """How many it holds."""

    async def append(self, rows: Sequence[AuditRow]) -> None:
        """Adds these, or none; they are on the disk then."""

    async def first(self, most: int) -> Sequence[AuditRow]:
        """The oldest of them."""

    async def drop(self, count: int) -> None:
        """The trail has the oldest of them."""

    async def close(self) -> None:
        """Nothing is added or asked any more."""
