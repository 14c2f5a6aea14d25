"""Providers that break one promise each, so that the suite is proven to notice: a case that no mutant fails proves nothing.

A mutant is a provider that is right but for one thing, most of them the fake one. `breaks` names the case that has to fail on it,
and which others may not help doing so; ANY where the promise is one on which all cases stand.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from contract.harness_env import PREFIX, EnvBench
from contract.harness_fake import FakeBench
from keyturn.model.errors import ProviderError
from keyturn.model.material import Cap, SourceRef, Survey, Value
from keyturn.ports import Provider
from keyturn.providers.env import EnvProvider
from keyturn.testing.fake_server import FakeClient
from keyturn.testing.provider_suite import CASES, Bench, BrokenPromise, Case, Need, Skipped, Who, prove

Answers = Mapping[SourceRef, Value | ProviderError]

ANY: Final = frozenset({"*"})

_T = TypeVar("_T", bound=type[Provider])


@dataclass(frozen=True, slots=True)
class Mutant:
    """A provider's class, the case that fails on it, and those that do so too."""

    broken: type[Provider]
    case: str
    also: frozenset[str]

    def __str__(self) -> str:
        return f"{self.case}: {self.broken.__name__}"

    @property
    def bench(self) -> Bench:
        """A new bench, which opens it."""
        return bench_of(self.broken)


MUTANTS: Final[list[Mutant]] = []


def breaks(case: str, *also: str) -> Callable[[_T], _T]:
    """Registers a provider as one that breaks the promise of this case."""

    def registered(broken: _T) -> _T:
        MUTANTS.append(Mutant(broken, case, frozenset(also)))
        return broken

    return registered


class MutantBench(FakeBench):
    """The fake's, which opens a variant of it."""

    patience_s = 2.0
    mark = "kt-mutant"  # some of them leak, and must: the canary does not look for these

    def __init__(self, kind: type[FakeClient]) -> None:
        super().__init__()
        self._kind = kind

    async def open(self, who: Who = Who.OURS) -> Provider:
        return self._kind(self.server, is_known=who is Who.OURS)


class Surveying(FakeClient):
    """The fake with surveys."""

    caps: Final = ~Cap(0)  # type: ignore[misc]  # one more than its base

    async def get_many(self, refs: Sequence[SourceRef]) -> Answers:
        answers = await super().get_many(refs)
        return {ref: _printed(found) if isinstance(found, Value) else found for ref, found in answers.items()}

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        answers = await self.get_many(refs)
        prints = {ref: found.fingerprint for ref, found in answers.items() if isinstance(found, Value)}
        return Survey(prints, len((await self._store()).keys))


def _printed(value: Value) -> Value:
    return Value(value.data, value.version, value.updated, f"at {value.updated}")


class SurveyBench(MutantBench):
    lacks: Mapping[Cap | Need, str] = {}


class MutantEnvBench(EnvBench):
    """The env provider's."""

    def __init__(self, kind: type[EnvProvider]) -> None:
        super().__init__()
        self._kind = kind

    async def open(self, who: Who = Who.OURS) -> Provider:
        return self._kind(PREFIX, dict(self._environ))


def bench_of(kind: type[Provider]) -> Bench:
    """The bench for a provider or a variant of it."""
    if issubclass(kind, EnvProvider):
        return MutantEnvBench(kind)
    assert issubclass(kind, FakeClient)
    return SurveyBench(kind) if issubclass(kind, Surveying) else MutantBench(kind)


def failing(make: Callable[[], Bench]) -> dict[str, str]:
    """The cases that fail on such a bench, each with how."""
    found: dict[str, str] = {}
    for case in CASES:
        told = verdict(case, make())
        if told:
            found[case.name] = told
    return found


def verdict(case: Case, bench: Bench) -> str:
    """How a case failed; '' where it passed or was left out."""
    try:
        prove(case, bench)
    except Skipped:
        return ""
    except BrokenPromise as broken:
        return str(broken)
    except Exception as error:  # noqa: BLE001  # whatever a broken provider raises fails the case
        return repr(error)
    return ""
