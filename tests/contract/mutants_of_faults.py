"""Mutants of lists, and of what goes wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import replace

from contract.mutants import Answers, breaks
from contract.mutants_of_reads import Judging
from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, NotFound, ProviderError, Throttled, Unavailable
from keyturn.model.material import Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.fake import FakeProvider
from keyturn.providers.fake_store import Store
from keyturn.testing.fake_server import MOST_BYTES, FakeClient


@breaks("list by prefix", "list in folders")
class ListsAll(FakeClient):
    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        async for meta in super().list():
            yield meta


@breaks("list by prefix")
class ListsNothingWithoutAPrefix(FakeClient):
    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        async for meta in super().list(prefix or "none"):
            yield meta


@breaks("list in folders")
class ListsOneFolder(FakeClient):
    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        async for meta in super().list(prefix):
            if "/" not in meta.key[len(prefix) :]:
                yield meta


class ListsOnePage(FakeClient):
    """A list that ends where its first page does."""

    page = 0

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        found = [meta async for meta in super().list(prefix)]
        for meta in found[: self.page]:
            yield meta


@breaks("many")
class ListsTwentyFive(ListsOnePage):
    page = 25


@breaks("list by regexp", "list in folders", "many")
class ListsThree(ListsOnePage):
    page = 3


@breaks("list by tags")
class TagsAllAlike(FakeClient):
    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        first: Meta | None = None
        async for meta in super().list(prefix):
            first = first or meta
            yield replace(meta, tags=first.tags)


@breaks("list tells of change")
class ListsNoChange(FakeClient):
    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        async for meta in super().list(prefix):
            yield replace(meta, fingerprint="v")


@breaks("soft-deleted", "delete")
class ListsWhatIsDeleted(FakeClient):
    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        for key in (await self._store()).keys:
            if key.startswith(prefix):
                yield Meta(key, f"v{self.server.store.keys[key].last}", tags=self.server.store.keys[key].tags)


@breaks("5xx", "connection refused", "closed")
class ListsNothingInAnOutage(FakeClient):
    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        try:
            async for meta in super().list(prefix):
                yield meta
        except Unavailable:
            return


@breaks("denied")
class TakesDeniedForAbsent(Judging):
    def judge(self, ref: SourceRef, found: Value | ProviderError) -> Value | ProviderError:
        return NotFound(f"there is no {ref}") if isinstance(found, AccessDenied) else found


class Mistaking(FakeClient):
    """Tells one error of a whole call as another."""

    def mistake(self, error: ProviderError) -> ProviderError:
        return error

    async def _store(self) -> Store:
        try:
            return await super()._store()
        except ProviderError as error:
            mistaken = self.mistake(error)
        raise mistaken


@breaks("bad log-in")
class TakesBadLogInForDenied(Mistaking):
    def mistake(self, error: ProviderError) -> ProviderError:
        return AccessDenied("the server refuses this identity") if isinstance(error, AuthFailed) else error


@breaks("expired log-in")
class LogsInOnce(FakeClient):
    async def _log_in(self) -> None:
        if self.session:
            raise AuthFailed("the log-in has expired")
        await super()._log_in()


@breaks("throttled")
class DoesNotSayHowLong(Mistaking):
    def mistake(self, error: ProviderError) -> ProviderError:
        return Throttled("a pause is asked for") if isinstance(error, Throttled) else error


@breaks("throttled")
class WaitsByItself(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        try:
            return await super().get_many(refs)
        except Throttled as error:
            await asyncio.sleep(error.retry_after or 0)
        return await super().get_many(refs)


@breaks("time-out")
class CannotBeGivenUp(FakeClient):
    async def _store(self) -> Store:
        try:
            return await super()._store()
        except asyncio.CancelledError:
            await asyncio.Event().wait()  # until somebody cancels once more
            raise


@breaks("time-out")
class IsNeverItselfAgain(FakeClient):
    is_lost = False

    async def _store(self) -> Store:
        if self.is_lost:
            raise Unavailable("the connection was lost")
        try:
            return await super()._store()
        except asyncio.CancelledError:
            self.is_lost = True
            raise


async def _mistaken(reading: Awaitable[Answers], refs: Sequence[SourceRef], sign: str) -> Answers:
    """The answers, or where the server is away in this way that nothing is there."""
    try:
        return await reading
    except Unavailable as error:
        if sign not in str(error):
            raise
    return {ref: NotFound(f"there is no {ref}") for ref in refs}


@breaks("5xx")
class TakesFailureForAbsence(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        return await _mistaken(super().get_many(refs), refs, "HTTP 500")


@breaks("connection refused")
class TakesOutageForAbsence(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        return await _mistaken(super().get_many(refs), refs, "gave no answer")


@breaks("oversize")
class CutsWhatIsTooLarge(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        whole, fit = await FakeProvider.get_many(self, refs), dict(await super().get_many(refs))
        for ref, held in whole.items():
            if isinstance(held, Value) and isinstance(fit[ref], Invalid):
                fit[ref] = replace(held, data=Sensitive(held.data.reveal()[:MOST_BYTES]))
        return fit
