"""Secrets from the key-value engines, version 1 and 2, of HashiCorp Vault and OpenBao.

A key's value is the JSON object that is stored there. Raw HTTP: every Vault speaks it, and no library's errors need
to be kept from quoting. Reads only.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from keyturn.model.errors import AuthFailed, Invalid, ProviderError, Throttled, Unavailable
from keyturn.model.material import Cap, Meta, SourceRef, Survey, Value
from keyturn.model.vault import VaultConfig
from keyturn.ports import References
from keyturn.providers.dial import Answer, Dialer, TooLong
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
from keyturn.providers.vault_session import Session
from keyturn.providers.vault_wire import unwrap

_T = TypeVar("_T")

AT_ONCE: Final = 8
"""In one call. With the guard's four calls that is all that the dialer's pool holds, so that nothing waits there."""

VALUE_LIMIT: Final = 3 << 19
"""A Secret holds 1 MiB, and so does a key by the servers' own default; JSON may spell it half as long again."""

LIST_LIMIT: Final = 16 << 20
_MUCH: Final = 64 << 10
_UNKNOWN: Final = {400, 404, 405, 501}
"""How servers answer that have no list with details."""
MOST_KEYS: Final = 50_000
MOST_FOLDERS: Final = 1_000

# Whoever meets one of these meets it for every other key too.
_DOWN: Final = (Unavailable, Throttled, AuthFailed)


class VaultProvider:
    """One engine, or all of a server's where the configuration names none, as one identity."""

    def __init__(
        self,
        config: VaultConfig,
        references: References,
        dialer: Dialer,
        token_file: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._session = Session(config, dialer, Writer(references, token_file), clock=clock, chance=chance)
        self._has_details: bool | None = None if config.engine == 2 else False

    @property
    def caps(self) -> Cap:
        caps = Cap.GET | Cap.GET_MANY | Cap.LIST
        if self._config.engine == 2:
            caps |= Cap.VERSIONS
        # Until the server was asked it may be one that has them: asking is cheap, and done once.
        if self._has_details is not False:
            caps |= Cap.SURVEY
        return caps | Cap.LIST_HAS_VERSION if self._has_details else caps

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        answers: dict[SourceRef, Value | ProviderError] = {}
        waiting: deque[tuple[SourceRef, str]] = deque()
        for ref in dict.fromkeys(refs):
            try:
                waiting.append((ref, path_of(self._config, ref)))
            except ProviderError as error:
                answers[ref] = error.with_traceback(None)
        if not waiting:
            self._session.check_open()
            return answers
        first, path = waiting.popleft()
        # Alone: a server that is away, or that lets nobody in, is asked once and not once for each key.
        answers[first] = await self._get(first, path)
        if isinstance(wall := answers[first], _DOWN):
            raise wall
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(waiting))):
                group.create_task(self._work_off(waiting, answers), name="keyturn-vault-read")
        return answers

    async def _work_off(self, waiting: deque[tuple[SourceRef, str]], answers: dict[SourceRef, Value | ProviderError]) -> None:
        while waiting:
            ref, path = waiting.popleft()
            answers[ref] = wall = await self._get(ref, path)
            if isinstance(wall, _DOWN):
                answers.update((left, wall) for left, _ in waiting)
                waiting.clear()

    async def _get(self, ref: SourceRef, path: str) -> Value | ProviderError:
        try:
            return value_of(self._config, ref, await self._session.ask(path, limit=VALUE_LIMIT))
        except TooLong:
            return Invalid(f"{ref} is too large: Vault's answer has more than {VALUE_LIMIT >> 10} KiB")
        except ProviderError as error:
            return error.with_traceback(None)

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        self._session.check_open()
        engine, inner = self._place(prefix)
        before = prefix.removesuffix(inner) if inner else prefix
        folder = folder_of(inner)
        found = await self._details(engine, folder)
        now = now_utc()
        if found is not None:
            for meta in metas(folder, before, found, now):
                if meta.key.startswith(prefix):
                    yield meta
            return
        async for each, keys in self._walk(engine, folder, inner):
            for meta in metas(each, before, keys, now):
                if meta.key.startswith(prefix):
                    yield meta

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
            answer = await self._ask_details(engine, folder)
            self._check_details()
            told, count = await _worked(answer, partial(fingerprints, answer, engine, names, now_utc()))
            found |= told
            size += count
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

    async def _details(self, engine: Engine, folder: str) -> Keys | None:
        """All keys beneath a folder by one call, where the server is an OpenBao that lets us; else None."""
        if self._has_details is False:
            return None
        answer = await self._ask_details(engine, folder)
        # It takes a right of its own; the names may be open to us all the same.
        is_refused = answer.status in {401, 403} | _UNKNOWN
        return None if is_refused else await self._read_list(answer, engine)

    def _check_details(self) -> None:
        if self._has_details is False:
            raise Invalid("this engine does not list keys with their versions")

    async def _ask_details(self, engine: Engine, folder: str) -> Answer:
        """The answer to a request for details, after noting what it says of whether the server has them."""
        answer = await self._ask_list(engine.detail_path(folder), engine)
        # Where there is no engine, there may be one later.
        if answer.status in _UNKNOWN and not (answer.status == 404 and unwrap(answer).errors):
            self._has_details = False
        elif answer.status == 200:
            self._has_details = True
        return answer

    async def _walk(self, engine: Engine, folder: str, prefix: str) -> AsyncIterator[tuple[str, Keys]]:
        """The names in each folder beneath one, where they can begin with ``prefix``: a call for each."""
        folders, asked, found = deque([folder]), 0, 0
        while folders:
            here = folders.popleft()
            keys = await self._read_list(await self._ask_list(engine.list_path(here), engine), engine)
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

    async def _ask_list(self, path: str, engine: Engine) -> Answer:
        try:
            return await self._session.ask(path, limit=LIST_LIMIT)
        except TooLong:
            problem = f"the list of keys at {engine} is too large: more than {LIST_LIMIT >> 20} MiB; ask for a longer prefix"
        raise Invalid(problem)

    async def _read_list(self, answer: Answer, engine: Engine) -> Keys | None:
        return await _worked(answer, partial(keys_of, answer, engine))


async def _worked(answer: Answer, work: Callable[[], _T]) -> _T:
    """What comes of work on an answer. Ten thousand keys with their details take longer than others may be kept waiting."""
    return await asyncio.to_thread(work) if len(answer.body) > _MUCH else work()
