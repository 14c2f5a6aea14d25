"""Mutants of what becomes of versions: each class is the fake provider but for one thing."""

from collections.abc import Sequence
from dataclasses import replace

from contract.mutants import Answers, breaks
from contract.mutants_of_writes import Letter, Writing
from keyturn.model.errors import Conflict, NotFound
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, SourceRef, Value, Version


@breaks("versions")
class NamesTheOldestFirst(Writing):
    async def versions(self, key: str) -> Sequence[Version]:
        return list(await super().versions(key))[::-1]


@breaks("versions")
class NamesNoneOfNothing(Writing):
    async def versions(self, key: str) -> Sequence[Version]:
        return await super().versions(key) if key in self.server.store.keys else []


@breaks("pending")
class ReadsTheFirstWhateverItIs(Writing):
    async def write(self, letter: Letter) -> str:
        return await self.send(letter if CURRENT in self.held(letter.key).stages else replace(letter, stage=CURRENT))


@breaks("pending", "promote", "promote twice", "stages of versions")
class KnowsNoPending(Writing):
    async def write(self, letter: Letter) -> str:
        name = await self.send(replace(letter, stage=CURRENT))
        if letter.stage == PENDING:
            self.held(letter.key).stages[PREVIOUS] = name
        return name


@breaks("promote")
class NeverGoesBack(Writing):
    async def promote(self, key: str, version: str) -> None:
        if int(version) < int(self.held(key).stages.get(CURRENT, "0")):
            raise NotFound(f"{key} has gone on from version {version}")
        await super().promote(key, version)


@breaks("promote", "stages of versions")
class StaysPending(Writing):
    async def promote(self, key: str, version: str) -> None:
        was = self.held(key).stages.get(PENDING)
        await super().promote(key, version)
        if was == version:
            self.held(key).stages[PENDING] = version


@breaks("promote twice")
class PromotesOverItself(Writing):
    async def promote(self, key: str, version: str) -> None:
        was = self.held(key).stages.get(CURRENT)
        await super().promote(key, version)
        if was == version:
            self.held(key).stages[PREVIOUS] = version


@breaks("promote nothing")
class PromotesNothing(Writing):
    async def promote(self, key: str, version: str) -> None:
        if version in self.held(key).versions:
            await super().promote(key, version)


@breaks("stages of versions")
class DoesNotSayStages(Writing):
    async def versions(self, key: str) -> Sequence[Version]:
        return [replace(each, stages=frozenset()) for each in await super().versions(key)]


@breaks("delete")
class CannotDeleteNothing(Writing):
    async def delete(self, key: str, *, purge: bool = False) -> None:
        if key not in self.server.store.keys:
            raise NotFound(f"there is no {key}")
        await super().delete(key, purge=purge)


@breaks("delete", "purge")
class CannotDeleteTwice(Writing):
    async def delete(self, key: str, *, purge: bool = False) -> None:
        if not self.held(key).stages and not (purge and self.held(key).versions):
            raise NotFound(f"there is no {key}")
        await super().delete(key, purge=purge)


@breaks("delete versions")
class DeletesTheNewestAlone(Writing):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        answers = dict(await super().get_many(refs))
        for ref in refs:
            if isinstance(answers[ref], NotFound) and (kept := self.held(ref.key).versions.get(ref.version)):
                answers[ref] = Value(kept.data, ref.version, kept.created)
        return answers


@breaks("delete versions", "purge")
class SaysThatItCanBeRead(Writing):
    async def versions(self, key: str) -> Sequence[Version]:
        if key in self.server.store.keys and not self.held(key).versions:
            return [Version("1")]
        return [replace(each, is_readable=True) for each in await super().versions(key)]


@breaks("delete and make anew")
class CannotMakeAnew(Writing):
    async def write(self, letter: Letter) -> str:
        held = self.held(letter.key)
        if held.last and not held.stages and not held.buried and not held.versions and letter.expect is None:
            raise Conflict(f"{letter.key} was deleted for good")
        return await self.send(letter)


@breaks("delete and make anew", "stale compare and set")
class CountsAnew(Writing):
    async def delete(self, key: str, *, purge: bool = False) -> None:
        await super().delete(key, purge=purge)
        if purge:
            self.server.store.keys.pop(key, None)


@breaks("undelete")
class BringsTheWrongOneBack(Writing):
    async def undelete(self, key: str) -> None:
        await super().undelete(key)
        held = self.held(key)
        if PREVIOUS in held.stages:
            held.move(CURRENT, held.stages[PREVIOUS])


@breaks("undelete nothing")
class BringsNothingBack(Writing):
    async def undelete(self, key: str) -> None:
        if key in self.server.store.keys:
            await super().undelete(key)


@breaks("purge")
class DeletesInsteadOfPurging(Writing):
    async def delete(self, key: str, *, purge: bool = False) -> None:
        await super().delete(key)
