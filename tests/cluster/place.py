"""A namespace in which things are that provider objects refer to, and an ear for who is told of their changes."""

import asyncio
import functools
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from cluster.api import Api, Json
from cluster.audit import events
from cluster.shop import encoded
from controlplane.plane import ControlPlane
from keyturn.kube.client import Client
from keyturn.kube.references import Holder, ReferenceWatches
from keyturn.model.ids import Carrier, KeyRef, Kind, ObjectRef

LIMIT_S = 25.0  # five times what is promised


@dataclass(slots=True)
class Place:
    """A namespace of the test's own, and ways to put things there."""

    api: Api
    plane: ControlPlane
    name: str = field(default_factory=lambda: f"refs-{secrets.token_hex(4)}")

    def ref(self, name: str = "login", key: str = "token", carrier: Carrier = Carrier.SECRET) -> KeyRef:
        return KeyRef(carrier, self.name, name, key)

    def who(self, name: str = "vault") -> ObjectRef:
        return ObjectRef(Kind.SECRET_PROVIDER, self.name, name)

    def make(self, value: str, name: str = "login", kind: str = "Secret") -> Json:
        data = {"token": value} if kind == "ConfigMap" else encoded(token=value)
        return self.api.create({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": self.name}, "data": data})

    def change(self, value: str, name: str = "login", kind: str = "Secret") -> Json:
        return self.api.merge(kind, self.name, name, {"data": {"token": value} if kind == "ConfigMap" else encoded(token=value)})

    def label(self, value: str, name: str = "login") -> Json:
        return self.api.merge("Secret", self.name, name, {"metadata": {"labels": {"looked-at": value}}})

    def remove(self, name: str = "login", kind: str = "Secret") -> None:
        self.api.delete(kind, self.name, name)

    def watches(self, name: str, since: int) -> tuple[int, int]:
        """How many watches of one object were opened since a mark, and how many of them have ended."""
        ours = [e for e in events(self.plane, since) if e["verb"] == "watch" and e.get("objectRef", {}).get("namespace") == self.name]
        named = [e for e in ours if e["objectRef"].get("name") == name]
        return len({e["auditID"] for e in named}), len({e["auditID"] for e in named if e["stage"] == "ResponseComplete"})


@dataclass(slots=True)
class Ear:
    """Hears who is told of a change."""

    told: asyncio.Queue[ObjectRef] = field(default_factory=asyncio.Queue)

    async def hears(self) -> ObjectRef:
        async with asyncio.timeout(LIMIT_S):
            return await self.told.get()

    @property
    def is_quiet(self) -> bool:
        return self.told.empty()


def following(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """For a test that follows something: it ends what it began."""

    @functools.wraps(test)
    async def run(**given: Any) -> None:
        try:
            await test(**given)
        finally:
            await (given.get("watches") or given["through"]).close()

    return run


async def until(claim: Callable[[], object], what: str) -> None:
    """Until it holds: what it looks at is told by nobody."""
    deadline = time.monotonic() + LIMIT_S
    while not claim():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.02)


async def closed(client: Client) -> None:
    """Ends a client of this loop, whose end waits for no TLS: one connection that was cancelled as it came up says farewell yet."""
    await client.close()
    transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]  # nothing public tells
    await until(lambda: all(each._sock is None for each in transports.values()), "its connections are closed")


async def seen(watches: ReferenceWatches, ref: KeyRef, made: Json | None) -> None:
    """Until an object was seen as it was answered to its writer, or missing."""
    version = made["metadata"]["resourceVersion"] if made else ""

    def has_seen() -> bool:
        state = watches._followed[Holder.of(ref)].seen
        return state is not None and state.version == version

    await until(has_seen, f"{ref} seen at {version or 'its absence'}")
