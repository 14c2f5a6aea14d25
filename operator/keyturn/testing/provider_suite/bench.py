"""What the suite needs to know of the other side: a bench that a provider is put on."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Never

from keyturn.model.material import CURRENT, Cap
from keyturn.ports import Provider


class Need(Enum):
    """What a case needs that is no `Cap`: something that a bench can do, or that a store can hold."""

    CHANGE = "a value that changes, or goes, while a provider is open"
    SOFT_DELETE = "deletion from which a value can come back: `remove`"
    DISABLE = "values that can be switched off: `disable`"
    DENY = "rights for each key: `deny`"
    LOG_IN = "a log-in that can be wrong: `open(Who.STRANGER)`"
    EXPIRY = "a log-in that ends: `expire`"
    THROTTLE = "a server that asks for a pause: `throttled`"
    HANG = "a server that can be silent: `hanging`"
    FAIL = "a server that can fail: `failing`"
    REFUSE = "a server that can be away: `away`"
    LOSE = "a server whose answers can be lost on the way: `losing_answers`"
    OVERSIZE = "a limit to the size of a value: `most_bytes`"
    BINARY = "values of any bytes"
    NOT_UTF8 = "values that are no UTF-8"
    EMPTY = "values of no bytes"
    SLASH = "keys with /"
    DOT = "keys with ."
    UNDERSCORE = "keys with _"
    HYPHEN = "keys with -"
    CAPITALS = "keys with capital letters"
    MEMORY = "a store that knows a put by its token after its key was deleted"
    PROPERTY = "values that are JSON objects"


class Who(Enum):
    """As whom a provider is opened."""

    OURS = "may read and write all that was not denied"
    STRANGER = "comes with a credential that is wrong"


class Bench:
    """The other side of one provider, for one case: inherit, and write what your store can do.

    What it cannot do stands in ``lacks`` with the reason, which the table of docs/providers/contract-table.md shows. A case is left
    out for that alone; a `Cap` that the provider has excuses nothing.
    """

    lacks: Mapping[Cap | Need, str] = {}
    no_version: str = "999"
    """What could name a version, and names none."""
    most_bytes: int = 1 << 20
    """The size of the largest value that the provider takes."""
    pause_s: int = 30
    """What `throttled` says in Retry-After."""
    patience_s: float = 30.0
    """How long a case may last."""
    mark: str = "kt-canary"
    """What the values of the suite begin with, for whoever looks for them elsewhere too."""
    prose: str = ""
    """What a server that fails says in its own words: no error may repeat it."""

    async def start(self) -> None:
        """Comes before all else, in the loop in which the provider will run."""

    async def stop(self) -> None:
        """Comes last; every provider is closed by then."""

    async def open(self, who: Who = Who.OURS) -> Provider:
        """A new provider, bare. It sees what was seeded before; what comes later too, unless `Need.CHANGE` is lacking."""
        raise NotImplementedError

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        """Puts a new version there by other means than the provider, and gives its name, '' where versions have none."""
        raise NotImplementedError

    def value(self, text: str) -> bytes:
        """A value as the store holds it, in which ``text`` is."""
        return text.encode()

    def stage(self, stage: str) -> str:
        """What a reference's version is to read a stage of `material`."""
        return stage

    async def remove(self, key: str) -> None:  # noqa: ARG002  # for those who inherit
        """Takes it away as a user does; softly, where the store knows that."""
        self._lacking(Need.SOFT_DELETE)

    async def disable(self, key: str) -> None:  # noqa: ARG002  # for those who inherit
        """Switches it off."""
        self._lacking(Need.DISABLE)

    async def deny(self, key: str) -> None:  # noqa: ARG002  # for those who inherit
        """From now on we may neither read nor write it."""
        self._lacking(Need.DENY)

    async def expire(self) -> None:
        """Ends the log-in of every provider that is open; the credential stays good."""
        self._lacking(Need.EXPIRY)

    def throttled(self) -> AbstractAsyncContextManager[None]:
        """While it is entered, every call is answered with 429 and Retry-After: `pause_s`."""
        self._lacking(Need.THROTTLE)

    def hanging(self) -> AbstractAsyncContextManager[None]:
        """While it is entered, calls are taken and not answered."""
        self._lacking(Need.HANG)

    def failing(self) -> AbstractAsyncContextManager[None]:
        """While it is entered, every call is answered with a server's error (5xx)."""
        self._lacking(Need.FAIL)

    def away(self) -> AbstractAsyncContextManager[None]:
        """While it is entered, nobody listens: connections are refused."""
        self._lacking(Need.REFUSE)

    def losing_answers(self) -> AbstractAsyncContextManager[None]:
        """While it is entered, calls are done, and their answers do not arrive."""
        self._lacking(Need.LOSE)

    def _lacking(self, need: Need) -> Never:
        raise NotImplementedError(f"{type(self).__name__} has to bring {need.value}, or to say in `lacks` why not: Need.{need.name}")
