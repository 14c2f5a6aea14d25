"""Checkpoints of the audit trail by whoever leads: hourly, soon after a denial or a rotation, and at the stop.

Each lies in the database, and where whoever has the database has no access: in the cluster, in the log, and in an event. At the start
the trail has to hold what these say.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from keyturn.decide import audit_told
from keyturn.flow.audit_patience import answered
from keyturn.model.audit import Head
from keyturn.model.checkpoint import AuditTampered, Signed
from keyturn.model.errors import Forbidden, KeyturnError
from keyturn.model.note import NoteRefused
from keyturn.ports import Clock

log = logging.getLogger("keyturn.audit")

LOOK_S: Final = 10.0
"""How often it is looked for rows that a checkpoint should follow within a minute."""
PRESS_S: Final = 40.0
"""After the last one such a row waits at least so long for the next: it is there within a minute, and few are made of many rows."""
FIRST_S: Final = 1.0
EVENT_S: Final = 3600.0
LEAVE_S: Final = 5.0
OPEN_S: Final = 60.0
"""The key may have to be asked for at the API server."""
TURN_S: Final = 300.0
"""Millions of rows may have come since the last checkpoint, and each is looked at before it is signed."""

SIGNED, TAMPERED = "AuditSigned", "AuditTampered"
REMEDY: Final = "run keyturn audit verify, and leave the database as it is"


class Book(Protocol):
    """The checkpoints of the trail in a database. Raises `ProviderError` where that does not answer."""

    @property
    def vkey(self) -> str:
        """The public key of what is signed here."""

    async def write(self, now: datetime) -> Signed | None:
        """Signs the end as it is, or gives the last one where nothing came since; None while there is nothing to sign.

        Raises `AuditTampered` where the trail is not as it was written.
        """

    async def presses(self, after: int) -> tuple[int, bool]:
        """Up to which row it was looked now, from ``after`` on, and whether one of them wants a checkpoint soon."""

    async def lost(self, note: str) -> Sequence[Signed]:
        """Of this note (or '') and its own newest checkpoint those whose row it lacks, though nobody accepted that.

        Raises `NoteRefused` where the note is not signed by us, or is of another trail than this one, which we signed.
        """

    def is_newer(self, note: str, signed: Signed) -> bool:
        """Whether this note is signed by us, and later than that one."""

    async def renew(self) -> None:
        """Asks over new connections from now on: those that stand may lead to nobody."""


class Outside(Protocol):
    """Where checkpoints are kept beside the database. Raises a `ClusterError`."""

    async def read(self) -> str:
        """The note that is there, '' for none."""

    async def write(self, note: str, head: Head, vkey: str) -> None:
        """Puts this one there, if nobody did so since `read`."""

    def tell(self, kind: str, reason: str, note: str) -> None:
        """Takes an event, ``kind`` Normal or Warning, and returns at once."""


@dataclass(slots=True)
class Checkpoints:
    """Use `begin_term` and `look` before a term's first effect, `run` beside the work, `close` after the last row was written.

    ``open`` gives the book with its key, ``is_leading`` says whether it is ours to write in.
    """

    open: Callable[[], Coroutine[Any, Any, Book]]
    outside: Outside
    clock: Clock
    monotonic: Callable[[], float]
    is_leading: Callable[[], bool]
    period_s: float = EVENT_S
    problem: str = ""
    signed: Signed | None = None
    """The newest that we know of."""
    _book: Book | None = None
    _is_outside: bool = False
    _began: asyncio.Event = field(default_factory=asyncio.Event)
    _looked_to: int = 0
    _due: float = field(default=float("-inf"))
    _told: float = field(default=float("-inf"))
    _warned: float = field(default=float("-inf"))
    _wrote: float = field(default=float("-inf"))
    _terms: int = 0

    async def look(self) -> Sequence[Head]:
        """Ends that were signed, and that the trail lacks. Raises a `KeyturnError` without an answer, or without the key."""
        terms, book = self._terms, await answered(self.open(), OPEN_S)
        note = await self._kept()
        try:
            lost = await answered(book.lost(note), renew=book.renew)
        except NoteRefused as refused:
            # Whoever may edit ConfigMaps must not be able to stop the operator by one.
            log.warning("the checkpoint in the cluster is not taken for ours, and says nothing: %s", refused)
            lost = await answered(book.lost(""), renew=book.renew)
        if lost:
            return list(dict.fromkeys(each.checkpoint.head for each in lost))
        if terms != self._terms:
            return ()  # of a term that is over; the present one looks itself
        self._book, self._due, self._looked_to = book, float("-inf"), 0
        self._began.set()
        return ()

    def begin_term(self, _: str) -> None:
        """Nothing is signed before `look` was: a term begins with what another replica left."""
        self._book = None
        self._terms += 1

    async def run(self) -> None:
        """Until cancelled; what fails is said once, and tried again."""
        while True:
            if self._book is not None and self.is_leading():
                await self._turn(self._book)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._began.wait(), min(LOOK_S if self.signed else FIRST_S, self.period_s))
            self._began.clear()

    async def close(self) -> None:
        """The last one, if we ever led; takes some seconds at most."""
        if self._book is None:
            return
        self._due = float("-inf")
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._turn(self._book)
        except TimeoutError:
            log.warning("no checkpoint of the audit trail was written at the stop: the database or the API server did not answer in time")

    async def _kept(self) -> str:
        try:
            return await self.outside.read()
        except Forbidden as error:
            # As if there were none: whoever can take this right away can delete it too.
            log.warning("the checkpoint in the cluster cannot be read: %s", error)
            return ""

    async def _turn(self, book: Book) -> None:
        try:
            await answered(self._step(book), TURN_S, renew=book.renew)
        except KeyturnError as error:
            self._fail(error)
        else:
            self.problem = ""

    async def _step(self, book: Book) -> None:
        if await self._is_wanted(book):
            await self._sign(book)
        if self.signed is not None and not self._is_outside:
            await self._publish(book, self.signed)

    async def _is_wanted(self, book: Book) -> bool:
        self._looked_to, is_pressing = await book.presses(self._looked_to)
        if is_pressing:
            # Whoever is denied again and again makes about one a minute, and not one at each look.
            self._due = min(self._due, max(self.monotonic(), self._wrote + PRESS_S))
        return self.monotonic() >= self._due

    async def _sign(self, book: Book) -> None:
        signed = await book.write(self.clock.now())
        if signed is None:
            return  # an empty trail, of which the first rows come in a moment
        self._wrote = self.monotonic()
        self._due = self._wrote + self.period_s
        if self.signed is not None and signed.note == self.signed.note:
            return
        self.signed, self._is_outside, self._looked_to = signed, False, signed.checkpoint.head.seq
        log.info("checkpoint", extra={"head": str(signed.checkpoint.head), "checkpoint": signed.note, "vkey": book.vkey})

    async def _publish(self, book: Book, signed: Signed) -> None:
        kept, head = await self._kept(), signed.checkpoint.head
        # Another replica may lead by now, and have written a later one.
        if kept != signed.note and not book.is_newer(kept, signed):
            await self.outside.write(signed.note, head, book.vkey)
        self._is_outside = True
        if self.monotonic() >= self._told + EVENT_S:
            self._told = self.monotonic()
            self.outside.tell("Normal", SIGNED, f"The audit trail is signed to row {head.seq}: {head}")

    def _fail(self, error: KeyturnError) -> None:
        is_tampered, told = isinstance(error, AuditTampered), audit_told.told(error)
        if is_tampered:
            told = f"{told}; {REMEDY}"
        if told != self.problem:
            log.error("no checkpoint of the audit trail: %s", told)
        if is_tampered and self.monotonic() >= self._warned + EVENT_S:
            self._warned = self.monotonic()
            self.outside.tell("Warning", TAMPERED, told)
        self.problem = told
