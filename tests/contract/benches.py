"""What benches of ours share: servers that are silent or away, and providers dressed in something, such as their guard or a fault."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from keyturn.ports import Provider
from keyturn.providers.guard import Guard
from keyturn.providers.guarded_writer import GuardedWriter
from keyturn.testing.provider_suite import Bench, Who

Dress = Callable[[Provider], Provider]


class Gone(Protocol):
    """What stands for a server."""

    def hush(self) -> None: ...

    def speak(self) -> None: ...

    async def leave(self) -> None: ...

    async def listen(self) -> None: ...


class Fronted(Bench):
    """A bench whose providers ask at a front."""

    _front: Gone

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        self._front.hush()
        yield
        self._front.speak()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        await self._front.leave()
        yield
        await self._front.listen()


class Dressed(Bench):
    """A bench that opens what another one opens, in a dress."""

    def __init__(self, bench: Bench, dress: Dress) -> None:
        self._bench, self._dress = bench, dress

    def __getattribute__(self, name: str) -> Any:
        own = {"_bench", "_dress", "open", "__class__"}
        return object.__getattribute__(self, name) if name in own else getattr(object.__getattribute__(self, "_bench"), name)

    async def open(self, who: Who = Who.OURS) -> Provider:
        return self._dress(await self._bench.open(who))


def guarded(provider: Provider) -> Provider:
    """As the registry builds it for access ReadWrite."""
    return GuardedWriter(provider) if hasattr(provider, "put") else Guard(provider)
