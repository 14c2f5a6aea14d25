"""Where the commands that read and write secrets record what they do: the table that DATABASE_URL names, or else log lines."""

import logging
import os
import pwd
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from keyturn.audit_log import LOGGER, LogAudit
from keyturn.cli.audit_door import given_keys, opened_trail
from keyturn.cli.needs import need
from keyturn.decide.defaults import DATABASE_URL
from keyturn.default import Given
from keyturn.flow.audit import Intents
from keyturn.model.audit import AuditEntry, AuditMode, AuditRow, Findings, Outcome
from keyturn.model.errors import AuditUnavailable, KeyturnError, Rejected
from keyturn.model.keys import SECRET_KEY, SECRET_KEYS_FILE, KeysRefused

if TYPE_CHECKING:
    from keyturn.store.audit import AuditTrail

AUDIT: Final = "KEYTURN_AUDIT"
_REMEDY: Final = f"without it nothing is read or written; mend that, or set {AUDIT}={AuditMode.LOG} if {DATABASE_URL} is not Keyturn's"

log = logging.getLogger(LOGGER)


@dataclass(slots=True)
class TrailAudit:
    """`Intents` over a trail, for the one thing that a command does: a commit for the intent, and one for its settlement.

    ``otherwise`` takes what the trail does not; None where that is not enough.
    """

    trail: "AuditTrail"
    otherwise: Intents | None = None
    _intents: dict[str, AuditEntry] = field(default_factory=dict)

    async def intend(self, entry: AuditEntry) -> str:
        row = _row(entry)
        try:
            await self.trail.append([row])
        except KeyturnError as error:
            problem = _refusal(error)
        else:
            self._intents[row.event] = entry
            return row.event
        if self.otherwise is None:
            raise AuditUnavailable(problem)
        log.warning("%s", problem)
        return await self.otherwise.intend(entry)

    async def settle(self, intent: str, outcome: Outcome, reason: str = "", found: Findings | None = None) -> None:
        entry = self._intents.pop(intent, None)
        if entry is None:
            return await (self.otherwise or LogAudit()).settle(intent, outcome, reason, found)
        row = _row(found.of(entry) if found else entry, intent, outcome, reason)
        try:
            await self.trail.append([row])
        except KeyturnError as error:
            # It is done or not done by now; the open intent says that somebody tried.
            log.warning("the audit trail was not told how it ended (%s): %s", outcome, error)
        return None


@asynccontextmanager
async def recorded(given: Given | None = None) -> AsyncIterator[Intents]:
    """The audit trail of a command. Raises `AuditUnavailable` where there has to be one and there is none."""
    given, is_given, mode = given or Given(), bool(os.environ.get(DATABASE_URL, "").strip()), _mode()
    if mode is AuditMode.LOG or not (is_given or given.databases.has_own):
        yield LogAudit()
        return
    otherwise = _otherwise(mode)
    async with AsyncExitStack() as opened:
        problem = ""
        made: Intents | None = otherwise
        try:
            made = TrailAudit(await _trail(given, opened), otherwise)
        except KeyturnError as error:
            problem = _refusal(error)
        if made is None:
            raise AuditUnavailable(problem)
        if problem:
            log.warning("%s", problem)
        yield made


def kept(trail: "AuditTrail") -> Intents:
    """The audit trail of a command that has the database open."""
    return LogAudit() if _mode() is AuditMode.LOG else TrailAudit(trail, _otherwise(_mode()))


def _otherwise(mode: AuditMode) -> Intents | None:
    return LogAudit() if mode is AuditMode.BEST_EFFORT else None


async def _trail(given: Given, opened: AsyncExitStack) -> "AuditTrail":
    """The one in the database of the secrets themselves, or in another one that is given beside them: that one is never made."""
    if given.databases.has_own:
        return await given.databases.trail()
    need("database", f"the audit trail of {DATABASE_URL}")
    database, _ = await opened.enter_async_context(opened_trail())
    from keyturn.store.audit import trail_of

    if (holder := await given_keys(database)) is None:
        raise KeysRefused(f"nobody could tell its rows from another's: give the master keys in {SECRET_KEY} or {SECRET_KEYS_FILE}")
    return trail_of(holder)


def _refusal(error: KeyturnError) -> str:
    return f"the audit trail of {DATABASE_URL} takes no entry: {error}; {_REMEDY}"


def fact(entry: AuditEntry, event: str = "") -> AuditRow:
    """A row of what has no effect outside, and of who runs the command; ``event`` is its id where it has one."""
    return _row(replace(entry, details={**entry.details, **about_actor()}), outcome=Outcome.SUCCESS, event=event)


def _row(entry: AuditEntry, settles: str = "", outcome: str = "", reason: str = "", *, event: str = "") -> AuditRow:
    return AuditRow.of(entry, event or secrets.token_hex(8), datetime.now(UTC), actor(), settles, outcome, reason)


def actor() -> str:
    """Who runs the command, as the kernel knows it."""
    return f"user/{os.getuid()}"


def about_actor() -> dict[str, str]:
    """What else is known of who runs it: the names that this machine gives."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = ""
    return {"user": name, "host": socket.gethostname()}


def _mode() -> AuditMode:
    given = os.environ.get(AUDIT, "").strip()
    try:
        return AuditMode(given or AuditMode.REQUIRED)
    except ValueError:
        problem = f"{AUDIT}: {given!r} is none of {', '.join(AuditMode)}"
    raise Rejected(problem)
