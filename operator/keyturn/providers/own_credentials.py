"""What the default provider logs in with: from variables, taken when the process began, and from files, as they are now.

The port `References` for the one provider that no object of the cluster stands for. Holds nothing of what it read from files.
"""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from keyturn.model.errors import AuthFailed
from keyturn.model.ids import Carrier, KeyRef, ObjectRef
from keyturn.model.sensitive import Sensitive

LARGEST: Final = 1 << 20
"""Bytes of a file, as many as a Secret holds."""


class OwnCredentials:
    """``given`` are those that came by variables."""

    def __init__(self, given: Mapping[KeyRef, Sensitive]) -> None:
        self._given = given

    async def read(self, ref: KeyRef) -> Sensitive:
        if ref.carrier is Carrier.FILE:
            return await asyncio.to_thread(_content, ref)
        if ref not in self._given:
            raise AuthFailed(f"{ref} has no {ref.key}")
        return self._given[ref]

    def follow(self, who: ObjectRef, refs: Collection[KeyRef]) -> None:
        """Nothing tells of a new file: it is read again by the next log-in."""


def _content(ref: KeyRef) -> Sensitive:
    try:
        with Path(ref.name).open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError:
        content = None
    if content is None:
        raise AuthFailed(f"{ref}, which {ref.key} names, cannot be read")
    if len(content) > LARGEST:
        raise AuthFailed(f"{ref}, which {ref.key} names, is larger than {LARGEST >> 20} MiB")
    return Sensitive(content.strip())
