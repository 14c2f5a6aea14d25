"""Files that are written to anywhere, such as a database's: what of them is not as it was at the last look."""

import gzip
import hashlib
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from canary.sinks import Text

_CHUNK = 4096  # SQLite's page
_BYTES = re.compile(r"\\\\x((?:[0-9a-f]{2})+)")
_GZIP = b"\x1f\x8b"


class FolderSink:
    """All files of a folder, and of those beneath it, whose names fit. A value may lie across two chunks of which one is new."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder = folder
        self._pattern = pattern
        self._seen: dict[Path, list[bytes]] = {}

    def __call__(self) -> Iterator[Text]:
        for path in sorted(self._folder.rglob(self._pattern)):
            try:
                whole = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            except FileNotFoundError:
                continue  # a log of a database that was closed meanwhile
            yield from ((f"file {path.name}", text.decode("latin-1")) for text in self._fresh(path, _plain(whole)))

    def _fresh(self, path: Path, whole: bytes) -> Iterator[bytes]:
        chunks = [whole[begin : begin + _CHUNK] for begin in range(0, len(whole), _CHUNK)]
        before, self._seen[path] = self._seen.get(path, []), [hashlib.blake2b(chunk, digest_size=16).digest() for chunk in chunks]
        fresh = [number >= len(before) or before[number] != seen for number, seen in enumerate(self._seen[path])]
        shown = [any(fresh[max(0, number - 1) : number + 2]) for number in range(len(chunks))]
        for is_shown, numbers in groupby(range(len(chunks)), key=shown.__getitem__):
            if is_shown:
                yield b"".join(chunks[number] for number in numbers)


def dumped(dump: bytes) -> Iterator[Text]:
    """A database as its server writes it out: as it stands there, and with its bytes, which are in hex, as they are."""
    text = dump.decode(errors="replace")
    yield "a dump of the database", text
    yield "a dump of the database, bytes", _BYTES.sub(lambda found: bytes.fromhex(found[1]).decode("latin-1"), text)


def _plain(whole: bytes) -> bytes:
    return gzip.decompress(whole) if whole.startswith(_GZIP) else whole
