"""Writes to a folder of values: each by one rename, so that a reader has the old value or the new one, whatever happens meanwhile.

It keeps what is current, what was before that, and what waits; so there are stages, and no list of all versions.
"""

import errno
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from keyturn.decide.reach import Place, Reach
from keyturn.model import material
from keyturn.model.errors import AccessDenied, Conflict, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, Cap, SourceRef, Value, Version
from keyturn.model.order import FileFormat
from keyturn.model.sensitive import Sensitive
from keyturn.providers.file import FileProvider
from keyturn.providers.file_kept import Kept, opened
from keyturn.providers.file_sources import MAX_BYTES, NO_PATH, FolderSource, open_place
from keyturn.providers.file_state import DELETED, LAST, NEW, PENDING, PREVIOUS, Doing, is_found, name_of, state_beside
from keyturn.providers.put_mark import Mark, check_stage, mark

_KEPT_PUTS: Final = 64
_STAGES: Final = {material.CURRENT: "", material.PREVIOUS: PREVIOUS, material.PENDING: PENDING}
_T = TypeVar("_T")
_HEX: Final = frozenset("0123456789abcdef.x")


class FileWriter(FileProvider):
    """A `FileProvider` of a folder that is a `Writer` too."""

    def __init__(self, place: Place, reach: Reach) -> None:
        super().__init__(place, FileFormat.DIRECTORY, reach)
        self._source = self._folder = Folder(place, reach)

    @property
    def caps(self) -> Cap:
        return super().caps | Cap.PUT | Cap.CAS | Cap.DELETE | Cap.UNDELETE | Cap.STAGE

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        found = dict(await super().get_many([ref for ref in refs if not ref.version]))
        for ref in refs:
            if ref.version:
                found[ref] = await self._run(self._folder.get_staged, ref)
        return found

    async def put(
        self, key: str, data: Sensitive, *, token: str, expect: str | None = None, stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        check_stage(stage)
        if tags:
            raise Invalid(f"{key}: a file has no tags; leave them out")
        return await self._run(_told, self._folder.put, key, data, token, expect, stage)

    async def promote(self, key: str, version: str) -> None:
        await self._run(_told, self._folder.promote, key, version)

    async def versions(self, key: str) -> Sequence[Version]:
        return await self._run(_told, self._folder.versions, key)

    async def delete(self, key: str, *, purge: bool = False) -> None:
        await self._run(_told, self._folder.purge if purge else self._folder.delete, key)

    async def undelete(self, key: str) -> None:
        await self._run(_told, self._folder.undelete, key)


class Folder(FolderSource):
    """The blocking half."""

    def get_staged(self, ref: SourceRef) -> Value | ProviderError:
        """A stage, or one of the versions that are kept, by its name."""
        if ref.version not in _STAGES and not _is_name(ref.version):
            return Invalid(f"{ref}: a file has the versions {', '.join(_STAGES)}, and those that a write has named; leave version out")
        if ref.version == CURRENT:
            answer = self.read([ref.key])[ref.key]
            return NotFound(f"there is no {ref}") if isinstance(answer, NotFound) else answer
        try:
            with self._kept(ref.key) as kept:
                suffix = _slot(kept, ref.version) if kept else None
                if kept is None or suffix is None:
                    return NotFound(f"{self._place.path} has no {ref}")
                return Value(Sensitive(kept.read(suffix)), kept.version(suffix), kept.created(suffix))
        except ProviderError as error:
            return error.with_traceback(None)
        except OSError as error:
            return _of_write(error, ref.key)

    def put(self, key: str, data: Sensitive, token: str, expect: str | None, stage: str) -> str:
        if len(data) > MAX_BYTES:
            raise Invalid(f"{key} is larger than 1 MiB")
        ours = mark(token, data)
        with self._kept(key, make=True) as kept:
            assert kept
            if before := kept.state.puts.get(ours.name):
                ours.check(before[0], key)
                return before[1]
            if expect is not None and expect != (current := kept.version()):
                wanted = f"version {expect} should be current" if expect else "it should not be there"
                raise Conflict(f"{key}: {wanted}, and {f'version {current} is' if current else 'it is not there'}; read it again")
            return _put(kept, data, ours, stage)

    def promote(self, key: str, version: str) -> None:
        with self._kept(key) as kept:
            suffix = _slot(kept, version) if kept and version not in _STAGES else None
            if kept is None or suffix is None:
                raise NotFound(f"{self._place.path} has no {SourceRef(key, version)}")
            if suffix:
                kept.change(Doing(suffix, has_last=kept.found() is not None), "")

    def versions(self, key: str) -> Sequence[Version]:
        with self._kept(key) as kept:
            if kept is None:
                answer = self.read([key])[key]
                if isinstance(answer, ProviderError):
                    raise answer
                return [Version(answer.version, frozenset({CURRENT}), answer.updated)]
            gone = kept.is_deleted
            slots = {PENDING: material.PENDING, "": CURRENT, DELETED: "", PREVIOUS: material.PREVIOUS}
            found = [
                Version(kept.version(suffix), frozenset({stage} if stage and not gone else ()), kept.created(suffix), not gone)
                for suffix, stage in slots.items()
                if kept.found(suffix)
            ]
        if not found:
            raise NotFound(f"{self._place.path} has no file {key!r}")
        return found

    def delete(self, key: str) -> None:
        with self._kept_of_file(key) as kept:
            if kept is None:
                return
            if kept.found():
                kept.move("", DELETED)
            if kept.found(DELETED) or kept.found(PENDING):
                kept.state.is_deleted = True
                kept.save()

    def purge(self, key: str) -> None:
        with self._kept_of_file(key) as kept:
            if kept:
                # In this order: what is left by a crash is deleted, and goes when it is purged again.
                kept.state.is_deleted = True
                kept.save()
                kept.remove("")
                kept.remove(PENDING, PREVIOUS, DELETED, NEW, LAST)
                kept.save()

    def undelete(self, key: str) -> None:
        with self._kept(key) as kept:
            if kept is None or not (kept.found() or kept.found(DELETED) or kept.found(PENDING)):
                raise NotFound(f"{self._place.path} has nothing of {key!r} that could come back")
            if not kept.found() and kept.found(DELETED):
                kept.move(DELETED, "")
            if kept.state.is_deleted:
                kept.state.is_deleted = False
                kept.save()

    def _found(self, folder: int, key: str, data: bytes, found: os.stat_result) -> Value:
        value = super()._found(folder, key, data, found)
        version = name_of(state_beside(folder, key), found)
        # What has been replaced meanwhile may have lost its name.
        return Value(value.data, version if is_found(folder, key, found) else "", value.updated)

    @contextmanager
    def _kept(self, key: str, *, make: bool = False) -> Iterator[Kept | None]:
        if not self.is_key(key):
            raise Invalid(f"{key!r} {NO_PATH}")
        if any(part.startswith("..") for part in key.split("/")):
            raise Invalid(f"{key!r} is no path that is written beneath the provider's folder; begin no part of it with '..'")
        with open_place(self._place, self._reach) as folder, opened(folder, key, make=make) as kept:
            yield kept

    @contextmanager
    def _kept_of_file(self, key: str) -> Iterator[Kept | None]:
        """For a deletion: of a file that somebody else made, too."""
        with open_place(self._place, self._reach) as folder:
            is_there = self.is_key(key) and is_found(folder, key)
        with self._kept(key, make=is_there) as kept:
            yield kept


def _told(work: Callable[..., _T], key: str, *more: object) -> _T:
    """Does it, and tells of what the system refuses in our words."""
    try:
        return work(key, *more)
    except OSError as error:
        problem = _of_write(error, key)
    raise problem  # here, where no library's text hangs on it


def _put(kept: Kept, data: Sensitive, ours: Mark, stage: str) -> str:
    """Writes a new version. What was deleted before is gone then."""
    version = secrets.token_hex(16)
    is_deleted, has_last = kept.is_deleted, stage == CURRENT and kept.found() is not None
    newer = list(kept.state.puts.items())[-_KEPT_PUTS + 1 :]
    kept.state.puts = dict(newer) | {ours.name: (ours.seal, version)}
    target = "" if stage == CURRENT else PENDING
    clean = [each for each in (DELETED, PREVIOUS, PENDING) if each != target] if is_deleted else []
    try:
        kept.write(NEW, data.reveal(), version)
        kept.change(Doing(NEW, has_last, clean, ours.name), target)
    except (OSError, ProviderError):
        kept.give_up()
        raise
    return version


def _slot(kept: Kept, version: str) -> str | None:
    """Where a stage, or a version, is; None where it is nowhere."""
    if kept.is_deleted:
        return None
    if version in _STAGES:
        return _STAGES[version] if kept.found(_STAGES[version]) else None
    return next((suffix for suffix in _STAGES.values() if kept.version(suffix) == version), None) if version else None


def _is_name(version: str) -> bool:
    """Says that this can be a version's name: as no other names are, so that a number is not taken for one that is gone."""
    return len(version) >= 20 and set(version) <= _HEX


def _of_write(error: OSError, key: str) -> ProviderError:
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessDenied(f"{key} may not be written by the operator")
        case errno.EXDEV | errno.ELOOP:
            return Invalid(f"{key} is, or is behind, a link: whoever made it is the one who writes it")
        case errno.ENOTDIR | errno.EISDIR | errno.ENAMETOOLONG | errno.EINVAL:
            return Invalid(f"{key} is no name for a file here: too long, or a folder, or beneath a file")
        case errno.ENOSPC | errno.EDQUOT:
            return Unavailable(f"{key} cannot be written: no space is left")
        case _:
            return Unavailable(f"{key} cannot be written ({errno.errorcode.get(error.errno or 0, 'unknown error')})")
