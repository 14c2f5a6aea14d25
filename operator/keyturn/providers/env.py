"""Secrets from the environment of the process: prefix + key as written.

A process's environment is what it was started with, so it is read once, and only what carries the
prefix is kept. Does not judge the prefix: the operator's rules are ``decide/reach.py``, and in the
library an empty prefix is fine.
"""

import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from keyturn.model.errors import Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import Cap, Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive


class EnvProvider:
    """Reads variables. There are no versions, and a change needs a restart of the process."""

    caps: Final = Cap.GET | Cap.GET_MANY | Cap.LIST | Cap.LIST_HAS_VERSION

    def __init__(self, prefix: str, environ: Mapping[bytes, bytes] | None = None) -> None:
        self._prefix = prefix
        self._values: Mapping[str, Value] | None = {
            name: Value(Sensitive(data))
            for name, data in ((os.fsdecode(raw), data) for raw, data in (os.environb if environ is None else environ).items())
            if name.startswith(prefix)
        }
        # The values are constant for this process, and may differ in the next.
        self._fingerprint = secrets.token_hex(8)

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        values = self._open()
        return {ref: self._get(values, ref) for ref in refs}

    def _get(self, values: Mapping[str, Value], ref: SourceRef) -> Value | ProviderError:
        if ref.version:
            return Invalid(f"{ref.key}: environment variables have no versions; leave version out")
        if not ref.key or "=" in ref.key or "\0" in ref.key:
            return Invalid(f"{ref.key!r} cannot be the name of an environment variable")
        name = self._prefix + ref.key
        return values.get(name) or NotFound(f"the environment has no variable {name}")

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        for name in self._open():
            key = name.removeprefix(self._prefix)
            if key and key.startswith(prefix):
                yield Meta(key, self._fingerprint)

    async def validate(self) -> None:
        self._open()

    async def close(self) -> None:
        self._values = None

    def _open(self) -> Mapping[str, Value]:
        if self._values is None:
            raise Unavailable("the provider is closed")
        return self._values
