"""Around each outside effect: intent into the audit trail before it, settlement after it."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import Busy, Conflict, KeyturnError
from keyturn.ports import AuditLog

CONFLICT: Final = "Conflict"
"""The reason of a write that met another one, or another version than it expected: no condition ever says so, and it is no outage."""


@dataclass(slots=True)
class Result:
    """How it ended where nothing was raised; a ``reason`` says that it failed all the same."""

    reason: str = ""


_attempt: ContextVar[str] = ContextVar("keyturn-attempt", default="")


@contextmanager
def attempt() -> Iterator[None]:
    """While it is entered all that is recorded says that it belongs together."""
    former = _attempt.set(secrets.token_hex(8))
    try:
        yield
    finally:
        _attempt.reset(former)


@asynccontextmanager
async def audited(log: AuditLog, entry: AuditEntry) -> AsyncIterator[Result]:
    """No entry, no effect: the intent is recorded before, and how it ended after, whatever happens."""
    intent, result = await log.intend(replace(entry, attempt=_attempt.get())), Result()
    try:
        yield result
    except KeyturnError as error:
        # Without an answer nobody knows whether the request did its work.
        await log.settle(intent, Outcome.UNKNOWN if isinstance(error, Busy) else Outcome.FAILURE, _reason(error))
        raise
    except BaseException:
        # Cancelled or worse: the request may have arrived.
        await log.settle(intent, Outcome.UNKNOWN)
        raise
    await log.settle(intent, Outcome.FAILURE if result.reason else Outcome.SUCCESS, result.reason)


def _reason(error: KeyturnError) -> str:
    return CONFLICT if isinstance(error, Conflict) else error.reason
