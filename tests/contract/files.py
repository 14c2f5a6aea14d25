"""Builders for tests of the file provider."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from keyturn.decide.reach import Reach, check_file_path
from keyturn.model.errors import ProviderError
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import FileFormat
from keyturn.providers.file import FileProvider
from keyturn.providers.file_writer import FileWriter

OUTSIDE = b"kt-canary-outside"


def provider(root: Path, path: str = ".", file_format: FileFormat = FileFormat.DIRECTORY, *, closed: tuple[str, ...] = ()) -> FileProvider:
    reach = Reach(file_roots=(str(root),), closed_folders=closed)
    return FileProvider(check_file_path(path, reach), file_format, reach)


def writer(root: Path, path: str = ".") -> FileWriter:
    reach = Reach(file_roots=(str(root),))
    return FileWriter(check_file_path(path, reach), reach)


def in_shop(shop: Path, path: str = "shop", file_format: FileFormat = FileFormat.DIRECTORY) -> FileProvider:
    """The provider of the fixture ``shop``."""
    return provider(shop.parent, path, file_format)


async def answers(source: FileProvider, *keys: str) -> Mapping[str, bytes | ProviderError]:
    found = await source.get_many([SourceRef(key) for key in keys])
    return {ref.key: answer.data.reveal() if isinstance(answer, Value) else answer for ref, answer in found.items()}


async def answer(source: FileProvider, key: str) -> bytes | ProviderError:
    return (await answers(source, key))[key]


def aged(path: Path, seconds: float = 60.0) -> Path:
    """Makes a file look as if it had been there for a while."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def mount(folder: Path, generation: str, files: Mapping[str, bytes]) -> None:
    """Puts files into ``folder`` as kubelet mounts a volume: all of them change by one rename."""
    data = folder / f"..{generation}"
    for name, content in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    swap = folder / "..data_tmp"
    swap.symlink_to(data.name)
    swap.rename(folder / "..data")
    for name in {name.split("/", 1)[0] for name in files}:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


def all_that_hangs_on(error: BaseException | None) -> str:
    """The text of an error and of all that it holds: causes, contexts, attributes."""
    text = ""
    while error is not None:
        text += f"{error} {error.args!r} {vars(error)!r} "
        error = error.__cause__ or error.__context__
    return text
