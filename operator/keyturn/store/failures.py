"""What a database's failures mean, told by their codes, without a word of a driver's: its prose quotes statements and values."""

import re
import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, ProviderError, Throttled, Unavailable

NO_TABLES: Final = "the database has no tables of Keyturn, or old ones; run: keyturn db upgrade"

# By the first signs of the SQLSTATE, the longest that fits.
_BY_STATE: Final[dict[str, tuple[type[ProviderError], str]]] = {
    "28": (AuthFailed, "the database refuses the user or its password"),
    "3D": (AuthFailed, "the database that the URL names is not there"),
    "42501": (AccessDenied, "the database does not let this user do it; run keyturn db upgrade, which grants what is needed"),
    "42P01": (Unavailable, NO_TABLES),
    "42703": (Unavailable, NO_TABLES),
    "3F": (Unavailable, NO_TABLES),
    "53300": (Throttled, "the database takes no more connections"),
    "25006": (Unavailable, "the database takes no writes now"),
    "22": (Invalid, "the database cannot hold it"),
    "54": (Invalid, "the database cannot hold it"),
}
_BY_WORDS: Final = (
    # While a connection is made libpq tells no code. A server in another language is told as one that does not answer.
    ("password authentication failed", "28"),
    ("no pg_hba.conf entry", "28"),
    ("no password supplied", "28"),
    ('role "', "28"),
    ('database "', "3D"),
    ("too many clients", "53300"),
    ("remaining connection slots", "53300"),
)
_STATE: Final = re.compile("[0-9A-Z]{5}", re.ASCII)
_BY_SQLITE: Final[dict[int, tuple[type[ProviderError], str]]] = {
    sqlite3.SQLITE_BUSY: (Unavailable, "the database is busy with another process"),
    sqlite3.SQLITE_LOCKED: (Unavailable, "the database is busy with another process"),
    sqlite3.SQLITE_READONLY: (AccessDenied, "the database's file, or its folder, may not be written to"),
    sqlite3.SQLITE_PERM: (AccessDenied, "the database's file may not be opened"),
    sqlite3.SQLITE_AUTH: (AccessDenied, "the database's file may not be opened"),
    sqlite3.SQLITE_CANTOPEN: (Unavailable, "the database's file cannot be opened"),
    sqlite3.SQLITE_CORRUPT: (Invalid, "the database's file is damaged; restore it from a backup"),
    sqlite3.SQLITE_NOTADB: (Invalid, "the database's file is none; is its path right?"),
    sqlite3.SQLITE_FULL: (Unavailable, "the database's disk is full"),
    sqlite3.SQLITE_IOERR: (Unavailable, "the database's disk fails"),
    sqlite3.SQLITE_TOOBIG: (Invalid, "the database cannot hold it"),
}


def failure_of(error: BaseException) -> ProviderError | None:
    """What this failure of a database means; None where it is no database's."""
    if isinstance(error, ProviderError) or not (isinstance(error, SQLAlchemyError | sqlite3.Error | OSError) or _is_psycopgs(error)):
        return None
    if isinstance(error, PoolTimeout):
        return Throttled("the database has no connection free for this")
    if isinstance(error, TimeoutError):
        return Unavailable("the database gave no answer in time")
    kind, text = _meaning(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)
    return kind(text)


def _meaning(error: BaseException) -> tuple[type[ProviderError], str]:
    if isinstance(error, sqlite3.Error):
        if "no such table" in str(error) or "no such column" in str(error):
            return Unavailable, NO_TABLES
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return _BY_SQLITE.get(code, (Unavailable, f"the database's file failed (SQLite {code})"))
    told = getattr(error, "sqlstate", None) or ""
    # A server may say anything there.
    state = told if _STATE.fullmatch(told) else _state_told(str(error))
    for length in range(len(state), 1, -1):
        if found := _BY_STATE.get(state[:length]):
            return found
    return Unavailable, f"the database failed (SQLSTATE {state})" if state else "the database gave no answer"


def _state_told(words: str) -> str:
    return next((state for sign, state in _BY_WORDS if sign in words), "")


def _is_psycopgs(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "psycopg"
