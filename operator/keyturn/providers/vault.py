"""Secrets from the key-value engines, version 1 and 2, of HashiCorp Vault and OpenBao.

A key's value is the JSON object that is stored there. Raw HTTP: every Vault speaks it, and no library's errors need
to be kept from quoting. Reads only: who writes is ``vault_writer``.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from keyturn.model.errors import Invalid, ProviderError
from keyturn.model.material import Cap, Meta, SourceRef, Survey, Value
from keyturn.model.vault import VaultConfig
from keyturn.ports import References, TenantTokens
from keyturn.providers.dial import Answer, Dialer, TooLong
from keyturn.providers.each import read_each
from keyturn.providers.room import Hold, Room
from keyturn.providers.vault_kv import (
    Engine,
    Keys,
    common_folder,
    fingerprints,
    folder_of,
    keys_of,
    metas,
    now_utc,
    path_of,
    place,
    value_of,
)
from keyturn.providers.vault_login import Writer
from keyturn.providers.vault_names import is_staged
from keyturn.providers.vault_session import Session
from keyturn.providers.vault_stages import read_staged
from keyturn.providers.vault_wire import unwrap

_T = TypeVar("_T")

VALUE_LIMIT: Final = 3 << 19
"""A Secret holds 1 MiB, and so does a key by the servers' own default; JSON may spell it half as long again."""

LIST_LIMIT: Final = 16 << 20
_PART: Final = 200
_UNKNOWN: Final = {400, 404, 405, 501}
"""How servers answer that have no list with details."""
MOST_KEYS: Final = 50_000
MOST_FOLDERS: Final = 1_000


