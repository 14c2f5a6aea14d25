"""The default provider put together: from the environment of a process to a provider that is open, for the operator and for programs.

What is secret in the environment is read once and is not there any more after that. Needs no Kubernetes.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from keyturn.decide.address import AddressRules
from keyturn.decide.default_clouds import google_places
from keyturn.decide.defaults import DATABASE_URL, default_provider, near_misses, secret_variables
from keyturn.decide.reach import Reach
from keyturn.model.database import DatabaseConfig
from keyturn.model.default import DefaultProvider
from keyturn.model.errors import KeyturnError, MissingExtra
from keyturn.model.ids import Kind
from keyturn.model.keys import NO_KEYS
from keyturn.model.order import Access
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Provider
from keyturn.providers.guard import Observer
from keyturn.providers.own_credentials import OwnCredentials
from keyturn.providers.registry import Surroundings, build
from keyturn.store.custody import are_given, shut, take_master_keys

if TYPE_CHECKING:
    from pathlib import Path

    from keyturn.model.keys import MasterKeys
    from keyturn.store.audit import AuditTrail
    from keyturn.store.audit_keys import KeptKeys
    from keyturn.store.checkpoints import CheckpointBook
    from keyturn.store.databases import Keeper, SqlDatabases
    from keyturn.store.replicas import Presence

OPEN_RETRY_S: Final = 10.0
LEAVE_S: Final = 2.0

_PROGRAM: Final = Reach(is_own=True)
_ANYWHERE: Final = AddressRules(allow_plain_http=True)
"""What a program may dial: what its own variables named, which were looked at when they were taken."""

log = logging.getLogger("keyturn.database")
_settings_log: Final = logging.getLogger("keyturn.default")


class LateDatabases:
    """The port `Databases`. Its code is imported when the first database is asked for: most processes have none."""

    def __init__(self, own: "SqlDatabases | None" = None) -> None:
        self._made = own

    @property
    def has_own(self) -> bool:
        return self._made is not None and self._made.has_own

    def keep_keys(self, keeper: "Keeper") -> None:
        """Says where the master keys of the operator's own are, if this process was given none."""
        if self._made is not None:
            self._made.keeper = keeper

    def keep_audit_keys(self, keeper: "KeptKeys") -> None:
        """Says where the key is that signs the audit trail in the operator's own, if this process was given none."""
        if self._made is not None:
            self._made.audit_keeper = keeper

    @property
    def missing_file(self) -> "Path | None":
        """The file of the operator's own where it is in one that is not there: whoever opens it makes it."""
        return self._made.missing_file if self._made is not None else None

    async def own(self) -> Provider:
        return await self._all().own()

    async def trail(self) -> "AuditTrail":
        """The audit trail in the operator's own. Raises a `KeyturnError`."""
        return await self._all().trail()

    async def masters(self) -> "MasterKeys":
        """The master keys of the operator's own, also while it is away. Raises a `KeyturnError`."""
        return await self._all().masters()

    async def checkpoints(self, keys: "KeptKeys") -> "CheckpointBook":
        """Those of the audit trail in the operator's own; the key is among ``keys`` where none was given. Raises a `KeyturnError`."""
        return await self._all().checkpoints(keys)

    async def open(self, key: Sensitive, connect: Callable[[], Awaitable[Any]], tenant: str) -> Provider:
        return await self._all().open(key, connect, tenant)

    async def keep(self, name: str) -> None:
        """Has the operator's own open, and says there that this replica uses it, until cancelled; what fails is tried again.

        A wrong key is found here, at the start, and not by the first who wants a value.
        """
        presence = await self._entered(name)
        log.info("the database is open")
        try:
            await presence.keep(asyncio.Event())
        finally:
            try:
                await asyncio.wait_for(presence.leave(), LEAVE_S)
            except (KeyturnError, TimeoutError) as error:
                log.info("the database was not told that this replica ends: %s", error)

    async def _entered(self, name: str) -> "Presence":
        from keyturn.store.replicas import Presence

        told = ""
        while True:
            try:
                presence = Presence(await self._all().begin(), name)
                await presence.enter()
            except KeyturnError as error:
                if told != (told := str(error)):
                    log.error("the database cannot be used: %s", error)
                await asyncio.sleep(OPEN_RETRY_S)
            else:
                return presence

    async def close(self) -> None:
        """Ends the operator's own; may be called twice."""
        if self._made is not None:
            await self._made.close()

    def _all(self) -> "SqlDatabases":
        if self._made is None:
            from keyturn.store.databases import SqlDatabases

            self._made = SqlDatabases()
        return self._made


@dataclass(frozen=True, slots=True)
class Given:
    """What a process was given by its environment."""

    default: DefaultProvider = field(default_factory=DefaultProvider)
    databases: LateDatabases = field(default_factory=LateDatabases)


def take(environment: MutableMapping[str, str], reach: Reach = _PROGRAM, addresses: AddressRules = _ANYWHERE) -> Given:
    """Reads it, by the rules of an operator or of a program. Raises `Rejected`, `MissingExtra`, and as the master keys are refused."""
    shut()  # before anything is taken: the kernel shows a process's first environment for as long as it lives
    for name, likely in near_misses(environment).items():
        _settings_log.warning("%s is no variable of Keyturn and is not looked at; %s is one: rename it if that is meant", name, likely)
    default = default_provider(environment, reach, addresses)
    # A program's DATABASE_URL can mean any database, unless it says that its secrets are there.
    is_meant = isinstance(default.config, DatabaseConfig) or not reach.is_own
    databases = LateDatabases(
        _own_database(environment, lasts=not reach.is_own) if is_meant and environment.get(DATABASE_URL, "").strip() else None
    )
    for name in secret_variables(default.word, reach):
        environment.pop(name, None)
    return Given(default, databases)


def _own_database(environment: MutableMapping[str, str], *, lasts: bool) -> "SqlDatabases":
    try:
        from keyturn.store.audit_keys import take_audit_keys
        from keyturn.store.databases import SqlDatabases
    except ModuleNotFoundError as missing:
        raise MissingExtra("database", DATABASE_URL) from missing
    url = Sensitive(environment[DATABASE_URL].strip().encode("utf-8", "surrogateescape"))
    masters = take_master_keys(environment) if are_given(environment) else NO_KEYS
    return SqlDatabases.of(url, masters, take_audit_keys(environment), lasts=lasts)


def open_default(
    default: DefaultProvider, around: Surroundings, *, access: Access = Access.READ_ONLY, observe: Observer | None = None
) -> Provider:
    """Opens it without I/O, in an operator's surroundings or a program's. Raises `Rejected` or `MissingExtra`."""
    reach = replace(around.reach, file_roots=(default.folder,) if default.folder else ())
    own = replace(around, reach=reach, references=OwnCredentials(default.credentials))
    try:
        return build(default.order(access), kind=Kind.CLUSTER_SECRET_PROVIDER, around=own, observe=observe)
    except MissingExtra as missing:
        extra = missing.extra
    raise MissingExtra(extra, f"SECRETS_PROVIDER={default.word}")


@asynccontextmanager
async def opened(given: Given, access: Access = Access.READ_ONLY) -> AsyncIterator[Provider]:
    """The default provider of a program, for as long as it is entered. Raises as `open_default`."""
    around = Surroundings(_PROGRAM, _ANYWHERE, OwnCredentials({}), databases=given.databases, google=google_places(os.environ))
    provider = open_default(given.default, around, access=access)
    try:
        yield provider
    finally:
        await provider.close()
        await given.databases.close()
