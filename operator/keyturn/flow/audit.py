"""Around each outside effect: intent into the audit trail before it, settlement after it."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from keyturn.model.audit import AuditEntry, Findings, Outcome
from keyturn.model.errors import AccessDenied, AuthFailed, Busy, Conflict, Forbidden, KeyturnError, Refused

CONFLICT: Final = "Conflict"
"""The reason of a write that met another one, or another version than it expected: no condition ever says so, and it is no outage."""

_DENIALS: Final = (AccessDenied, AuthFailed, Forbidden, Refused)


@dataclass(slots=True)
class Result:
    """How it ended where nothing was raised; a ``reason`` says that it failed all the same, or was ``is_denied``.

    ``details`` and ``keys`` are what became known by it, for its settlement.
    """

    reason: str = ""
    is_denied: bool = False
    details: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] | None = None

    @property
    def outcome(self) -> Outcome:
        return Outcome.DENIED if self.is_denied else Outcome.FAILURE if self.reason else Outcome.SUCCESS

    @property
    def findings(self) -> Findings | None:
        return Findings(self.details, self.keys) if self.details or self.keys is not None else None


_attempt: ContextVar[tuple[str, str]] = ContextVar("keyturn-attempt", default=("", ""))


@contextmanager
def attempt(trigger: str = "") -> Iterator[None]:
    """While it is entered all that is recorded says that it belongs together, and what it was that led to it."""
    former = _attempt.set((secrets.token_hex(8), trigger))
    try:
        yield
    finally:
        _attempt.reset(former)


def joined(entry: AuditEntry) -> AuditEntry:
    """The entry as a part of the present attempt; a trigger of its own wins."""
    name, trigger = _attempt.get()
    return replace(entry, attempt=name, trigger=entry.trigger or trigger)


class Intents(Protocol):
    """Of the port `AuditLog` what an effect needs."""

    async def intend(self, entry: AuditEntry) -> str:
        """As there."""

    async def settle(self, intent: str, outcome: Outcome, reason: str = "", found: Findings | None = None) -> None:
        """As there."""


@asynccontextmanager
async def audited(log: Intents, entry: AuditEntry) -> AsyncIterator[Result]:
    """No entry, no effect: the intent is recorded before, and how it ended after, whatever happens."""
    intent, result = await log.intend(joined(entry)), Result()
    try:
        yield result
    except KeyturnError as error:
        await log.settle(intent, _outcome(error), reason_of(error), result.findings)
        raise
    except BaseException:
        # Cancelled or worse: the request may have arrived.
        await log.settle(intent, Outcome.UNKNOWN)
        raise
    await log.settle(intent, result.outcome, result.reason, result.findings)


def is_denial(error: BaseException) -> bool:
    """Whether somebody said no: the provider, the API server, or our own rules."""
    return isinstance(error, _DENIALS)


def _outcome(error: KeyturnError) -> Outcome:
    if isinstance(error, Busy):
        # Without an answer nobody knows whether the request did its work.
        return Outcome.UNKNOWN
    return Outcome.DENIED if is_denial(error) else Outcome.FAILURE


def reason_of(error: KeyturnError) -> str:
    """The word that conditions have for it, or, where they have none that says more, the kind of the error."""
    if isinstance(error, Conflict):
        return CONFLICT
    return type(error).__name__ if error.reason == KeyturnError.reason else error.reason
