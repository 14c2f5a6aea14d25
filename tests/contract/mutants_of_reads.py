"""Mutants of reads: each class is the fake provider but for one thing."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from contract.mutants import ANY, Answers, Surveying, breaks
from keyturn.model.errors import Disabled, NotFound, ProviderError, Unavailable
from keyturn.model.material import PREVIOUS, SourceRef, Survey, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.env import EnvProvider
from keyturn.testing.fake_server import FakeClient


class Altering(FakeClient):
    """Alters each value's bytes on its way."""

    def alter(self, data: bytes) -> bytes:
        return data

    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        answers = await super().get_many(refs)
        return {
            ref: replace(found, data=Sensitive(self.alter(found.data.reveal()))) if isinstance(found, Value) else found
            for ref, found in answers.items()
        }


class Judging(FakeClient):
    """Gives another answer in place of an error or a value."""

    def judge(self, ref: SourceRef, found: Value | ProviderError) -> Value | ProviderError:
        return found

    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        return {ref: self.judge(ref, found) for ref, found in (await super().get_many(refs)).items()}


@breaks("read", *ANY)
class CutsTheEnd(Altering):
    def alter(self, data: bytes) -> bytes:
        return data[:-1]


@breaks("read", *ANY)
class AnswersWhatNobodyAsked(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        return {**await super().get_many(refs), SourceRef("other"): NotFound("no other")}


@breaks("read")
class AnswersNoQuestion(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        return await super().get_many(refs or [SourceRef("default")])


@breaks("property")
class FlattensObjects(Altering):
    def alter(self, data: bytes) -> bytes:
        if not data.startswith(b"{"):
            return data
        members = json.loads(data)
        return json.dumps({name: json.dumps(held) if isinstance(held, dict) else held for name, held in members.items()}).encode()


@breaks("exact")
class TrimsSpaces(Altering):
    def alter(self, data: bytes) -> bytes:
        return data.strip(b" ")


@breaks("exact", "binary", "put binary")
class TrimsLineBreaks(Altering):
    def alter(self, data: bytes) -> bytes:
        return data.rstrip(b"\n")


@breaks("empty")
class TakesEmptyForAbsent(Judging):
    def judge(self, ref: SourceRef, found: Value | ProviderError) -> Value | ProviderError:
        return NotFound(f"there is no {ref}") if isinstance(found, Value) and not found.data else found


@breaks("binary", "put binary")
class EndsAtNul(Altering):
    def alter(self, data: bytes) -> bytes:
        return data.split(b"\0")[0]


@breaks("non-UTF-8", "binary", "put binary")
class ReplacesWhatIsNoText(Altering):
    def alter(self, data: bytes) -> bytes:
        return data.decode(errors="replace").encode()


@breaks("version")
class NamesNoVersion(Judging):
    def judge(self, ref: SourceRef, found: Value | ProviderError) -> Value | ProviderError:
        return replace(found, version="") if isinstance(found, Value) and ref.version.isdigit() else found


@breaks("version")
class TakesTheNewestInstead(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        answers, newest = await super().get_many(refs), await super().get_many([SourceRef(ref.key) for ref in refs])
        return {
            ref: newest[SourceRef(ref.key)] if isinstance(found, NotFound) and ref.version == "999" else found
            for ref, found in answers.items()
        }


@breaks("no version")
class OverlooksVersions(EnvProvider):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        plain = await super().get_many([SourceRef(ref.key) for ref in refs])
        return {ref: plain[SourceRef(ref.key)] for ref in refs}


@breaks("stage")
class TakesCurrentForPrevious(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        answers, newest = await super().get_many(refs), await super().get_many([SourceRef(ref.key) for ref in refs])
        return {
            ref: newest[SourceRef(ref.key)] if isinstance(found, NotFound) and ref.version == PREVIOUS else found
            for ref, found in answers.items()
        }


@breaks("many")
class AsksForTwentyAlone(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        answers = await super().get_many(refs)
        return {ref: found if at < 20 else NotFound(f"there is no {ref}") for at, (ref, found) in enumerate(answers.items())}


@breaks("many", "bad names", "denied", "oversize")
class FailsAllForOne(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        answers = await super().get_many(refs)
        worst = [found for found in answers.values() if isinstance(found, ProviderError)]
        if worst and len(answers) > 1:
            raise worst[0]
        return answers


@breaks("overlap")
class TakesTwentyCallsAtOnce(FakeClient):
    running = 0

    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        self.running += 1
        await asyncio.sleep(0)
        try:
            if self.running > 20:
                raise Unavailable("too many calls at once")
            return await super().get_many(refs)
        finally:
            self.running -= 1


@breaks("not found", "version")
class DoesNotSayWhatIsMissing(Judging):
    def judge(self, ref: SourceRef, found: Value | ProviderError) -> Value | ProviderError:
        return NotFound("it is not there") if isinstance(found, NotFound) else found


@breaks("not found")
class KnowsNoCase(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        lower = await super().get_many([SourceRef(ref.key.lower()) for ref in refs if ref.key.endswith("THERE")])
        return {ref: lower.get(SourceRef(ref.key.lower()), found) for ref, found in (await super().get_many(refs)).items()}


@breaks("changed")
class KeepsWhatItRead(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        answers = await super().get_many(refs)
        values = {ref: found for ref, found in answers.items() if isinstance(found, Value) and not ref.version}
        self.kept = {**values, **getattr(self, "kept", {})}
        return {ref: self.kept.get(ref, found) for ref, found in answers.items()}


@breaks("soft-deleted", *ANY)
class TakesDeletedForDisabled(Judging):
    def judge(self, ref: SourceRef, found: Value | ProviderError) -> Value | ProviderError:
        is_deleted = isinstance(found, NotFound) and ref.key in self.server.store.keys and not ref.version
        return Disabled(f"{ref} is deleted") if is_deleted else found


@breaks("disabled")
class TakesDisabledForAbsent(Judging):
    def judge(self, ref: SourceRef, found: Value | ProviderError) -> Value | ProviderError:
        return NotFound(f"there is no {ref}") if isinstance(found, Disabled) else found


def without(char: str, name: str) -> None:
    """A provider that takes a character of a key for another."""

    class Renames(FakeClient):
        async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
            renamed = await super().get_many([SourceRef(ref.key.replace(char, "x"), ref.version) for ref in refs])
            return {ref: renamed[SourceRef(ref.key.replace(char, "x"), ref.version)] for ref in refs}

    Renames.__name__ = name
    breaks(f"names with {char}")(Renames)


for _char, _name in (("/", "TakesNoSlash"), (".", "TakesNoDot"), ("_", "TakesNoUnderscore"), ("-", "TakesNoHyphen")):
    without(_char, _name)


def raises(claim: Callable[[SourceRef], bool], case: str, name: str) -> None:
    """A provider that lets a library's error through."""

    class Raises(FakeClient):
        async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
            if any(claim(ref) for ref in refs):
                raise ValueError("embedded null byte")
            return await super().get_many(refs)

    Raises.__name__ = name
    breaks(case)(Raises)


raises(lambda ref: "\0" in ref.key, "bad names", "StumblesOverNul")
raises(lambda ref: "?" in ref.version, "odd versions", "StumblesOverVersions")


@breaks("validate")
class ValidatesWhatItNeedsNot(FakeClient):
    async def validate(self) -> None:
        await super().validate()
        raise Disabled("this identity may not list")


@breaks("closed")
class NeverCloses(FakeClient):
    async def close(self) -> None:
        """Stays open."""


@breaks("closed")
class ClosesOnce(FakeClient):
    async def close(self) -> None:
        if self._held is None:
            raise Unavailable("the provider is closed")
        await super().close()


@breaks("closed", *ANY)
class LeavesATask(FakeClient):
    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, **named)  # type: ignore[arg-type]  # as they came
        self._task = asyncio.get_running_loop().create_task(asyncio.sleep(60))


@breaks("silence")
class PrintsWhatItRead(FakeClient):
    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        answers = await super().get_many(refs)
        self._seen = [found.data.reveal() for found in answers.values() if isinstance(found, Value)]
        return answers

    def __repr__(self) -> str:
        return f"FakeClient({getattr(self, '_seen', '')})"


@breaks("silence", *ANY)
class LogsWhatItRead(Altering):
    def alter(self, data: bytes) -> bytes:
        logging.getLogger("keyturn.mutant").debug("read", extra={"content": data.hex()})
        return data


@breaks("survey")
class SurveysInOtherWords(Surveying):
    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        told = await super().survey(refs)
        return replace(told, fingerprints={ref: f"{text}!" for ref, text in told.fingerprints.items()})


@breaks("survey")
class SurveysWhatIsMissing(Surveying):
    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        told = await super().survey(refs)
        return replace(told, fingerprints={ref: told.fingerprints.get(ref, "") for ref in refs})
