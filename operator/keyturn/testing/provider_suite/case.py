"""A case of the suite, and the trial that it is made in: what it opens, seeds and asks is watched for leaks and closed in the end."""

import asyncio
import base64
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, ParamSpec, Self, TypeVar
from urllib.parse import quote

from keyturn.model.errors import ProviderError
from keyturn.model.material import CURRENT, Cap, Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Provider, Writer
from keyturn.testing.provider_suite.bench import Bench, Need, Who

Answer = Value | ProviderError

_P = ParamSpec("_P")
_E = TypeVar("_E", bound=ProviderError)

NONE: Final = Cap(0)
_GOODBYE_S: Final = 5.0
_WRITES: Final = tuple(name for name, method in vars(Writer).items() if callable(method) and not name.startswith("_"))


class BrokenPromise(AssertionError):
    """The provider, or its bench, does not keep the contract."""


class Skipped(Exception):  # as the errors of the product are named
    """The case is not for this provider; the message says why."""


def check(claim: object, otherwise: str) -> None:
    """Raises `BrokenPromise` unless the claim holds."""
    if not claim:
        broken(otherwise)


def broken(what: str) -> NoReturn:
    raise BrokenPromise(what)


@dataclass
class Trial:
    """One case on one bench. ``marks`` are the texts by which values are known, wherever they turn up."""

    bench: Bench
    marks: list[str] = field(default_factory=list)
    opened: list[Provider] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    stem: str = field(default_factory=lambda: f"kt{secrets.token_hex(3)}")

    # -- the other side ---------------------------------------------------------------------------------------------------------

    def key(self, name: str = "a") -> str:
        """A key that nobody else uses."""
        return f"{self.stem}{name}"

    def mark(self) -> str:
        """A text that can be found again."""
        self.marks.append(f"{self.bench.mark}-{secrets.token_hex(6)}")
        return self.marks[-1]

    def value(self) -> bytes:
        """A new value."""
        return self.bench.value(self.mark())

    async def seed(self, key: str, data: bytes | None = None, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> bytes:
        """Puts a value there, and gives it."""
        data = self.value() if data is None else data
        await self.bench.seed(key, data, tags=tags, stage=stage)
        return data

    # -- the provider -----------------------------------------------------------------------------------------------------------

    async def open(self, who: Who = Who.OURS) -> Provider:
        self.opened.append(await self.bench.open(who))
        return self.opened[-1]

    async def writer(self) -> Writer:
        """A provider as the port for writes."""
        provider = await self.open()
        if not isinstance(provider, Writer):
            missing = ", ".join(name for name in _WRITES if not hasattr(provider, name))
            broken(f"the provider says Cap.PUT, and a Writer has all of {', '.join(_WRITES)}, whatever its caps: it lacks {missing}")
        return provider

    def need(self, provider: Provider, cap: Cap) -> None:
        """For a `Cap` that shows only once the provider was asked."""
        if cap not in provider.caps:
            raise Skipped(excuse(cap, self.bench))

    async def ask(self, provider: Provider, *refs: SourceRef) -> Mapping[SourceRef, Answer]:
        """The answer to each; where the call as a whole failed, that error."""
        answers: dict[SourceRef, Answer] = {}
        while left := [ref for ref in refs if ref not in answers]:
            try:
                found = await provider.get_many(left)
            except ProviderError as error:
                found = dict.fromkeys(left, error)
            check(set(found) <= set(left), "get_many answered what it was not asked for")
            check(found, "get_many answered none of the references that it was asked for")
            answers.update(found)
        for ref, answer in answers.items():
            self.look(f"the answer for {ref}", answer)
        return answers

    async def answer(self, provider: Provider, key: str, version: str = "") -> Answer:
        ref = SourceRef(key, version)
        return (await self.ask(provider, ref))[ref]

    async def value_of(self, provider: Provider, key: str, version: str = "") -> Value:
        """What is read; it must be a value."""
        found = await self.answer(provider, key, version)
        if not isinstance(found, Value):
            broken(f"a read gave {type(found).__name__} instead of a value: {found}")
        return found

    async def reads(self, provider: Provider, key: str, data: bytes, version: str = "") -> Value:
        """A read gives these bytes."""
        found = await self.value_of(provider, key, version)
        check(found.data == Sensitive(data), f"a read gave other bytes than are there ({len(found.data)} of them, not {len(data)})")
        return found

    async def fails(self, provider: Provider, key: str, kind: type[_E], version: str = "") -> _E:
        """A read gives this error."""
        found = await self.answer(provider, key, version)
        if not isinstance(found, kind):
            broken(f"a read gave {type(found).__name__}, not {kind.__name__}")
        return found

    async def refused(self, kind: type[_E], call: Callable[_P, Awaitable[object]], *args: _P.args, **named: _P.kwargs) -> _E:
        """A call raises this error, with nothing in it that must not be told."""
        # Names alone: a value is Sensitive.
        what = f"{getattr(call, '__name__', 'a call')}({', '.join(repr(arg) for arg in args if isinstance(arg, str))})"
        try:
            await call(*args, **named)
        except ProviderError as error:
            self.look("an error", error)
            if isinstance(error, kind):
                return error
            broken(f"{what} raised {type(error).__name__}, not {kind.__name__}")
        broken(f"{what} went through instead of raising {kind.__name__}")

    async def listed(self, provider: Provider, prefix: str | None = None) -> list[Meta]:
        """What a list has with our prefix, or with this one."""
        found = [meta async for meta in provider.list(self.stem if prefix is None else prefix)]
        self.look("the list", found)
        return found

    # -- leaks ------------------------------------------------------------------------------------------------------------------

    def look(self, where: str, told: object) -> None:
        """Fails where a value, or a server's prose, can be read in what was told."""
        text = all_of(told)
        for mark in self.marks:
            check(not any(form in text for form in forms(mark)), f"{where} holds a value")
        check(not self.bench.prose or self.bench.prose not in text, f"{where} holds the server's own words")

    async def close(self) -> None:
        """Closes what was opened."""
        for provider in self.opened:
            async with asyncio.timeout(_GOODBYE_S):
                await provider.close()


class Ear(logging.Handler):
    """Hears all that is logged while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: value for name, value in vars(record).items() if name not in {"msg", "args"}}
        self.heard.append(f"{record.getMessage()} {record.args!r} {extra!r} {all_of(record.exc_info[1]) if record.exc_info else ''}")

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._level)


def all_of(told: object) -> str:
    """Its text, and that of all that hangs on it where it is an error."""
    text, seen = f"{told!r} {told}", set[int]()
    while isinstance(told, BaseException) and id(told) not in seen:
        seen.add(id(told))
        text += f" {told} {told.args!r} {vars(told)!r} {getattr(told, '__notes__', '')}"
        told = told.__cause__ or told.__context__
    return text


def forms(mark: str) -> tuple[str, ...]:
    """How a text can be written: as it is, in hex, for a URL, and in base64 wherever it begins there."""
    raw = mark.encode()
    encoded = (base64.b64encode(b"\0" * shift + raw).decode()[4 if shift else 0 : -4] for shift in range(3))
    return (mark, raw.hex(), quote(mark, safe=""), *encoded)


@dataclass(frozen=True)
class Case:
    """One promise. ``claim`` is it in words; ``unless`` is a `Cap` with which another case stands for it."""

    name: str
    claim: str
    run: Callable[[Trial], Awaitable[None]] = field(repr=False)
    caps: Cap = Cap.GET
    needs: tuple[Need, ...] = ()
    unless: Cap = NONE

    def __str__(self) -> str:
        return self.name


def case(name: str, *needs: Need, caps: Cap = Cap.GET, unless: Cap = NONE) -> Callable[[Callable[[Trial], Awaitable[None]]], Case]:
    """Makes a case of a function, whose docstring is the claim."""

    def made(run: Callable[[Trial], Awaitable[None]]) -> Case:
        return Case(name, (run.__doc__ or "").strip(), run, Cap.GET | caps, needs, unless)

    return made


def excuse(cap: Cap, bench: Bench) -> str:
    """Why a provider may lack a cap; raises `BrokenPromise` where no reason is given."""
    reasons = [f"no Cap.{each.name}: {bench.lacks[each]}" for each in cap if each in bench.lacks]
    if not reasons:
        broken(f"{type(bench).__name__} is without {cap}, and does not say in `lacks` why")
    return reasons[0]


def check_fit(case: Case, caps: Cap, bench: Bench) -> None:
    """Raises `Skipped` where a case is not for this provider, and `BrokenPromise` where nobody says why."""
    for cap in Cap:
        check(not (cap in caps and cap in bench.lacks), f"`lacks` excuses Cap.{cap.name}, which the provider has")
    check_excuses(case, bench)
    for each in case.unless:
        if each in caps:
            raise Skipped(f"it has Cap.{each.name}")
    for each in case.caps:
        if each not in caps:
            raise Skipped(excuse(each, bench))


def check_excuses(case: Case, bench: Bench) -> None:
    """Raises `Skipped` for what stands in ``lacks``; that no `Cap` stands there wrongly is checked where a case is played."""
    for cap in case.caps:
        if cap in bench.lacks:
            raise Skipped(excuse(cap, bench))
    for need in case.needs:
        if need in bench.lacks:
            raise Skipped(bench.lacks[need])


async def settled(before: set[asyncio.Task[Any]]) -> None:
    """Fails where tasks are left of what was opened."""
    for _ in range(20):
        if not asyncio.all_tasks() - before:
            return
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before
    for task in left:
        task.cancel()
    await asyncio.wait(left, timeout=_GOODBYE_S)
    broken(f"tasks are left after close: {', '.join(sorted(task.get_name() for task in left))}")
