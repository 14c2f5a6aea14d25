"""Secrets from Google Secret Manager: a project's global ones, or those of one region.

A read without a version gives what the alias `current` stands for, and where there is no such alias the version that was made
last: so a version that waits for a promotion is read by nobody who did not ask for it. Reads only: who writes is
``google_writer``.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from google.cloud.secretmanager_v1.types import resources, service

from keyturn.model.errors import AccessDenied, Disabled, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, Cap, Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.each import read_each
from keyturn.providers.google_names import LATEST, MOST_BYTES, VACANT, Place, can_begin, check_ref, crc32c, number_of
from keyturn.providers.google_session import Session
from keyturn.providers.google_wire import TooLong, labels_of
from keyturn.providers.room import Hold, Room

PAGE: Final = 1000
"""Secrets in one answer: Google would give 25,000, and nothing else would run while they are taken apart."""
MOST: Final = 50_000
"""More are listed by nobody."""
_PART: Final = 200
"""So many of them at a time, that others may do their work between."""
_KNOWN: Final = 10_000


@dataclass(frozen=True, slots=True)
class State:
    """What becomes of a version. Neither: it is destroyed, or waits for the day that its secret has set for that."""

    number: int
    is_on: bool
    is_off: bool
    created: datetime | None

    @classmethod
    def of(cls, raw: resources.SecretVersion) -> Self:
        is_going = "scheduled_destroy_time" in raw
        made = raw.create_time
        return cls(
            number_of(raw.name),
            raw.state == resources.SecretVersion.State.ENABLED,
            raw.state == resources.SecretVersion.State.DISABLED and not is_going,
            datetime.fromtimestamp(made.timestamp(), UTC) if made is not None else None,
        )


class GoogleProvider:
    """One project, as one identity. ``tenant`` is whose share of the room for answers it takes."""

    def __init__(self, place: Place, session: Session, room: Room, tenant: str) -> None:
        self._place = place
        self._session = session
        self._room = room
        self._tenant = tenant
        self._may_list = True
        self._staged: set[str] = set()

    @property
    def caps(self) -> Cap:
        caps = Cap.GET | Cap.GET_MANY | Cap.VERSIONS | Cap.STAGE
        return caps | Cap.LIST | Cap.TAGS if self._may_list else caps

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        """Leaves out what there is no room for beside the other answers."""
        self._session.check_open()
        return await read_each(refs, check_ref, self._get, self._room, self._tenant)

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        self._session.check_open()
        if not can_begin(prefix):
            return
        token, size, seen = "", PAGE, 0
        while True:
            try:
                page = await self._page(prefix, token, size)
            except TooLong:
                if size == 1:
                    raise
                size = max(1, size // 8)
                continue
            for number, secret in enumerate(page.secrets):
                key = secret.name.rpartition("/")[2]
                if key.startswith(prefix):
                    yield Meta(key, tags=labels_of(secret.labels))
                if number % _PART == _PART - 1:
                    await asyncio.sleep(0)
            seen += max(1, len(page.secrets))  # a page without any counts too, else they need have no end
            token = page.next_page_token
            if not token:
                return
            if seen >= MOST:
                raise Invalid(f"{self._place} has more than {MOST} secrets; ask for a longer prefix")

    async def validate(self) -> None:
        """Asks for the list: who may not have it is known all the same, and a read will tell."""
        try:
            await self._page("", "", 1)
        except AccessDenied:
            self._may_list = False
        else:
            self._may_list = True

    async def close(self) -> None:
        await self._session.close()

    async def _page(self, prefix: str, token: str, size: int) -> Any:
        """A page as protobuf has it: Google's own classes around it would take ten times as long."""
        request = service.ListSecretsRequest(
            parent=self._place.parent, page_size=size, page_token=token, filter=f"name:{prefix}" if prefix else ""
        )
        pager = await self._session.ask("list_secrets", request, f"a list of the secrets of {self._place}")
        return pager._pb

    async def _get(self, ref: SourceRef, hold: Hold) -> Value:
        if ref.version not in {"", CURRENT}:
            return await self._told(ref, ref.version, await self._access(ref, ref.version, hold))
        # The newest first, and then the alias: whoever has a version wait sets the alias before it.
        newest = None if ref.key in self._staged else await self._access(ref, LATEST, hold)
        try:
            found = await self._access(ref, CURRENT, hold)
        except NotFound:
            found = None
        if found is not None:
            self._remember(ref.key)
            return await self._told(ref, CURRENT, found)
        if newest is None:
            self._staged.discard(ref.key)
            return await self._get(ref, hold)
        return await self._told(ref, LATEST, newest)

    async def _access(self, ref: SourceRef, version: str, hold: Hold) -> Value | Disabled:
        """What there is under a number or an alias. Raises `NotFound` where there is no such version, whatever its state."""
        await hold.claim(MOST_BYTES)
        request = service.AccessSecretVersionRequest(name=self._place.version(ref.key, version))
        try:
            answer = await self._session.ask("access_secret_version", request, f"the key {ref} of {self._place}")
        except Disabled as disabled:
            return disabled.with_traceback(None)
        data, payload = answer.payload.data, answer.payload
        hold.give_back(MOST_BYTES - min(MOST_BYTES, len(data)))
        if len(data) > MOST_BYTES:
            raise Invalid(f"{ref} is too large: more than {MOST_BYTES >> 10} KiB came")
        if "data_crc32c" in payload and payload.data_crc32c != await crc32c(data):
            raise Unavailable(f"{ref} came damaged: its checksum is another one")
        return Value(Sensitive(data), str(number_of(answer.name)))

    async def _told(self, ref: SourceRef, version: str, found: Value | Disabled) -> Value:
        """The value, or what its absence is. A look at the state is 150 times as scarce as a read, and taken only here."""
        if isinstance(found, Value) and found.data != Sensitive(VACANT):
            return found
        if isinstance(found, Disabled):
            try:
                state = await self._state(ref.key, version)
            except AccessDenied:
                state = None
            if state is None or state.is_off:
                raise Disabled(f"{ref} is disabled in Secret Manager" + (", or destroyed" if state is None else ""))
        raise NotFound(f"Secret Manager does not have the key {ref} of {self._place}: no version of it is there any more, or none yet")

    async def _state(self, key: str, version: str) -> State:
        """Raises `NotFound`."""
        request = service.GetSecretVersionRequest(name=self._place.version(key, version))
        return State.of(await self._session.ask("get_secret_version", request, f"the version {version} of the key {key}"))

    def _remember(self, key: str) -> None:
        """Next time the alias is asked for at once: one read less."""
        if len(self._staged) < _KNOWN:
            self._staged.add(key)
