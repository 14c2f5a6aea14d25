"""What a database's failures mean, told by their codes, without a word of a driver's: its prose quotes statements and values."""

import re
import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, KeyturnError, ProviderError, Throttled, Unavailable

NO_TABLES: Final = "the database has no tables of Keyturn, or old ones; run: keyturn db upgrade"
DISK_FULL: Final = "the database's disk is full; make room on it, or give it a larger one, and it goes on by itself"

# By the first signs of the SQLSTATE, the longest that fits.
_BY_STATE: Final[dict[str, tuple[type[ProviderError], str]]] = {
    "28": (AuthFailed, "the database refuses the user or its password"),
    "3D": (AuthFailed, "the database that the URL names is not there"),
    "42501": (AccessDenied, "the database does not let this user do it; run keyturn db upgrade, which grants what is needed"),
    "42P01": (Unavailable, NO_TABLES),
    "42703": (Unavailable, NO_TABLES),
    "3F": (Unavailable, NO_TABLES),
    "53300": (Throttled, "the database takes no more connections"),
    "53100": (Unavailable, DISK_FULL),
    "25P03": (Unavailable, "the database ended a transaction that was silent for too long"),
    "55P03": (Unavailable, "a table of the database is held by another session for too long; pg_locks says by which"),
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
_NO_ANSWER: Final = "the database gave no answer"
# Why there was none, for whoever chose the address themselves. In the words of libpq and of the driver; the first that fits.
_BY_WORDS_OWN: Final = (
    ("does not match host name", "its certificate is for another name than the URL's host; write a name that it is for"),
    ("certificate verify failed", "its certificate is of no authority that is trusted here; name the authority's file in sslrootcert"),
    (
        "root certificate file",
        "the file that sslrootcert names is not there, or has no authority in it; mount it there",
    ),
    ("does not support SSL", "it has no TLS, which sslmode asks for; turn it on at the server"),
    ("failed to resolve host", "the URL's host is not known"),
    ("on socket", "there is no server at the socket of this machine; name a host in the URL"),
    ("Connection refused", "nobody listens at the URL's host and port"),
    ("No route to host", "no way leads to the URL's host"),
    ("unreachable", "no way leads to the URL's host"),
    ("expected authentication request", "what listens at the URL's host and port is no PostgreSQL"),
    ("response to SSL negotiation", "what listens at the URL's host and port is no PostgreSQL"),
    ("timeout expired", "nothing came back in time; is the URL's host right, and does a firewall let it through?"),
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
    sqlite3.SQLITE_FULL: (Unavailable, DISK_FULL),
    sqlite3.SQLITE_IOERR: (
        Unavailable,
        "the database's disk fails, or a limit or quota is reached; look for room on it, and for its health",
    ),
    sqlite3.SQLITE_TOOBIG: (Invalid, "the database cannot hold it"),
}


class DatabaseRefused(KeyturnError):
    """The database that was named cannot be used; the message says which rule it breaks, and never the URL."""


def failure_of(error: BaseException, *, is_own: bool) -> ProviderError | None:
    """What this failure of a database means; None where it is no database's. A tenant's is not told why nobody answered."""
    if isinstance(error, ProviderError) or not (isinstance(error, SQLAlchemyError | sqlite3.Error | OSError) or _is_psycopgs(error)):
        return None
    if isinstance(error, PoolTimeout):
        return Throttled("the database has no connection free for this")
    if isinstance(error, TimeoutError):
        return Unavailable(f"{_NO_ANSWER} in time")
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    kind, text = _meaning(cause)
    return kind(text + _why(str(cause)) if is_own and text == _NO_ANSWER else text)


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
    return Unavailable, f"the database failed (SQLSTATE {state})" if state else _NO_ANSWER


def _why(words: str) -> str:
    return next((f": {why}" for sign, why in _BY_WORDS_OWN if sign in words), "")


def _state_told(words: str) -> str:
    return next((state for sign, state in _BY_WORDS if sign in words), "")


def _is_psycopgs(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "psycopg"
