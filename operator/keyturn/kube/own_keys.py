"""Keys of the operator's own: each a Secret of its namespace, made once and never replaced."""

import base64
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from keyturn.kube.client import METADATA, Client
from keyturn.kube.secrets import SecretCache, collection
from keyturn.model.errors import AlreadyExists
from keyturn.model.ids import SecretRef
from keyturn.model.sensitive import Sensitive

KEY_BYTES: Final = 32
MEMBER: Final = "key"
"""What the key is filed under in its Secret."""


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """Where they are kept. All methods raise a `ClusterError`."""

    client: Client
    namespace: str

    async def find(self, name: str) -> Sensitive | None:
        """The key in the Secret of this name, b'' where it holds none under `MEMBER`; None where there is no such Secret."""
        data = await self.read(name)
        return None if data is None else data.get(MEMBER, Sensitive(b""))

    async def read(self, name: str) -> Mapping[str, Sensitive] | None:
        """All that is in the Secret of this name; None where there is none."""
        return await SecretCache(self.client).read(SecretRef(self.namespace, name))

    async def make(self, name: str, key: Sensitive | None = None) -> Sensitive | None:
        """Makes it where there is none, of random bytes if no other ``key`` is given, and gives the one that holds: another's may be first.

        None where it was deleted meanwhile.
        """
        with suppress(AlreadyExists):
            await self._create(name, key or Sensitive(secrets.token_bytes(KEY_BYTES)))
        return await self.find(name)

    async def _create(self, name: str, key: Sensitive) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "keyturn"}},
            "type": "Opaque",
            "data": {MEMBER: base64.b64encode(key.reveal()).decode()},
        }
        path, query = collection(self.namespace), {"fieldManager": "keyturn"}
        await self.client.request("POST", path, msgspec.json.encode(body), query=query, accept=METADATA, what=f"create {name}")
