"""What a writer asks of Secret Manager about one secret: how it stands, and each change of it, once and by its etag.

Decides nothing: that is ``google_writer``.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from google.cloud.secretmanager_v1.types import resources, service

from keyturn.model.errors import Conflict, Disabled, Invalid, NotFound, Unavailable
from keyturn.model.material import CURRENT, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.google import MOST, GoogleProvider, State
from keyturn.providers.google_book import Book
from keyturn.providers.google_names import LATEST, VACANT, crc32c, number_of

_PAGE: Final = 1000


class GoogleChanges(GoogleProvider):
    """A `GoogleProvider` that can change secrets."""

    async def _look(self, key: str) -> Book | None:
        """The secret as it is; None where there is none."""
        request = service.GetSecretRequest(name=self._place.secret(key))
        try:
            book = Book.of(await self._session.ask("get_secret", request, f"the key {key}"))
        except NotFound:
            return None
        number, data = await self._standing(key, str(book.aliases.get(CURRENT, LATEST)))
        return book.standing(number, is_vacant=data == Sensitive(VACANT), is_there=data is not None)

    async def _standing(self, key: str, version: str) -> tuple[int, Sensitive | None]:
        """The number of a version, 0 where there is none, and what it holds; None where that is gone."""
        ref = SourceRef(key, version)
        with self._room.hold(self._tenant) as hold:
            try:
                found = await self._access(ref, version, hold)
                state = await self._state(key, version) if isinstance(found, Disabled) else None
            except NotFound:
                return 0, None
        if isinstance(found, Value):
            return int(found.version), found.data
        # Of one that is switched off the value is nobody's; that it is there counts.
        return (state.number, Sensitive(b"") if state.is_off else None) if state else (0, None)

    async def _payload(self, key: str, version: str) -> Sensitive | None:
        return (await self._standing(key, version))[1]

    async def _check_readable(self, key: str, version: str) -> None:
        state = await self._state(key, version)
        if state.is_off:
            raise Disabled(f"{SourceRef(key, version)} is disabled in Secret Manager; enable it first")
        if not state.is_on:
            raise NotFound(f"Secret Manager does not have the key {SourceRef(key, version)} any more")

    async def _states(self, key: str) -> Sequence[State]:
        """Of all versions, the newest first."""
        found: list[State] = []
        token, seen = "", 0
        while True:
            request = service.ListSecretVersionsRequest(parent=self._place.secret(key), page_size=_PAGE, page_token=token)
            page = await self._session.ask("list_secret_versions", request, f"the versions of the key {key}")
            found += [State.of(each) for each in page.versions]
            seen += max(_PAGE // 2, len(page.versions))  # a page without any counts too
            token = page.next_page_token
            if not token:
                return sorted(found, key=lambda state: -state.number)
            if seen >= MOST:
                raise Invalid(f"{key} has more than {MOST} versions in Secret Manager; delete it there, and put it anew")

    async def _create(self, key: str, annotations: Mapping[str, str]) -> Book | None:
        secret = resources.Secret(annotations=annotations)
        if not self._place.location:
            secret.replication = resources.Replication(automatic=resources.Replication.Automatic())
        request = service.CreateSecretRequest(parent=self._place.parent, secret_id=key, secret=secret)
        try:
            return Book.of(await self._session.ask("create_secret", request, f"the key {key}"))
        except Conflict:
            return None

    async def _amend(
        self,
        key: str,
        book: Book,
        *,
        aliases: Mapping[str, int] | None = None,
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Book | None:
        """Changes the secret as it stood, and gives it as it stands then; None where somebody else has changed it since."""
        asked: dict[str, Any] = {"version_aliases": aliases, "annotations": annotations, "labels": labels}
        changed = {name: value for name, value in asked.items() if value is not None}
        secret = resources.Secret(name=self._place.secret(key), etag=book.etag, **changed)
        request = service.UpdateSecretRequest(secret=secret, update_mask={"paths": list(changed)})
        try:
            fresh = Book.of(await self._session.ask("update_secret", request, f"the key {key}"))
        except (Conflict, Disabled):
            return None
        return fresh.standing(book.newest, is_vacant=bool(book.vacant), is_there=bool(book.current))

    async def _add(self, key: str, data: Sensitive) -> int:
        raw = data.reveal()
        payload = resources.SecretPayload(data=raw, data_crc32c=await crc32c(raw))
        request = service.AddSecretVersionRequest(parent=self._place.secret(key), payload=payload)
        added = await self._session.ask("add_secret_version", request, f"a version of the key {key}")
        if not added.client_specified_payload_checksum:
            raise Unavailable(f"Secret Manager did not look at the checksum of {key}; the version {number_of(added.name)} may be damaged")
        return number_of(added.name)

    async def _destroy(self, key: str, number: int) -> None:
        request = service.DestroySecretVersionRequest(name=self._place.version(key, str(number)))
        with suppress(NotFound, Disabled):  # it is gone already
            await self._session.ask("destroy_secret_version", request, f"the version {number} of the key {key}")
