"""A database's URL: taken apart and checked without I/O, and completed with what makes a connection to PostgreSQL a safe one.

It holds a password, so no message quotes any of it, an option's name neither: a '?' in a password begins the options.
"""

import os
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from keyturn.model.sensitive import Sensitive
from keyturn.store.failures import DatabaseRefused

VARIABLE: Final = "DATABASE_URL"
"""Where a URL comes from, unless something else is said."""

_FILE: Final = "sqlite:////PATH/TO/FILE"
_FORM: Final = f"postgresql://USER:PASSWORD@HOST/NAME, the password percent-encoded, or {_FILE}"
_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
OPTIONS: Final = frozenset({
    "user", "password", "passfile", "channel_binding", "connect_timeout", "dbname", "host", "hostaddr", "port", "client_encoding",
    "options", "application_name", "fallback_application_name", "keepalives", "keepalives_idle", "keepalives_interval",
    "keepalives_count", "tcp_user_timeout", "sslmode", "sslnegotiation", "sslcompression", "sslcert", "sslkey", "sslcertmode",
    "sslpassword", "sslrootcert", "sslcrl", "sslcrldir", "sslsni", "requirepeer", "require_auth", "min_protocol_version",
    "max_protocol_version", "ssl_min_protocol_version", "ssl_max_protocol_version", "gssencmode", "krbsrvname", "gsslib",
    "gssdelegation", "target_session_attrs", "load_balance_hosts",
})  # fmt: skip
"""What may follow the '?': libpq's options, without those that would name the server in a file, log keys, or log in by a browser."""

_FULL: Final = "verify-full"
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", _FULL)
_SYSTEM: Final = "system"
# As for tenants' servers: the libpq that comes with the driver looks for the system's authorities where its builder had them.
_TRUSTED: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_PORT: Final = 5432
_LAST_PORT: Final = 65535


def parsed(url: Sensitive, variable: str = VARIABLE) -> URL:
    """The URL with the driver that we use, checked without I/O. Raises `DatabaseRefused`, which names the variable."""
    try:
        found = make_url(url.reveal().decode())
    except (ArgumentError, ValueError):
        found = None
    if found is None:
        raise DatabaseRefused(f"{variable}: is no URL of a database; write {_FORM}")
    driver = _DRIVERS.get(found.drivername)
    if driver is None:
        raise DatabaseRefused(f"{variable}: begins with something else than postgresql:// or sqlite:///; no other database is supported")
    if "plugin" in found.query:
        raise DatabaseRefused(f"{variable}: names a plugin, which would be code of somebody's; leave it out")
    if problem := _wrong_file(found) if driver.startswith("sqlite") else _wrong_server(found):
        raise DatabaseRefused(f"{variable}: {problem}")
    return found.set(drivername=driver)


def completed(found: URL) -> URL:
    """With TLS that checks the server, where the URL and libpq's variables do not say otherwise. Looks at this machine's files."""
    mode = _text(found, "sslmode") or os.environ.get("PGSSLMODE", "")
    authorities = _text(found, "sslrootcert") or os.environ.get("PGSSLROOTCERT", "")
    added = {}
    # By itself libpq encrypts where it can, and checks nobody: whoever stands between gets the password.
    if not mode and (authorities == _SYSTEM or not all(map(_is_local, _hosts(found)))):
        added["sslmode"] = mode = _FULL
    if mode == _FULL and authorities in {"", _SYSTEM}:
        added["sslrootcert"] = _trusted()
    return found.update_query_dict(added)


def user_of(url: Sensitive, variable: str = VARIABLE) -> str:
    """Whom it logs in as; '' where it does not say. Raises `DatabaseRefused`."""
    found = parsed(url, variable)
    return _text(found, "user") or found.username or ""


def name_of(found: URL) -> str:
    """What the database is called: SQLite's file, or PostgreSQL's name for it, which is the user's where none is given."""
    return _text(found, "dbname") or found.database or _text(found, "user") or found.username or ""


def difference(one: URL, other: URL) -> str:
    """Which part shows that the two mean different databases; '' where none does. A host that only one of them gives shows nothing."""
    if one.get_backend_name() != other.get_backend_name():
        return "scheme"
    if one.host and other.host:
        if one.host.lower() != other.host.lower():
            return "host"
        if (one.port or _PORT) != (other.port or _PORT):
            return "port"
    return "" if name_of(one) == name_of(other) else "name of the database"


def _wrong_file(found: URL) -> str:
    path = found.database or ""
    if not found.host and path in {"", ":memory:"}:
        return f"names no file: a database that is kept in memory is lost; write {_FILE}"
    if found.host or not path.startswith("/"):
        return f"names no absolute path; write {_FILE}, with four slashes"
    return "has options, and a file takes none; leave out what follows the '?'" if found.query else ""


def _wrong_server(found: URL) -> str:
    host = found.host or ""
    if "@" in host or " " in host or not host.isprintable():
        return "names no host; percent-encode the password: @ is %40, / is %2F, ? is %3F, # is %23, % is %25"
    if found.port is not None and not 0 < found.port <= _LAST_PORT:
        return f"names no port; it is a number from 1 to {_LAST_PORT}"
    for name in found.query:
        if name not in OPTIONS:
            meant = "".join(f" (is {near} meant?)" for near in get_close_matches(name, OPTIONS, n=1))
            return f"has an option after the '?' that is not known{meant}; leave it out, and write a '?' of the password as %3F"
    if any(not isinstance(text, str) for name, text in found.query.items() if name not in {"host", "port"}):
        return "gives an option twice; leave one of them"
    return _wrong_mode(_text(found, "sslmode"), _text(found, "sslrootcert"))


def _wrong_mode(mode: str, authorities: str) -> str:
    if mode and mode not in _MODES:
        return f"sslmode is none of {', '.join(_MODES)}"
    if authorities == _SYSTEM and mode not in {"", _FULL}:
        return f"sslrootcert={_SYSTEM} needs sslmode={_FULL}: the system's authorities vouch for everybody, so the name has to be checked"
    return ""


def _text(found: URL, option: str) -> str:
    text = found.query.get(option, "")
    return text if isinstance(text, str) else ",".join(text)


def _hosts(found: URL) -> list[str]:
    """Where the connection leads: an address overrides a name."""
    named = [_text(found, "hostaddr")] if "hostaddr" in found.query else [found.host or "", _text(found, "host")]
    given = [each for each in named if each] or [os.environ.get("PGHOSTADDR") or os.environ.get("PGHOST", "")]
    return ",".join(given).split(",")


def _is_local(host: str) -> bool:
    """Whether nothing leaves this machine on the way there; without a host it is a socket."""
    if not host or host == "localhost" or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _trusted() -> str:
    named = os.environ.get("SSL_CERT_FILE", "")
    return next((path for path in (named, *_TRUSTED) if path and Path(path).is_file()), _SYSTEM)
