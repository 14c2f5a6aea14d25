"""Secrets of Azure Key Vault, by the SDK. Reads only: who writes is ``azure_writer``.

A value is text. The newest version is what everybody reads; a list tells when each secret was changed, by the second.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from typing import Final
from urllib.parse import quote

from azure.core.rest import HttpRequest
from azure.keyvault.secrets import KeyVaultSecret
from azure.keyvault.secrets.aio import SecretClient

from keyturn.model.errors import AccessDenied, Disabled, Invalid, NotFound, ProviderError
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Cap, Meta, SourceRef, Survey, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.azure_names import (
    WAITING,
    Entry,
    Row,
    check_ref,
    entries,
    fingerprint,
    is_certain,
    others,
    stamp_of,
    waiting,
    waiting_version,
    weight_of,
)
from keyturn.providers.azure_road import LIMIT
from keyturn.providers.azure_session import Session
from keyturn.providers.azure_wire import ShutOut, date_of, page_of
from keyturn.providers.dial import TooLong
from keyturn.providers.each import read_each
from keyturn.providers.room import Hold, Room

VALUE_LIMIT: Final = LIMIT
PAGE: Final = 25
"""More are not given at once."""
PAGE_LIMIT: Final = 2 << 20
_LEAST: Final = PAGE // 2
"""So many each page counts for, whatever is on it: else there need be no end of them."""
MOST: Final = 50_000
"""Secrets of a vault: more are listed by nobody."""
MOST_KEPT: Final = 16 << 20
"""Bytes, of what is told of the versions of one secret."""
_MUCH: Final = 64 << 10


# The method of that name stands before the type in the class.
Entries = list[Entry]
Rows = list[Row]
Times = list[datetime | None]


class AzureProvider:
    """One vault, as one identity. ``tenant`` is whose share of the room for answers it takes."""

    def __init__(self, session: Session, room: Room, tenant: str) -> None:
        self._session = session
        self._room = room
        self._tenant = tenant
        self._may_list = True

    @property
    def caps(self) -> Cap:
        caps = Cap.GET | Cap.GET_MANY | Cap.VERSIONS | Cap.STAGE
        return caps | Cap.LIST | Cap.LIST_HAS_VERSION | Cap.TAGS | Cap.SURVEY if self._may_list else caps

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        """Leaves out what there is no room for beside the other answers."""
        self._session.check_open()
        return await read_each(refs, check_ref, self._get, self._room, self._tenant)

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        self._session.check_open()
        async for page, told_at in self._pages():
            for each in page:
                if each.name.startswith(prefix) and not each.name.lower().endswith(WAITING):
                    yield Meta(each.name, fingerprint(each.updated, told_at), each.updated, others(each.tags), each.is_enabled)

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        """By a list of all secrets in the vault, 25 at a time. Of versions that are pinned it says nothing."""
        self._session.check_open()
        wanted = [ref for ref in refs if ref.version in {"", CURRENT}]
        keys, known = {ref.key for ref in wanted}, dict[str, str]()
        size = calls = 0
        async for page, told_at in self._pages():
            known |= {each.name: fingerprint(each.updated, told_at) for each in page if each.name in keys}
            size, calls = size + len(page), calls + 1
        return Survey({ref: known[ref.key] for ref in wanted if known.get(ref.key)}, size, calls)

    async def validate(self) -> None:
        """Lists one secret: whoever may not is logged in all the same, and a read will tell what it may."""
        try:
            async with aclosing(self._pages(size=1)) as pages:
                await anext(pages, None)
        except ShutOut:
            raise
        except AccessDenied:
            self._may_list = False
        else:
            self._may_list = True

    async def close(self) -> None:
        await self._session.close()

    # -- reads ------------------------------------------------------------------------------------------------------------------

    async def _get(self, ref: SourceRef, hold: Hold) -> Value:
        await hold.claim(VALUE_LIMIT)
        try:
            found = await self._read(ref)
        except TooLong:
            problem = f"{ref} is too large: Key Vault's answer has more than {VALUE_LIMIT >> 10} KiB"
        else:
            hold.give_back(VALUE_LIMIT - min(len(found.data), VALUE_LIMIT))
            return found
        raise Invalid(problem)

    async def _read(self, ref: SourceRef) -> Value:
        version = ref.version
        if version == PREVIOUS:
            return await self._previous(ref)
        if version == PENDING:
            return await self._pending(ref)
        if waiting_version(version):
            return await self._promoted(ref, waiting_version(version))
        return await self._value(ref, ref.key, "" if version == CURRENT else version)

    async def _value(self, ref: SourceRef, name: str, version: str = "") -> Value:
        """A version of a secret, '' the newest, as the value that ``ref`` asks for."""
        found, told_at = await self._bundle(str(ref), name, version)
        properties = found.properties
        named = stamp_of(properties.tags).stands_for or str(properties.version)
        if name != ref.key:
            named = f"p{properties.version}"
        told = fingerprint(properties.updated_on, told_at) if not version else ""
        return Value(_data(found, ref), named, properties.updated_on, told if name == ref.key else "")

    async def _bundle(self, what: str, name: str, version: str = "") -> tuple[KeyVaultSecret, datetime | None]:
        times: Times = []

        async def call(client: SecretClient) -> KeyVaultSecret:
            return await client.get_secret(
                name, version, raw_response_hook=lambda response: times.append(date_of(response.http_response.headers))
            )

        found = await self._session.ask(call, f"the key {what}", limit=VALUE_LIMIT)
        # A vault takes capitals for small letters. Two spellings of one secret would pass by whatever allows one of them.
        _check_spelling(str(found.name), name)
        return found, times[-1] if times else None

    async def _previous(self, ref: SourceRef) -> Value:
        versions = await self._ordered(ref.key)
        if len(versions) < 2:
            raise NotFound(f"Key Vault does not have the key {ref} in {self._session.vault}")
        found = await self._value(ref, ref.key, versions[1].version)
        return Value(found.data, versions[1].name, found.updated)

    async def _pending(self, ref: SourceRef) -> Value:
        with suppress(Disabled, NotFound):
            return await self._value(ref, waiting(ref.key))
        raise NotFound(f"Key Vault does not have the key {ref} in {self._session.vault}")

    async def _promoted(self, ref: SourceRef, version: str) -> Value:
        """What waits, or, once it was promoted, the copy that stands for it."""
        with suppress(Disabled, NotFound):
            return await self._value(ref, waiting(ref.key), version)
        for each in await self._versions(ref.key):
            if each.name == ref.version:
                return await self._value(ref, ref.key, each.version)
        raise NotFound(f"Key Vault does not have the key {ref} in {self._session.vault}")

    # -- lists ------------------------------------------------------------------------------------------------------------------

    async def _ordered(self, key: str) -> Entries:
        """The versions of a key, the current one first, the newest before the older ones."""
        found = await self._versions(key)
        if not is_certain(found):
            with suppress(Disabled, NotFound):
                bundle, _ = await self._bundle(key, key)
                found.sort(key=lambda each: each.version != bundle.properties.version)
        return found

    async def _versions(self, name: str) -> Entries:
        """The versions of a secret, the newest first; none where it is not there."""
        found: Rows = []
        weight = 0
        try:
            async for page, _ in self._pages(of=name):
                weight += sum(map(weight_of, page))
                if weight > MOST_KEPT:
                    raise Invalid(f"{name} has too many versions in Key Vault, or too many tags on them; back it up, and purge it")
                found += page
        except NotFound:
            return []
        for each in found:
            _check_spelling(each.name, name)
        return entries(found)

    async def _pages(self, *, of: str = "", size: int = PAGE) -> AsyncGenerator[tuple[Rows, datetime | None], None]:
        """The secrets of the vault, or the versions of one, page by page, and when each page was told."""
        what, path = (f"the versions of the key {of}", f"/secrets/{of}/versions") if of else ("a list of the vault's secrets", "/secrets")
        behind, seen = "", 0
        while True:
            # Not by the link in the page: a token goes to the vault, and nowhere else.
            url = f"{path}?maxresults={size}" + (f"&$skiptoken={quote(behind, safe='')}" if behind else "")
            body, headers = await self._session.ask(partial(_get_page, url), what, limit=PAGE_LIMIT)
            rows, behind = page_of(body) if len(body) <= _MUCH else await asyncio.to_thread(page_of, body)
            seen += max(_LEAST, len(rows))
            yield rows, date_of(headers)
            if not behind:
                return
            if seen >= MOST:
                raise Invalid(f"{what}: there are more than {MOST}")


async def _get_page(url: str, client: SecretClient) -> tuple[bytes, Mapping[str, str]]:
    response = await client.send_request(HttpRequest("GET", url))
    response.raise_for_status()
    return response.content, response.headers


def _data(found: KeyVaultSecret, ref: SourceRef) -> Sensitive:
    if found.value is None:
        raise Invalid(f"Key Vault gives no value for the key {ref}")
    try:
        return Sensitive.of(found.value)
    except UnicodeEncodeError:
        problem = f"the value of the key {ref} is no text: it has half a character"
    raise Invalid(problem)


def _check_spelling(told: str, asked: str) -> None:
    if told != asked:
        raise NotFound(f"Key Vault does not have the key {asked}; it has one that is spelled {told}")
