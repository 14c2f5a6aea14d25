"""Mutants of puts: each class is the fake provider but for one thing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from contract.mutants import ANY, breaks
from keyturn.model.errors import AccessDenied, Conflict, Invalid, Unavailable
from keyturn.model.material import CURRENT
from keyturn.model.sensitive import Sensitive
from keyturn.providers.fake import FakeProvider
from keyturn.providers.fake_store import Held, Kept
from keyturn.testing.fake_server import FakeClient


@dataclass(frozen=True)
class Letter:
    """A put as it was asked for."""

    key: str
    data: Sensitive
    token: str
    expect: str | None
    stage: str
    tags: Mapping[str, str] | None


class Writing(FakeClient):
    """Has one method for a put, so that a mutant is short."""

    async def put(
        self,
        key: str,
        data: Sensitive,
        *,
        token: str,
        expect: str | None = None,
        stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        return await self.write(Letter(key, data, token, expect, stage, tags))

    async def write(self, letter: Letter) -> str:
        return await self.send(letter)

    async def send(self, letter: Letter) -> str:
        """As it should be."""
        one = letter
        return await super().put(one.key, one.data, token=one.token, expect=one.expect, stage=one.stage, tags=one.tags)

    def held(self, key: str) -> Held:
        return self.server.store.keys.get(key, Held())

    def known(self, letter: Letter) -> tuple[str, Kept] | None:
        """The version that was put with this token."""
        return next(((name, kept) for name, kept in self.held(letter.key).versions.items() if kept.token == letter.token), None)


@breaks("put", *ANY)
class KeepsWritesToItself(Writing):
    async def write(self, letter: Letter) -> str:
        await self._store()
        return "1"


@breaks("put", *ANY)
class NamesAnotherVersion(Writing):
    async def write(self, letter: Letter) -> str:
        return f"{await self.send(letter)}0"


@breaks("put same value")
class WritesNoValueTwice(Writing):
    async def write(self, letter: Letter) -> str:
        held = self.held(letter.key)
        current = held.stages.get(CURRENT, "")
        is_same = current and held.versions[current].data == letter.data and letter.stage == CURRENT
        return current if is_same else await self.send(letter)


@breaks("put twice")
class KnowsItsOwnTokensAlone(Writing):
    async def write(self, letter: Letter) -> str:
        self.mine = {*getattr(self, "mine", ()), letter.token} if not self.known(letter) else getattr(self, "mine", set())
        if letter.token not in self.mine:
            letter = replace(letter, token="other".ljust(32, "-"))
        return await self.send(letter)


@breaks("put twice", *ANY)
class KnowsNoTokens(Writing):
    async def write(self, letter: Letter) -> str:
        self.server.log_ins += 1
        return await self.send(replace(letter, token=f"{self.server.log_ins:032d}"))


@breaks("put twice with expect")
class LooksAtExpectFirst(Writing):
    async def write(self, letter: Letter) -> str:
        current = self.held(letter.key).stages.get(CURRENT)
        if letter.expect is not None and (letter.expect or None) != current:
            await self._store()
            raise Conflict(f"{letter.key} is not at the version that was expected")
        return await self.send(letter)


@breaks("put late")
class LetsLatePutsWin(Writing):
    async def write(self, letter: Letter) -> str:
        was_there = self.known(letter)
        name = await self.send(letter)
        if was_there and CURRENT in self.held(letter.key).stages:
            self.held(letter.key).move(CURRENT, name)
        return name


@breaks("put after delete")
class BringsBackByALatePut(Writing):
    async def write(self, letter: Letter) -> str:
        name = await self.send(letter)
        if self.held(letter.key).versions[name].is_deleted:
            self.server.store.undelete(letter.key)
        return name


@breaks("put other value", "silent writes")
class OverlooksOtherValues(Writing):
    async def write(self, letter: Letter) -> str:
        known = self.known(letter)
        return known[0] if known else await self.send(letter)


@breaks("put other value", "silent writes")
class WritesOverItsToken(Writing):
    async def write(self, letter: Letter) -> str:
        if known := self.known(letter):
            known[1].data = letter.data
        return await self.send(letter)


@breaks("tokens by key")
class KnowsTokensEverywhere(Writing):
    async def write(self, letter: Letter) -> str:
        for key in self.server.store.keys:
            if known := self.known(replace(letter, key=key)):
                return await self.send(letter) if key == letter.key else known[0]
        return await self.send(letter)


@breaks("create only")
class CreatesOverWhatIsThere(Writing):
    async def write(self, letter: Letter) -> str:
        return await self.send(replace(letter, expect=letter.expect or None))


@breaks("compare and set", "writers at once", "stale compare and set", "create only")
class ExpectsNothing(Writing):
    async def write(self, letter: Letter) -> str:
        return await self.send(replace(letter, expect=None))


@breaks("compare and set")
class CreatesWhatWasExpectedThere(Writing):
    async def write(self, letter: Letter) -> str:
        return await self.send(letter if self.held(letter.key).versions or self.held(letter.key).last else replace(letter, expect=None))


@breaks("writers at once")
class LooksBeforeItWrites(Writing):
    async def write(self, letter: Letter) -> str:
        if letter.expect is None or self.known(letter):
            return await self.send(letter)
        if (letter.expect or None) != self.held(letter.key).stages.get(CURRENT):
            raise Conflict(f"{letter.key} is not at the version that was expected")
        await asyncio.sleep(0)
        return await self.send(replace(letter, expect=None))


@breaks("stale compare and set")
class TakesDeletedForCurrent(Writing):
    async def write(self, letter: Letter) -> str:
        is_gone = not self.held(letter.key).stages and letter.expect in self.held(letter.key).versions
        return await self.send(replace(letter, expect=None) if is_gone else letter)


@breaks("put tags")
class ForgetsTags(Writing):
    async def write(self, letter: Letter) -> str:
        return await self.send(replace(letter, tags=letter.tags or {}))


@breaks("put binary")
class WritesUpToNul(Writing):
    async def write(self, letter: Letter) -> str:
        return await self.send(replace(letter, data=Sensitive(letter.data.reveal().split(b"\0")[0])))


@breaks("put oversize")
class TakesWhatItCannotRead(Writing):
    async def send(self, letter: Letter) -> str:
        if len(letter.data) > 1 << 16:
            one = letter
            return await FakeProvider.put(self, one.key, one.data, token=one.token, expect=one.expect, stage=one.stage, tags=one.tags)
        return await super().send(letter)


@breaks("write denied")
class TakesDeniedForConflict(Writing):
    async def write(self, letter: Letter) -> str:
        try:
            return await self.send(letter)
        except AccessDenied:
            pass
        raise Conflict(f"{letter.key} was written by another")


@breaks("write in an outage")
class TakesOutageForInvalid(Writing):
    async def write(self, letter: Letter) -> str:
        try:
            return await self.send(letter)
        except Unavailable as error:
            if "HTTP 500" not in str(error):
                raise
        raise Invalid(f"{letter.key} cannot be written")


@breaks("lost answer")
class ForgetsWhatItDidNotAnswer(Writing):
    async def write(self, letter: Letter) -> str:
        try:
            return await self.send(letter)
        except Unavailable:
            if known := self.known(letter):
                known[1].token = "lost".ljust(32, "-")
            raise


@breaks("silent writes")
class TellsWhatItCannotPut(Writing):
    async def write(self, letter: Letter) -> str:
        if not letter.key:
            raise Invalid(f"{letter.data.reveal()!r} needs a key")
        return await self.send(letter)
