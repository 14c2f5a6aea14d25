"""Writes to Secret Manager: each takes effect by one update of the secret's aliases that counts only where nobody changed it since.

Adding a version is no such thing: it takes no etag, and what was added cannot be taken back unseen. So the alias `current` holds
what is read where it is, a put is noted and adds its version, and then the alias is moved: whoever asks again, because no answer
came, finds the note, and the version that was added. What loses against another write is destroyed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from keyturn.model.errors import Conflict, Disabled, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, PENDING, Cap, SourceRef, Version
from keyturn.model.sensitive import Sensitive
from keyturn.providers.google_book import Book, Note
from keyturn.providers.google_changes import GoogleChanges
from keyturn.providers.google_names import LATEST, VACANT, Place, check_key, check_value, is_number
from keyturn.providers.google_session import Session
from keyturn.providers.put_mark import Mark, check_stage, mark
from keyturn.providers.room import Room

_ATTEMPTS: Final = 12
"""How often a writer gives way to others."""
_PAUSE_S: Final = 0.05
"""By so much longer it waits before each: others may be at it, or Google may not show what was written last."""
_LOOKS_AFTER_S: Final = (0.0, 0.2, 0.5, 1.0)
_LOOKED_AT: Final = 10
"""Versions among which a put looks for the one that it made before, the newest first."""


class GoogleWriter(GoogleChanges):
    """A `GoogleProvider` that is a `Writer` too."""

    def __init__(self, place: Place, session: Session, room: Room, tenant: str, *, now: Callable[[], float] = time.time) -> None:
        super().__init__(place, session, room, tenant)
        self._now = now

    @property
    def caps(self) -> Cap:
        return super().caps | Cap.PUT | Cap.CAS | Cap.DELETE

    async def put(
        self, key: str, data: Sensitive, *, token: str, expect: str | None = None, stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        self._session.check_open()
        check_key(key)
        check_stage(stage)
        check_value(key, data, tags)
        ours = mark(token, data)
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(_PAUSE_S * attempt)
            book = await self._look(key)
            note, number = book.note(ours) if book else None, 0
            if book and note:
                ours.check(note.seal, key)
                if note.number:
                    return str(note.number)
                number = await self._made_before(key, book, note, data)
                book = book.without(number)
            await self._check_expected(key, book, ours, expect, number)
            claimed = await self._claim(key, book, ours, note)
            if claimed and stage == PENDING:
                claimed = await self._held_open(key, claimed)
            if claimed:
                return await self._commit(key, claimed, ours, number or await self._add(key, data), stage, tags, expect)
        raise _crowded(key)

    async def promote(self, key: str, version: str) -> None:
        self._session.check_open()
        check_key(key)
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(_PAUSE_S * attempt)
            book = await self._look(key)
            if book is None or not is_number(version):
                raise NotFound(f"Secret Manager does not have the key {SourceRef(key, version)}")
            number = int(version)
            if book.current != number:
                await self._check_readable(key, version)
            elif book.aliases.get(PENDING) != number:
                return
            if await self._amend(key, book, aliases=book.staged(CURRENT, number)):
                await self._fill(key, book)
                return
        raise _crowded(key)

    async def versions(self, key: str) -> Sequence[Version]:
        self._session.check_open()
        check_key(key)
        book = await self._look(key)
        stages: dict[int, set[str]] = {}
        for alias, number in (book.aliases if book else {}).items():
            stages.setdefault(number, set()).add(alias)
        if book and book.current:
            stages.setdefault(book.current, set()).add(CURRENT)
        found = [
            Version(str(state.number), frozenset(stages.get(state.number, ())), state.created, state.is_on)
            for state in (await self._states(key) if book else ())
            if (state.is_on or state.is_off) and book and state.number != book.vacant
        ]
        if not found:
            raise NotFound(f"Secret Manager does not have the key {key}")
        return found

    async def delete(self, key: str, *, purge: bool = False) -> None:
        """The secret itself stays, without versions: were it made anew, its numbers would begin at 1 again."""
        self._session.check_open()
        check_key(key)
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(_PAUSE_S * attempt)
            book = await self._look(key)
            if book is None:
                return
            if purge and book.is_delayed:
                raise Invalid(f"{key} cannot be purged: its version_destroy_ttl keeps what is destroyed; remove that, and purge it again")
            # What is read goes last: until then no other version may seem to be it.
            states = [state for state in await self._states(key) if state.is_on or state.is_off]
            for state in sorted(states, key=lambda state: state.number == (book.current or book.newest)):
                await self._destroy(key, state.number)
            aliases, annotations = book.unstaged(), book.forgotten() if purge else None
            is_done = aliases == dict(book.aliases) and annotations in (None, dict(book.annotations))
            if is_done or await self._amend(key, book, aliases=aliases, annotations=annotations):
                return
        raise _crowded(key)

    async def undelete(self, key: str) -> None:
        raise Invalid(f"{key} does not come back: Secret Manager destroys at once")

    # -- the steps of a put -----------------------------------------------------------------------------------------------------

    async def _check_expected(self, key: str, book: Book | None, ours: Mark, expect: str | None, made: int) -> None:
        """Raises `Conflict` where another version is current than was expected, or is about to be."""
        if expect is None:
            return
        if expect != (str(book.current) if book and book.current else ""):
            problem = f"the version of {key} that is current is not the one that was expected"
        elif book and not book.note(ours) and book.has_rival(ours, self._now()):
            problem = f"another write to {key} is under way"
        else:
            return
        if made:
            await self._scrap(key, made)
        raise Conflict(problem)

    async def _claim(self, key: str, book: Book | None, ours: Mark, note: Note | None) -> Book | None:
        """The secret with the put noted in it, and with what is current pinned; None where another writer was faster."""
        now = self._now()
        claim = note or Note(ours.seal, base=book.newest if book else 0, since_s=int(now))
        if book is None:
            return await self._create(key, Book("", {}, {}).noted(ours, claim, now))
        if note and (book.is_pinned or not book.current):
            return book
        claimed = await self._amend(key, book, aliases=book.pinned(), annotations=book.noted(ours, claim, now))
        if claimed is None or book.is_pinned or not book.current:
            return claimed
        # Somebody may have added a version just before it was pinned, and must not lose it by that.
        if (await self._standing(key, LATEST))[0] == book.current:
            return claimed
        await self._amend(key, claimed, aliases=dict(book.aliases))
        return None

    async def _held_open(self, key: str, book: Book) -> Book | None:
        """The secret with something current, be it nothing, so that what is added next is not; None where another was faster."""
        if not book.is_pinned:
            vacant = book if book.vacant else book.standing(await self._add(key, Sensitive(VACANT)), is_vacant=True, is_there=True)
            pinned = await self._amend(key, vacant, aliases=vacant.pinned())
            if pinned is None:
                return None
            book = pinned
        # Google shows an alias to all only after a while, and until then what is newest would be read.
        for pause_s in _LOOKS_AFTER_S:
            await asyncio.sleep(pause_s)
            if (await self._standing(key, CURRENT))[0] == book.aliases[CURRENT]:
                return book
        raise Unavailable(f"Google does not show the alias {CURRENT} of {key} yet; what is to wait is written after that", retry_after=30.0)

    async def _commit(
        self, key: str, book: Book, ours: Mark, number: int, stage: str, tags: Mapping[str, str] | None, expect: str | None
    ) -> str:
        """Moves the alias to the version that was added."""
        before = book.current
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(_PAUSE_S * attempt)
            done = book.noted(ours, Note(ours.seal, number), self._now())
            if await self._amend(key, book, aliases=book.staged(stage, number), annotations=done, labels=tags):
                if stage == CURRENT:
                    await self._fill(key, book)
                return str(number)
            found = await self._look(key)
            note = found.note(ours) if found else None
            if note and note.number:  # the same put, made by another at the same time
                if note.number != number:
                    await self._scrap(key, number)
                return str(note.number)
            if found is None or note is None or (expect is not None and found.current not in {before, number}):
                break
            book = found
        await self._scrap(key, number)
        raise Conflict(f"another write to {key} came between")

    async def _made_before(self, key: str, book: Book, note: Note, data: Sensitive) -> int:
        """The version that this put added before, where its answer was lost; 0 where it added none."""
        taken = book.taken()
        new = [state for state in await self._states(key) if state.is_on and state.number > note.base and state.number not in taken]
        for state in new[:_LOOKED_AT]:
            with suppress(NotFound, Disabled):
                if await self._payload(key, str(state.number)) == data:
                    return state.number
        return 0

    async def _fill(self, key: str, before: Book) -> None:
        """Something is current now: what stood for nothing may go. If it stays, it costs some cents."""
        if before.vacant:
            await self._scrap(key, before.vacant)

    async def _scrap(self, key: str, number: int) -> None:
        with suppress(ProviderError):
            await self._destroy(key, number)


def _crowded(key: str) -> Conflict:
    return Conflict(f"others write to {key} all the time, or Google does not show the last write yet; try again")
