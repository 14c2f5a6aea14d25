"""Secrets from the key-value engines, version 1 and 2, of HashiCorp Vault and OpenBao.

A key's value is the JSON object that is stored there. Raw HTTP: every Vault speaks it, and no library's errors need
to be kept from quoting. Reads only.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from keyturn.model.errors import AuthFailed, Invalid, ProviderError, Throttled, Unavailable
from keyturn.model.material import Cap, Meta, SourceRef, Value
from keyturn.model.vault import VaultConfig
from keyturn.ports import References
from keyturn.providers.dial import Answer, Dialer, TooLong
from keyturn.providers.vault_kv import Engine, Keys, folder_of, keys_of, metas, now_utc, path_of, value_of
from keyturn.providers.vault_login import Writer
from keyturn.providers.vault_session import Session

AT_ONCE: Final = 16
VALUE_LIMIT: Final = 2 << 20
LIST_LIMIT: Final = 16 << 20
_MUCH: Final = 64 << 10
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
            return Invalid(f"{ref} is too large: Vault's answer has more than {VALUE_LIMIT >> 20} MiB")
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
        answer = await self._ask_list(engine.detail_path(folder), engine)
        if answer.status in {401, 403}:
            return None  # it takes a right of its own; the names may be open to us all the same
        if answer.status in {400, 404, 405, 501}:
            self._has_details = False
            return None
        keys = await self._read_list(answer, engine)
        self._has_details = True
        return keys

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
        # Ten thousand keys with their details take longer to read than others may be kept waiting.
        return await asyncio.to_thread(keys_of, answer, engine) if len(answer.body) > _MUCH else keys_of(answer, engine)
