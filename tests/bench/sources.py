"""Where the values of a measurement are kept: files, or an OpenBao server. One key for each object."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bao import Bao
from bench import gauges
from cluster.api import Api, Json

FIELD = "password"
"""The key of each Secret."""


def new_value() -> str:
    return f"kt-canary-{secrets.token_hex(16)}"


class Source(ABC):
    """A place where secrets are kept. ``name`` stands in bench.json."""

    name: str

    @abstractmethod
    def fill(self, keys: list[str], tell: Callable[[str], None]) -> None:
        """Puts a value under each key."""

    @abstractmethod
    def change(self, key: str, value: str) -> None:
        """Replaces one value at once."""

    @abstractmethod
    def spec(self, api: Api, namespace: str) -> Json:
        """`spec.provider` of the provider object, after what it refers to was made in the namespace."""

    @abstractmethod
    def remote_ref(self, key: str) -> Json:
        """`remoteRef` for a key."""

    @abstractmethod
    def calls(self) -> int | None:
        """How many reads it was asked for so far; None where it keeps no account, and the operator's has to do."""

    @property
    @abstractmethod
    def pids(self) -> tuple[int, ...]:
        """Its processes."""


class Files(Source):
    """A folder, each file a value."""

    name = "file"

    def __init__(self, root: Path) -> None:
        self._folder = root / "bench"
        self._folder.mkdir(parents=True)

    def fill(self, keys: list[str], tell: Callable[[str], None]) -> None:
        tell(f"{len(keys)} files")
        for key in keys:
            self.change(key, new_value())

    def change(self, key: str, value: str) -> None:
        fresh = self._folder.parent / f".{key}"
        fresh.write_text(value)
        fresh.rename(self._folder / key)

    def spec(self, api: Api, namespace: str) -> Json:
        return {"file": {"path": self._folder.name, "format": "Directory"}}

    def remote_ref(self, key: str) -> Json:
        return {"key": key}

    def calls(self) -> int | None:
        return None

    @property
    def pids(self) -> tuple[int, ...]:
        return ()


class OpenBao(Source):
    """A key-value engine of version 2 and a token that may read it."""

    name = "vault"
    _MOUNT = "bench"
    _LOGIN = "bench-login"

    def __init__(self, bao: Bao) -> None:
        self._bao = bao
        bao.enable_kv(self._MOUNT)

    def fill(self, keys: list[str], tell: Callable[[str], None]) -> None:
        for done, key in enumerate(keys):
            tell(f"OpenBao: {done} of {len(keys)} keys")
            self.change(key, new_value())

    def change(self, key: str, value: str) -> None:
        self._bao.put(self._MOUNT, key, {FIELD: value})

    def spec(self, api: Api, namespace: str) -> Json:
        rules = {f"{self._MOUNT}/{part}/*": ["read", "list", "scan"] for part in ("data", "metadata", "detailed-metadata")}
        token = self._bao.token([self._bao.policy("bench", rules)], ttl="24h")
        metadata = {"name": self._LOGIN, "namespace": namespace}
        api.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token, "ca": self._bao.ca_pem.decode()}}
        )
        login = {"name": self._LOGIN, "namespace": namespace}
        return {
            "hashicorpVault": {
                "server": self._bao.url,
                "path": self._MOUNT,
                "version": "v2",
                "auth": {"tokenSecretRef": {**login, "key": "token"}},
                "caProvider": {"type": "Secret", **login, "key": "ca"},
            }
        }

    def remote_ref(self, key: str) -> Json:
        return {"key": key, "property": FIELD}

    def calls(self) -> int | None:
        return len(self._bao.asked(path=f"{self._MOUNT}/"))

    @property
    def pids(self) -> tuple[int, ...]:
        return (gauges.find("bao", self._bao.folder),)


@contextmanager
def source_of(name: str, root: Path) -> Iterator[Source]:
    """The source of that name, for as long as it is entered."""
    if name == Files.name:
        yield Files(root)
        return
    with Bao.run() as bao:
        yield OpenBao(bao)


NAMES = (Files.name, OpenBao.name)
