"""Secrets that stand in the provider object itself, for development and tests: nothing here is secret."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from keyturn.model.errors import NotFound, ProviderError, Unavailable
from keyturn.model.material import Cap, Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive


class FakeProvider:
    """Answers from a mapping. The newest of a key is its entry without version, else its last one."""

    caps: Final = Cap.GET | Cap.GET_MANY | Cap.LIST | Cap.LIST_HAS_VERSION | Cap.VERSIONS

    def __init__(self, data: Mapping[SourceRef, Sensitive]) -> None:
        values = {ref: Value(secret, ref.version) for ref, secret in data.items()}
        newest = {SourceRef(ref.key): value for ref, value in values.items()}
        self._values: Mapping[SourceRef, Value] | None = newest | values

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        values = self._open()
        return {ref: values.get(ref) or NotFound(f"the fake provider holds no {ref}") for ref in refs}

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        for ref, value in self._open().items():
            if not ref.version and ref.key.startswith(prefix):
                yield Meta(ref.key, f"v{value.version}")

    async def validate(self) -> None:
        self._open()

    async def close(self) -> None:
        self._values = None

    def _open(self) -> Mapping[SourceRef, Value]:
        if self._values is None:
            raise Unavailable("the provider is closed")
        return self._values
