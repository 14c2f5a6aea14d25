"""The benches of the file provider: a folder of values, and documents of them."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from contract.files import aged, provider, writer
from keyturn.model.material import CURRENT, PENDING, Cap
from keyturn.model.order import FileFormat
from keyturn.ports import Provider
from keyturn.providers.file_sources import KEPT, MAX_BYTES
from keyturn.testing.provider_suite import Bench, Need, Who

_NO_SERVER = "there is no server, and so nothing of the kind"
_TEXT = "a document holds text"
_NOBODY = 65534

_LACKS: dict[Cap | Need, str] = {
    Cap.VERSIONS: "a file is what it is now",
    Cap.STAGE: "a file is what it is now",
    Cap.TAGS: "a file has no tags",
    Cap.SURVEY: "a read costs no more than a look",
    Cap.PUT: "a document is whoever's who wrote it",
    Need.SOFT_DELETE: "a file that is deleted is gone",
    Need.DISABLE: "a file is there or not",
    Need.HANG: "needs a file system that hangs; calls are given up by their deadline",
    **dict.fromkeys((Need.LOG_IN, Need.EXPIRY, Need.THROTTLE, Need.FAIL, Need.LOSE), _NO_SERVER),
}


class FolderBench(Bench):
    """A folder of files, and a writer of it."""

    lacks: Mapping[Cap | Need, str] = {
        **{each: why for each, why in _LACKS.items() if each not in {Cap.PUT, Cap.STAGE}},
        Cap.VERSIONS: "a file keeps what is current, what was before it, and what waits: stages, and no list of versions",
    }
    most_bytes = MAX_BYTES

    async def start(self) -> None:
        self._made = TemporaryDirectory()
        self._root = Path(self._made.name)
        self._root.chmod(0o755)
        self._store = self._root / "store"
        self._begin()
        self._is_nobody = False

    def _begin(self) -> None:
        self._store.mkdir()

    async def stop(self) -> None:
        if self._is_nobody:
            os.seteuid(0)
        self._made.cleanup()

    async def open(self, who: Who = Who.OURS) -> Provider:
        return writer(self._root, "store")

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        path = self._store / key
        kept = path.parent / KEPT
        if stage == PENDING:
            _write(kept / f"{path.name}.pending", data)
        else:
            if path.exists():
                _write(kept / f"{path.name}.previous", path.read_bytes())
            _write(path, data)
        return ""

    async def remove(self, key: str) -> None:
        (self._store / key).unlink()

    async def deny(self, key: str) -> None:
        if os.geteuid() == 0:
            for path in (self._store, *self._store.rglob("*")):
                os.chown(path, _NOBODY, _NOBODY)
            os.chown(self._store / key, 0, 0)
        (self._store / key).chmod(0)
        self._become_nobody()

    def _become_nobody(self) -> None:
        """Root may read everything."""
        if os.geteuid() == 0:
            os.seteuid(_NOBODY)
            self._is_nobody = True

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """The volume is not mounted."""
        hidden = self._store.rename(self._root / "hidden")
        yield
        hidden.rename(self._store)


class DocumentBench(FolderBench):
    """One document of this format, with all values in it."""

    def __init__(self, file_format: FileFormat) -> None:
        self._format = file_format
        self._members: dict[str, str] = {}
        self.lacks = _LACKS | {
            Need.BINARY: _TEXT,
            Need.NOT_UTF8: _TEXT,
            Need.OVERSIZE: "a document that is too large is so for all of its keys",
            Need.DENY: "who may read a document may read all of it",
        }
        if file_format is FileFormat.DOTENV:
            self.lacks = {**self.lacks, Need.SLASH: "no name of a variable has it"}

    def _begin(self) -> None:
        """A document is there once it holds something."""

    async def open(self, who: Who = Who.OURS) -> Provider:
        return provider(self._root, "store", self._format)

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        self._members[key] = data.decode()
        self._save()
        return ""

    async def remove(self, key: str) -> None:
        del self._members[key]
        self._save()

    def _save(self) -> None:
        if self._format is FileFormat.DOTENV:
            text = "".join(f'{key}="{_escaped(member)}"\n' for key, member in self._members.items())
        else:
            text = json.dumps(self._members, ensure_ascii=False)  # which is YAML too
        aged(_write(self._store, text.encode()))


def _write(path: Path, data: bytes) -> Path:
    """All at once, as those do who write secrets with care."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name("..new")
    new.write_bytes(data)
    return new.rename(path)


def _escaped(text: str) -> str:
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("$", "\\$"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return text
