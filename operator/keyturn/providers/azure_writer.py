"""Writes to Azure Key Vault. It has no check-and-set, no stages, and no names that are free again after a deletion.

So each version of ours has a tag that says which put made it, by which one that comes again is known; what waits is a secret of its
own; and a name whose secret was deleted is recovered before it is written to. Each write begins with a look at the versions.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from azure.keyvault.secrets import DeletedSecret
from azure.keyvault.secrets.aio import SecretClient

from keyturn.model.errors import AccessDenied, Conflict, Disabled, Invalid, NotFound
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Cap, SourceRef, Version
from keyturn.model.sensitive import Sensitive
from keyturn.providers.azure import AzureProvider, Entries
from keyturn.providers.azure_names import (
    TAG,
    Entry,
    Stamp,
    check_key,
    check_ref,
    has_waiting,
    is_version,
    others,
    stamp_of,
    waiting,
    waiting_version,
)
from keyturn.providers.azure_wire import Recoverable, Unsettled
from keyturn.providers.put_mark import Mark, check_stage, mark

MOST_BYTES: Final = 25 << 10
MOST_TAGS: Final = 14
"""A version has 15, and one is ours."""
LONGEST_TAG: Final = 256
POLL_S: Final = 0.25
"""Between two looks whether a deletion or a recovery is through, which takes seconds."""
_PATIENCE_S: Final = 20.0
_TURNS: Final = int(_PATIENCE_S / POLL_S)


class AzureWriter(AzureProvider):
    """An `AzureProvider` that is a `Writer` too."""

    @property
    def caps(self) -> Cap:
        return super().caps | Cap.PUT | Cap.DELETE | Cap.UNDELETE

    async def put(
        self, key: str, data: Sensitive, *, token: str, expect: str | None = None, stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        self._session.check_open()
        check_key(key)
        check_stage(stage)
        if expect is not None:
            raise Invalid(f"{key}: Key Vault has no check-and-set; leave out which version is expected")
        text, ours = _text(key, data), mark(token, data)
        _check_tags(key, tags)
        name = waiting(key) if stage == PENDING else key
        version = await self._put(name, text, ours, tags)
        return f"p{version}" if stage == PENDING else version

    async def promote(self, key: str, version: str) -> None:
        self._session.check_open()
        check_ref(SourceRef(key, version))
        versions = await self._ordered(key)
        if not versions or versions[0].name != version:
            text = await self._source(key, version, versions)
            newest = versions[0] if versions else None
            await self._set(key, text, Stamp(_next(versions), stands_for=version), newest.tags if newest else {}, newest)
        if number := waiting_version(version):
            await self._drop(key, number)

    async def versions(self, key: str) -> Sequence[Version]:
        self._session.check_open()
        check_key(key)
        found, ahead = await self._ordered(key), await self._ahead(key)
        told = [Version(f"p{each.version}", frozenset({PENDING} if at == 0 else ()), each.created) for at, each in enumerate(ahead)]
        for at, each in enumerate(found):
            stages = frozenset({(CURRENT, PREVIOUS)[at]}) if at < 2 and each.is_enabled else frozenset[str]()
            told.append(Version(each.name, stages, each.created, each.is_enabled))
        if not told:
            raise NotFound(f"Key Vault does not have the key {key}")
        # A copy goes by the name of what it was made of, and stands for it.
        return [each for at, each in enumerate(told) if each.name not in {newer.name for newer in told[:at]}]

    async def delete(self, key: str, *, purge: bool = False) -> None:
        self._session.check_open()
        check_key(key)
        await self._delete(key, purge=purge)
        if has_waiting(key):
            # Whoever may not write there has put nothing there.
            with suppress(AccessDenied):
                await self._delete(waiting(key), purge=purge)

    async def undelete(self, key: str) -> None:
        self._session.check_open()
        check_key(key)
        if has_waiting(key):
            with suppress(NotFound, AccessDenied):
                await self._recover(waiting(key))
        try:
            await self._recover(key)
        except NotFound:
            if not await self._versions(key):
                raise

    # -- versions ---------------------------------------------------------------------------------------------------------------

    async def _put(self, name: str, text: str, ours: Mark, tags: Mapping[str, str] | None) -> str:
        """The version that this put made, now or before."""
        revived = ""
        for _ in range(_TURNS):
            versions = await self._versions(name)
            # The first that has it: others may have taken the tag along.
            if before := next((each for each in versions[::-1] if each.stamp.put == ours.name), None):
                ours.check(before.stamp.seal, name)
                if revived:
                    await self._bury(name, revived)
                return before.version
            newest = versions[0] if versions else None
            kept = (newest.tags if newest else {}) if tags is None else tags
            try:
                return await self._set(name, text, Stamp(_next(versions), ours.name, ours.seal), kept, newest)
            except Recoverable:
                last = await self._last(name)
                if last and last.stamp.put == ours.name:
                    ours.check(last.stamp.seal, name)
                    return last.version
                with suppress(NotFound):
                    revived = last.version if await self._recover(name) and last else ""
            except Unsettled:
                await asyncio.sleep(POLL_S)
        raise Conflict(f"{name} is being deleted or recovered in Key Vault; try again")

    async def _last(self, name: str) -> Entry | None:
        """The newest version of a deleted secret; None where it is not one any more."""
        try:
            properties = (await self._deleted(name)).properties
        except NotFound:
            return None
        return Entry(str(properties.version), properties.created_on, bool(properties.enabled), stamp_of(properties.tags))

    async def _bury(self, name: str, revived: str) -> None:
        """A put that came late brings nothing back: deletes the secret again while its newest version is the one that it came back with.

        What another has put there since stays. He who does so between this look and the deletion still loses it: a vault has no
        deletion that depends on anything.
        """
        now = await self._ordered(name)
        if now and now[0].version == revived:
            await self._delete(name, purge=False)

    async def _set(self, name: str, text: str, stamp: Stamp, tags: Mapping[str, str], like: Entry | None) -> str:
        given, kind = {**others(tags), TAG: str(stamp)}, like.content_type if like else None
        if len(given) > MOST_TAGS + 1:
            raise Invalid(f"{name} has {len(given) - 1} tags, and there is no room for Keyturn's; remove one")

        async def call(client: SecretClient) -> str:
            made = await client.set_secret(name, text, tags=given, content_type=kind)
            return str(made.properties.version)

        return await self._session.ask(call, f"a write to the key {name}")

    async def _source(self, key: str, version: str, versions: Sequence[Entry]) -> str:
        """The text that a promotion copies."""
        if number := waiting_version(version):
            with suppress(Disabled, NotFound):
                found, _ = await self._bundle(f"{key}@{version}", waiting(key), number)
                return found.value or ""
        # The first that has the name: what it was promoted to before.
        named = next((each.version for each in versions[::-1] if each.name == version), version)
        if not is_version(named):
            raise NotFound(f"Key Vault does not have the key {key}@{version}")
        found, _ = await self._bundle(f"{key}@{version}", key, named)
        return found.value or ""

    async def _ahead(self, key: str) -> Entries:
        """What waits for a promotion, the newest first."""
        if not has_waiting(key):
            return []
        with suppress(AccessDenied):
            return [each for each in await self._ordered(waiting(key)) if each.is_enabled]
        return []

    async def _drop(self, key: str, number: str) -> None:
        """Ends what waited, once it is a version of its key. A vault deletes no single version, so it is switched off."""
        with suppress(NotFound):
            name = waiting(key)
            await self._session.ask(
                lambda client: client.update_secret_properties(name, number, enabled=False), f"a write to the key {name}"
            )

    # -- deletions --------------------------------------------------------------------------------------------------------------

    async def _delete(self, name: str, *, purge: bool) -> None:
        with suppress(NotFound, Unsettled):
            await self._session.ask(lambda client: client.delete_secret(name, _polling_interval=POLL_S), f"to delete the key {name}")
        if not purge:
            return
        for _ in range(_TURNS):
            try:
                await self._deleted(name)
                await self._session.ask(lambda client: client.purge_deleted_secret(name), f"to purge the key {name}")
            except NotFound:
                return
            except Unsettled:
                pass
            await asyncio.sleep(POLL_S)
        raise Conflict(f"{name} is being purged in Key Vault; look again")

    async def _deleted(self, name: str) -> DeletedSecret:
        return await self._session.ask(lambda client: client.get_deleted_secret(name), f"the deleted key {name}")

    async def _recover(self, name: str) -> bool:
        """Whether it was recovered by this; else another is about it."""
        with suppress(Unsettled):
            await self._session.ask(
                lambda client: client.recover_deleted_secret(name, _polling_interval=POLL_S), f"to recover the key {name}"
            )
            return True
        return False


def _next(versions: Sequence[Entry]) -> int:
    return 1 + max((each.stamp.number for each in versions), default=0)


def _text(key: str, data: Sensitive) -> str:
    """Raises `Invalid` for what a vault does not take."""
    if len(data) > MOST_BYTES:
        raise Invalid(f"{key} is too large: Key Vault takes {MOST_BYTES >> 10} KiB")
    try:
        return data.reveal().decode()
    except UnicodeDecodeError:
        problem = f"{key}: Key Vault holds text; encode the value as base64, and read it with decodingStrategy"
    raise Invalid(problem)


def _check_tags(key: str, tags: Mapping[str, str] | None) -> None:
    if tags is None:
        return
    if len(tags) > MOST_TAGS:
        raise Invalid(f"{key} has too many tags: Key Vault takes 15, of which one is Keyturn's")
    if TAG in tags or any(not 0 < len(name) <= LONGEST_TAG or len(text) > LONGEST_TAG for name, text in tags.items()):
        raise Invalid(f"{key}: a tag has a name of 1 to {LONGEST_TAG} characters, not {TAG}, and a value of at most {LONGEST_TAG}")
