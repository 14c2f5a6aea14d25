"""Providers that hold what a test puts into them, and fail as it says."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from keyturn.model.errors import KeyturnError, NotFound, ProviderError, Unavailable
from keyturn.model.ids import KeyRef, ObjectRef
from keyturn.model.material import Cap, Meta, SourceRef, Survey, Value
from keyturn.model.order import FileConfig, ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.model.vault import TokenLogin, VaultConfig
from keyturn.ports import Provider
from keyturn.testing.records import Tape


@dataclass(slots=True)
class FakeSource:
    """What one provider holds. ``down`` fails every call; an error in ``values`` fails that key; ``refused`` fails the opening.

    ``is_surveyed``: it can tell by one call what changed; ``unlisted`` references are left out of that, ``others`` says how many
    more lie where a reference does, ``denied`` fails it, and ``prints`` are fingerprints that do not follow their values.
    """

    values: dict[str, str | ProviderError] = field(default_factory=dict)
    down: ProviderError | None = None
    refused: KeyturnError | None = None
    calls: list[tuple[SourceRef, ...]] = field(default_factory=list)
    log_ins: int = 0
    is_surveyed: bool = False
    unlisted: set[str] = field(default_factory=set)
    others: dict[str, int] = field(default_factory=dict)
    denied: ProviderError | None = None
    prints: dict[str, str] = field(default_factory=dict)
    surveys: list[tuple[SourceRef, ...]] = field(default_factory=list)

    def answer(self, ref: SourceRef) -> Value | ProviderError:
        found = self.values.get(str(ref))
        if found is None:
            return NotFound(f"there is no {ref}")
        if isinstance(found, ProviderError):
            return found
        fingerprint = self.prints.get(str(ref), sha256(found.encode()).hexdigest()) if self.is_surveyed else ""
        return Value(Sensitive.of(found), ref.version, fingerprint=fingerprint)

    def survey(self, refs: Sequence[SourceRef]) -> Survey:
        told = {ref: answer for ref in refs if str(ref) not in self.unlisted and isinstance(answer := self.answer(ref), Value)}
        return Survey(
            {ref: value.fingerprint for ref, value in told.items()}, len(told) + sum(self.others.get(str(ref), 0) for ref in refs)
        )


@dataclass(slots=True)
class FakeSourceProvider:
    """The port `Provider` over a `FakeSource`."""

    name: str
    source: FakeSource
    tape: Tape
    is_closed: bool = False

    @property
    def caps(self) -> Cap:
        caps = Cap.GET | Cap.GET_MANY | Cap.LIST
        return caps | Cap.SURVEY if self.source.is_surveyed else caps

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        self._check()
        self.tape.note("fetch", f"{self.name} {','.join(map(str, refs))}")
        self.source.calls.append(tuple(refs))
        if self.source.down is not None:
            raise self.source.down
        return {ref: self.source.answer(ref) for ref in refs}

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        self._check()
        self.tape.note("survey", self.name)
        self.source.surveys.append(tuple(refs))
        if failure := self.source.down or self.source.denied:
            raise failure
        return self.source.survey(refs)

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        self._check()
        for key in self.source.values:
            if key.startswith(prefix):
                yield Meta(key)

    async def validate(self) -> None:
        self._check()
        self.source.log_ins += 1
        if self.source.down is not None:
            raise self.source.down

    async def close(self) -> None:
        self.is_closed = True

    def _check(self) -> None:
        if self.is_closed:
            raise Unavailable("the provider is closed")


@dataclass(slots=True)
class FakeProviderSource:
    """The port `Providers`: the path of a file provider's spec names the `FakeSource`, or the Secret with the token of a Vault's.

    ``followed`` are the Secrets on behalf of each provider object.
    """

    tape: Tape
    sources: dict[str, FakeSource] = field(default_factory=dict)
    opened: list[FakeSourceProvider] = field(default_factory=list)
    followed: dict[ObjectRef, frozenset[KeyRef]] = field(default_factory=dict)
    wrap: Callable[[Provider], Provider] = lambda provider: provider

    def open(self, order: ProviderOrder, ref: ObjectRef) -> Provider:
        name = _name_of(order)
        source = self.sources.setdefault(name, FakeSource())
        if source.refused is not None:
            raise source.refused
        self.followed[ref] = frozenset() if order.is_per_reader else order.references
        made = FakeSourceProvider(name, source, self.tape)
        self.opened.append(made)
        return self.wrap(made)

    def forget(self, ref: ObjectRef) -> None:
        self.followed.pop(ref, None)


def _name_of(order: ProviderOrder) -> str:
    match order.config:
        case FileConfig(path):
            return path
        case VaultConfig(login=TokenLogin(token)):
            return str(token)
    raise AssertionError("the fake knows a file provider, and a Vault with a token, alone")
