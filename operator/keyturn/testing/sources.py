"""Providers that hold what a test puts into them, and fail as it says."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from keyturn.model.errors import KeyturnError, NotFound, ProviderError, Unavailable
from keyturn.model.ids import ObjectRef
from keyturn.model.material import Cap, Meta, SourceRef, Value
from keyturn.model.order import FileConfig, ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Provider
from keyturn.testing.records import Tape


@dataclass(slots=True)
class FakeSource:
    """What one provider holds. ``down`` fails every call; an error in ``values`` fails that key; ``refused`` fails the opening."""

    values: dict[str, str | ProviderError] = field(default_factory=dict)
    down: ProviderError | None = None
    refused: KeyturnError | None = None
    calls: list[tuple[SourceRef, ...]] = field(default_factory=list)
    log_ins: int = 0

    def answer(self, ref: SourceRef) -> Value | ProviderError:
        found = self.values.get(str(ref))
        if found is None:
            return NotFound(f"there is no {ref}")
        return found if isinstance(found, ProviderError) else Value(Sensitive.of(found), ref.version)


@dataclass(slots=True)
class FakeSourceProvider:
    """The port `Provider` over a `FakeSource`."""

    name: str
    source: FakeSource
    tape: Tape
    is_closed: bool = False

    @property
    def caps(self) -> Cap:
        return Cap.GET | Cap.GET_MANY | Cap.LIST

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        self._check()
        self.tape.note("fetch", f"{self.name} {','.join(map(str, refs))}")
        self.source.calls.append(tuple(refs))
        if self.source.down is not None:
            raise self.source.down
        return {ref: self.source.answer(ref) for ref in refs}

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
    """The port `Providers`: the path of a file provider's spec names the `FakeSource`."""

    tape: Tape
    sources: dict[str, FakeSource] = field(default_factory=dict)
    opened: list[FakeSourceProvider] = field(default_factory=list)
    wrap: Callable[[Provider], Provider] = lambda provider: provider

    def open(self, order: ProviderOrder, ref: ObjectRef) -> Provider:
        _ = ref
        config = order.config
        assert isinstance(config, FileConfig), "the fake knows providers with a file config alone"
        source = self.sources.setdefault(config.path, FakeSource())
        if source.refused is not None:
            raise source.refused
        made = FakeSourceProvider(config.path, source, self.tape)
        self.opened.append(made)
        return self.wrap(made)

    def forget(self, ref: ObjectRef) -> None:
        _ = ref
