"""The way to a PostgreSQL server whose address a tenant wrote into a URL: as `dial` is to servers that speak HTTP.

Each address that the name stands for is checked, and the connection goes to a checked one, while the name is what the certificate
has to be for. Nothing of the operator's own (its environment, its certificates, its tickets) goes along. Whatever fails, fails
in the same words and at the same moment, but for a server that refuses the log-in. Never logs the URL.
"""

import asyncio
import logging
import os
import random
import socket
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import psycopg

from keyturn.decide.address import AddressRules, may_dial
from keyturn.model.errors import AuthFailed, ProviderError, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.providers.dial import CONNECT_S, NO_ANSWER, fail_in_time
from keyturn.providers.names import FOR_TENANTS
from keyturn.providers.room import Room
from keyturn.providers.sql_relay import LOOPBACK, Relay

log = logging.getLogger("keyturn.dial")

FIELD: Final = "spec.provider.database.urlSecretRef"
_FORM: Final = "postgresql://USER:PASSWORD@HOST:PORT/DBNAME?sslmode=verify-full"
_PLAIN: Final = {"disable", "allow", "prefer"}
_SAFE: Final = {"require", "verify-full"}

_TRUSTED: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")

# What libpq would take from the environment or the home folder of the operator, who is somebody else there.
_NOTHING_OF_OURS: Final = {
    "passfile": os.devnull,
    "options": "",
    "sslmode": "disable",  # the relay speaks it
    "channel_binding": "disable",
    "gssencmode": "disable",
    "target_session_attrs": "any",
    "application_name": "keyturn",
}
_ALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 10_000}
_REFUSALS: Final = ("password authentication failed", "no pg_hba.conf entry", 'role "', 'database "', "no password supplied")


@dataclass(frozen=True, slots=True)
class Server:
    """Where a database is, and who logs in."""

    host: str
    port: int
    user: str
    password: Sensitive = field(repr=False)
    name: str
    mode: str


def server_at(url: Sensitive, *, allow_plain: bool) -> Server:
    """What the URL says. Raises `AuthFailed`, without a word of it."""
    try:
        parts = urlsplit(url.reveal().decode().strip())
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        server = Server(
            parts.hostname or "",
            parts.port or 5432,
            unquote(parts.username or ""),
            Sensitive.of(unquote(parts.password or "")),
            unquote(parts.path.removeprefix("/")),
            options.pop("sslmode", "verify-full"),
        )
    except ValueError:
        raise AuthFailed(f"{FIELD}: is no URL; write {_FORM}") from None
    _check(parts, server, options, allow_plain=allow_plain)
    return server


def _check(parts: SplitResult, server: Server, options: dict[str, str], *, allow_plain: bool) -> None:
    if parts.scheme not in {"postgresql", "postgres"} or parts.fragment:
        raise AuthFailed(f"{FIELD}: is for PostgreSQL alone; write {_FORM}")
    if not (server.host and server.user and server.name) or "/" in server.name or any(sign in server.host for sign in ",/%"):
        raise AuthFailed(f"{FIELD}: names one host, a user and a database; write {_FORM}")
    if any("\0" in text for text in (server.host, server.user, server.name)) or b"\0" in server.password.reveal():
        raise AuthFailed(f"{FIELD}: holds a sign that no log-in has; write {_FORM}")
    if options:
        raise AuthFailed(f"{FIELD}: takes no option but sslmode; write {_FORM}")
    if server.mode in _PLAIN and not allow_plain:
        raise AuthFailed(f"{FIELD}: sslmode would let the log-in go in clear; use verify-full or require")
    if server.mode not in _PLAIN | _SAFE:
        raise AuthFailed(f"{FIELD}: sslmode is none that is known here; use verify-full or require")


async def connect(server: Server, rules: AddressRules, tenant: str, room: Room) -> Any:
    """A connection to a checked address. Raises `AuthFailed` where the server refuses the log-in, else `Unavailable`."""
    begun = asyncio.get_running_loop().time()
    failure: ProviderError = Unavailable(NO_ANSWER)
    try:
        async with asyncio.timeout(CONNECT_S):
            address = await _address(server.host, rules, tenant)
        return await _connect(server, address, room, tenant)
    except psycopg.Error as error:
        if any(words in str(error) for words in _REFUSALS):
            failure = AuthFailed("the database refuses the user, its password, or its name of the database")
        _tell(server, type(error).__name__)
    except (OSError, ValueError) as error:  # time-outs too; ValueError: what no name can hold
        _tell(server, str(error) if isinstance(error, _Refused) else type(error).__name__)
    if not isinstance(failure, AuthFailed):
        await fail_in_time(begun)
    raise failure  # here, where no library's text hangs on it


class _Refused(OSError):
    """An address that we do not take. Its text is ours."""


async def _address(host: str, rules: AddressRules, tenant: str) -> str:
    """One that may be dialled; of several, another one each time."""
    found: list[str] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            found += await FOR_TENANTS.ask(tenant, host, family)
        except socket.gaierror:
            continue  # of that family it has none
    # One that is refused spoils the name, as everywhere.
    if not found or not all(may_dial(address, rules) for address in found):
        raise _Refused("its name stands for no address, or for one that is not allowed; see --allow-addresses")
    return random.choice(found)  # noqa: S311  # no secret


class _Relayed(psycopg.AsyncConnection[Any]):
    """A connection that ends its relay."""

    relay: Relay | None = None

    async def close(self) -> None:
        await super().close()
        if self.relay is not None:
            await self.relay.end()


async def _connect(server: Server, address: str, room: Room, tenant: str) -> Any:
    tls = await asyncio.to_thread(_tls, server.mode)
    relay = Relay(address, server.port, CONNECT_S, tls, server.host, server.mode in _PLAIN, room, tenant)
    options: dict[str, Any] = {"prepare_threshold": None, **_NOTHING_OF_OURS, **_ALIVE}
    try:
        made = await _Relayed.connect(
            host=server.host,
            hostaddr=LOOPBACK,
            port=await relay.listen(),
            user=server.user,
            password=server.password.reveal().decode(),
            dbname=server.name,
            connect_timeout=max(2, int(CONNECT_S)),
            **options,
        )
    except BaseException as error:
        await relay.end()
        if relay.why and isinstance(error, psycopg.Error):
            raise _Refused(relay.why) from None
        raise
    made.relay = relay
    return made


def _tls(mode: str) -> ssl.SSLContext | None:
    """How a server is believed; None where the URL wants none. It reads a file, and takes some milliseconds."""
    if mode == "disable":
        return None
    if mode != "verify-full":
        return _believing("", 0)
    path = _trusted()
    return _believing(path, Path(path).stat().st_mtime_ns) if path else ssl.create_default_context()


@lru_cache(maxsize=4)
def _believing(trusted: str, _changed_at: int) -> ssl.SSLContext:
    """Whoever these authorities know by the name that is asked for; without any, whoever answers. Near a megabyte each."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusted:
        tls.load_verify_locations(trusted)
    else:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


def _trusted() -> str:
    """Whom programs of this machine trust; Python's own build may look elsewhere, if at all."""
    named = os.environ.get("SSL_CERT_FILE", "")
    return next((path for path in (named, *_TRUSTED) if path and Path(path).is_file()), "")


def _tell(server: Server, why: str) -> None:
    log.info("no answer", extra={"server": f"postgresql://{server.host}:{server.port}", "why": why})