class VaultProvider:
    """One engine, or all of a server's where the configuration names none, as one identity."""

    def __init__(
        self,
        config: VaultConfig,
        references: References,
        dialer: Dialer,
        token_file: Path,
        room: Room | None = None,
        tenant: str = "",
        *,
        tokens: TenantTokens | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._session = Session(config, dialer, Writer(references, token_file, tokens), clock=clock, chance=chance)
        self._room = room or Room()
        # An admin's server stands for itself.
        self._tenant = tenant or config.server
        self._has_details: bool | None = None if config.engine == 2 else False

    @property
    def caps(self) -> Cap:
        caps = Cap.GET | Cap.GET_MANY | Cap.LIST
        if self._config.engine == 2:
            caps |= Cap.VERSIONS | Cap.STAGE
        # Until the server was asked it may be one that has them: asking is cheap, and done once.
        if self._has_details is not False:
            caps |= Cap.SURVEY
        return caps | Cap.LIST_HAS_VERSION if self._has_details else caps

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        """Leaves out what there is no room for beside the other answers."""
        self._session.check_open()
        return await read_each(refs, partial(path_of, self._config), self._get, self._room, self._tenant)

    async def _get(self, ref: SourceRef, hold: Hold) -> Value:
        ask = partial(self._session.ask, limit=VALUE_LIMIT, room=hold)
        try:
            if is_staged(ref):
                return await read_staged(ask, self._config, ref)
            return value_of(self._config, ref, await ask(path_of(self._config, ref)))
        except TooLong:
            problem = f"{ref} is too large: Vault's answer has more than {VALUE_LIMIT >> 10} KiB"
        raise Invalid(problem)

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        self._session.check_open()
        engine, inner = self._place(prefix)
        before = prefix.removesuffix(inner) if inner else prefix
        folder = folder_of(inner)
        with self._room.hold(self._tenant) as hold:
            found = await self._details(engine, folder, hold)
            async for each, keys in self._walk(engine, folder, inner, hold) if found is None else _only(folder, found):
                for part in _parts(metas(each, before, keys, now_utc())):
                    for meta in part:
                        if meta.key.startswith(prefix):
                            yield meta
                    await asyncio.sleep(0)

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        """By OpenBao's details of the folder that holds all keys of an engine: a call for each engine."""
        self._session.check_open()
        self._check_details()
        engines: dict[Engine, dict[SourceRef, str]] = {}
        for ref in refs:
            engine, inner = place(self._config, ref.key)
            engines.setdefault(engine, {})[ref] = inner
        found: dict[SourceRef, str] = {}
        size = 0
        for engine, inners in engines.items():
            folder = common_folder(inners.values())
            names = {ref: inner[len(folder) :].removeprefix("/") for ref, inner in inners.items()}
            with self._room.hold(self._tenant) as hold:
                answer = await self._ask_details(engine, folder, hold)
                self._check_details()
                keys = keys_of(answer, engine) or Keys()
                for part in _parts(names.items()):
                    found |= fingerprints(keys, part, now_utc())
                    await asyncio.sleep(0)
            size += len(keys.keys)
        return Survey(found, size, len(engines))

    async def validate(self) -> None:
        await self._session.prove()

    async def close(self) -> None:
        await self._session.close()

    def _place(self, prefix: str) -> tuple[Engine, str]:
        if self._config.mount:
            return Engine(self._config.mount, self._config.engine, self._config.namespace), prefix
        mount, slash, inner = prefix.partition("/")
        if not slash:
            raise Invalid("a list over all engines of a Vault is not made; begin the prefix with engine/, or set the provider's path")
        return Engine(mount, self._config.engine, self._config.namespace), inner

    async def _details(self, engine: Engine, folder: str, hold: Hold) -> Keys | None:
        """All keys beneath a folder by one call, where the server is an OpenBao that lets us; else None."""
        if self._has_details is False:
            return None
        answer = await self._ask_details(engine, folder, hold)
        # It takes a right of its own; the names may be open to us all the same.
        is_refused = answer.status in {401, 403} | _UNKNOWN
        return None if is_refused else keys_of(answer, engine)

    def _check_details(self) -> None:
        if self._has_details is False:
            raise Invalid("this engine does not list keys with their versions")

    async def _ask_details(self, engine: Engine, folder: str, hold: Hold) -> Answer:
        """The answer to a request for details, after noting what it says of whether the server has them."""
        answer = await self._ask_list(engine.detail_path(folder), engine, hold)
        # Where there is no engine, there may be one later.
        if answer.status in _UNKNOWN and not (answer.status == 404 and unwrap(answer).errors):
            self._has_details = False
        elif answer.status == 200:
            self._has_details = True
        return answer

    async def _walk(self, engine: Engine, folder: str, prefix: str, hold: Hold) -> AsyncIterator[tuple[str, Keys]]:
        """The names in each folder beneath one, where they can begin with ``prefix``: a call for each."""
        folders, asked, found = deque([folder]), 0, 0
        while folders:
            here = folders.popleft()
            keys = keys_of(await self._ask_list(engine.list_path(here), engine, hold), engine)
            asked += 1
            found += len(keys.keys) if keys else 0
            if asked > MOST_FOLDERS or found > MOST_KEYS:
                raise Invalid(
                    f"more than {MOST_FOLDERS} folders or {MOST_KEYS} keys begin with {prefix!r} at {engine}; ask for a longer prefix"
                )
            if keys is None:
                continue
            inside = (f"{here}/{name[:-1]}" if here else name[:-1] for name in keys.keys if name.endswith("/"))
            folders.extend(each for each in inside if f"{each}/".startswith(prefix))
            yield here, keys

    async def _ask_list(self, path: str, engine: Engine, hold: Hold) -> Answer:
        try:
            return await self._session.ask(path, limit=LIST_LIMIT, room=hold)
        except TooLong:
            problem = f"the list of keys at {engine} is too large: more than {LIST_LIMIT >> 20} MiB; ask for a longer prefix"
        raise Invalid(problem)


async def _only(folder: str, keys: Keys) -> AsyncIterator[tuple[str, Keys]]:
    yield folder, keys


def _parts(items: Iterable[_T]) -> Iterator[list[_T]]:
    """So many at a time that others may do their work between: each part takes a millisecond or two."""
    rest = iter(items)
    while part := list(islice(rest, _PART)):
        yield part
