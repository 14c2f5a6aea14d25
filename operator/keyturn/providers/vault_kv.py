"""Vault's two key-value engines: where a key is, and what the answer about it means.

Asks nothing: paths go out, answers come in. A value leaves here wrapped, and its bytes are those that the server wrote.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

import msgspec

from keyturn.model.errors import Invalid, NotFound, ProviderError
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.model.vault import VaultConfig
from keyturn.providers.dial import Answer
from keyturn.providers.vault_names import OURS, WAITING, is_hidden, is_staged
from keyturn.providers.vault_wire import Envelope, encode, failure, unwrap

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)

_SKEW: Final = timedelta(minutes=1)
"""How far the server's clock may be ahead of ours. What it deletes within that time is read, whatever its list says."""


class State(msgspec.Struct):
    """Of one version of a key. ``deletion_time`` is '' where none was set, and may be still to come."""

    created_time: datetime | None = None
    deletion_time: str = ""
    destroyed: bool = False
    version: int = 0
    custom_metadata: dict[str, str] | None = None

    def is_there(self, now: datetime) -> bool:
        return not self.destroyed and not _is_past(self.deletion_time, now)

    def deleted(self, now: datetime) -> datetime | None:
        """When it was deleted; None where it was not, or not yet."""
        return msgspec.convert(self.deletion_time, datetime) if _is_past(self.deletion_time, now) else None

    def named(self, number: str) -> str:
        """The version as it is there. With its time: a key that is deleted for good and made anew begins at 1 again."""
        return f"{number} of {self.created_time.isoformat() if self.created_time else ''}"


class _Data(msgspec.Struct):
    """What engine 2 says of a key when it is read."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    metadata: State | None = None

    def __repr__(self) -> str:
        return f"_Data({self.metadata})"


class _Detail(msgspec.Struct):
    """What OpenBao says of each key when it lists them in detail."""

    current_version: int = 0
    updated_time: datetime | None = None
    custom_metadata: dict[str, str] | None = None
    versions: dict[str, State] = {}


class Keys(msgspec.Struct):
    """A list of names, relative to the folder that was asked for; one that ends in a slash is a folder.

    Details stay as they came until they are asked for: to decode those of ten thousand keys at once would keep all others waiting.
    """

    keys: list[str] = []
    key_info: dict[str, msgspec.Raw] = {}

    def detail(self, name: str) -> _Detail | None:
        """What is told of a key; None where it is nothing, or not as details are."""
        try:
            return _detail.decode(self.key_info[name])
        except (KeyError, msgspec.DecodeError):
            return None


_detail: Final = msgspec.json.Decoder(_Detail)


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an engine is mounted, and which of the two it is. The mount is as users write it."""

    mount: str
    number: int
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.mount}/" + (f" in the namespace {self.namespace}" if self.namespace else "")

    def read_path(self, key: str, version: str) -> str:
        """Where a value is read."""
        mount, path = encode(self.mount, "the engine's path"), encode(key, "the key")
        return f"{mount}/data/{path}" + (f"?version={version}" if version else "") if self.number == 2 else f"{mount}/{path}"

    def data_path(self, key: str) -> str:
        """Where a new version is put."""
        return self.read_path(key, "")

    def about_path(self, key: str) -> str:
        """Where engine 2 tells of a key, and keeps its custom metadata."""
        return self.act_path("metadata", key)

    def act_path(self, act: str, key: str) -> str:
        """Where engine 2 does something to versions of a key: delete, undelete, destroy."""
        return f"{encode(self.mount, 'the path of the engine')}/{act}/{encode(key, 'the key')}"

    def list_path(self, folder: str) -> str:
        """Where the names of a folder are; '' is the top."""
        return f"{self._folder('metadata/' if self.number == 2 else '', folder)}?list=true"

    def detail_path(self, folder: str) -> str:
        """Where OpenBao tells of every key beneath a folder."""
        return f"{self._folder('detailed-metadata/', folder)}?scan=true"

    def _folder(self, kind: str, folder: str) -> str:
        path = f"{encode(folder, 'the folder')}/" if folder else ""
        return f"{encode(self.mount, 'the path of the engine')}/{kind}{path}"


def place(config: VaultConfig, key: str) -> tuple[Engine, str]:
    """The engine of a key, and the key within it. Raises `Invalid`."""
    mount, inner = (config.mount, key) if config.mount else key.partition("/")[::2]
    if not mount or not inner:
        raise Invalid(f"the key {key!r} names no engine, or nothing in it; write engine/key, or set the provider's path")
    if is_hidden(inner):
        raise Invalid(f"the folder {WAITING} holds what waits for a promotion; read the key that it waits for, with version: pending")
    return Engine(mount, config.engine, config.namespace), inner


def path_of(config: VaultConfig, ref: SourceRef) -> str:
    """Where a reference is read. Raises `Invalid`."""
    engine, inner = place(config, ref.key)
    if ref.version and engine.number == 1:
        raise Invalid(f"{ref}: engine version 1 keeps no versions; leave version out")
    if ref.version and not is_staged(ref) and not _NUMBER.fullmatch(ref.version):
        raise Invalid(f"{ref}: a version of Vault is a number from 1 on, {CURRENT}, {PREVIOUS} or {PENDING}; leave it out for the newest")
    return engine.read_path(inner, ref.version)


def value_of(config: VaultConfig, ref: SourceRef, answer: Answer) -> Value:
    """The value in an answer to a read; raises the `ProviderError` that it stands for."""
    envelope = unwrap(answer)
    if answer.status == 404:
        raise _absence(config, ref, envelope)
    if answer.status != 200:
        raise failure(answer, envelope, f"the key {ref}")
    if config.engine == 1:
        return Value(Sensitive(_object(bytes(envelope.data), ref)))
    read = _decoded(envelope)
    if read is None or read.metadata is None:
        raise Invalid(
            f"the engine of {ref.key} does not answer as version 2 does; set the provider's version", request_id=envelope.request_id
        )
    if bytes(read.data) == b"null":
        raise NotFound(f"{ref} is deleted at Vault (version {read.metadata.version})", request_id=envelope.request_id)
    state, number = read.metadata, str(read.metadata.version)
    return Value(Sensitive(_object(bytes(read.data), ref)), number, state.created_time, state.named(number))


def _absence(config: VaultConfig, ref: SourceRef, envelope: Envelope) -> ProviderError:
    """What a 404 means: the key is not there, or is deleted, or there is no engine that could hold it.

    A wrong engine is no absence: a Secret must not be deleted because somebody moved a mount.
    """
    read = _decoded(envelope) if config.engine == 2 else None
    request = envelope.request_id
    if read and read.metadata:
        state = "destroyed" if read.metadata.destroyed else "deleted"
        return NotFound(f"{ref} is {state} at Vault (version {read.metadata.version})", request_id=request)
    engine, _ = place(config, ref.key)
    if envelope.errors:
        return no_engine(engine, request)
    if envelope.warnings:
        return Invalid(f"the engine at {engine} is not of version {engine.number}; set the provider's version", request_id=request)
    return NotFound(f"Vault does not have the key {ref}", request_id=request)


def no_engine(engine: Engine, request_id: str) -> Invalid:
    """What a 404 with an error means: no absence of a key, for which a Secret could be deleted."""
    return Invalid(f"Vault has no key-value engine at {engine}; check the provider's path and namespace", request_id=request_id)


def _decoded(envelope: Envelope) -> _Data | None:
    try:
        return msgspec.json.decode(envelope.data, type=_Data)
    except msgspec.DecodeError:
        return None


def custom_of(answer: Answer) -> dict[str, str]:
    """The custom metadata of a key, as the answer to a read tells of it, be it of one that is deleted."""
    read = _decoded(unwrap(answer))
    return (read and read.metadata and read.metadata.custom_metadata) or {}


def _object(text: bytes, ref: SourceRef) -> bytes:
    if not text.startswith(b"{"):
        raise Invalid(f"{ref} holds no JSON object")
    return text


def keys_of(answer: Answer, engine: Engine) -> Keys | None:
    """The names in an answer to a list; None where there is nothing in that folder, or no such list."""
    envelope = unwrap(answer)
    if answer.status == 404 and not envelope.errors:
        return None
    if answer.status == 404:
        raise no_engine(engine, envelope.request_id)
    if answer.status != 200:
        raise failure(answer, envelope, f"the list of keys at {engine}")
    keys = None
    with_names = envelope.data if envelope.has_data else b"{}"
    try:
        keys = msgspec.json.decode(with_names, type=Keys)
    except msgspec.DecodeError:
        keys = None
    if keys is None:
        raise Invalid(f"Vault's list of keys at {engine} is not as lists are", request_id=envelope.request_id)
    return keys


def metas(folder: str, mount_prefix: str, keys: Keys, now: datetime) -> Iterator[Meta]:
    """What a list says of each key; names without details have no fingerprint."""
    for name in keys.keys:
        if name.endswith("/") or is_hidden(f"{folder}/{name}" if folder else name):
            continue
        key = f"{mount_prefix}{folder}{'/' if folder else ''}{name}"
        detail = keys.detail(name)
        yield _detailed(key, detail, now) if detail else Meta(key)


def _detailed(key: str, detail: _Detail, now: datetime) -> Meta:
    number = str(detail.current_version)
    newest = detail.versions.get(number, State())
    is_there = newest.is_there(now)
    tags = {name: text for name, text in (detail.custom_metadata or {}).items() if not name.startswith(OURS)}
    fingerprint = newest.named(number) + ("" if is_there else f" gone {newest.deletion_time or 'for good'}")
    return Meta(key, fingerprint, detail.updated_time, tags, is_there)


def fingerprints(keys: Keys, wanted: Iterable[tuple[SourceRef, str]], now: datetime) -> dict[SourceRef, str]:
    """What a list with details says of references, each with its name in the list.

    Of those alone whose version is there, and stays there for a while.
    """
    found = {}
    for ref, name in wanted:
        if detail := keys.detail(name):
            number = ref.version or str(detail.current_version)
            state = detail.versions.get(number)
            if state and state.is_there(now + _SKEW):
                found[ref] = state.named(number)
    return found


def _is_past(text: str, now: datetime) -> bool:
    try:
        return bool(text) and msgspec.convert(text, datetime) <= now
    except (msgspec.ValidationError, TypeError):
        return True


def soon() -> datetime:
    """Against which a writer holds them: what the server has deleted is so by then, be its clock ahead of ours."""
    return datetime.now(UTC) + _SKEW


def now_utc() -> datetime:
    """Against which times of deletion are held."""
    return datetime.now(UTC)


def folder_of(prefix: str) -> str:
    """The deepest folder that holds every key which begins with ``prefix``; '' is the top."""
    return prefix.rpartition("/")[0]


def common_folder(keys: Collection[str]) -> str:
    """The deepest folder that holds all these keys; '' is the top."""
    # What the first and the last in order have in common, all between them have.
    first, last = folder_of(min(keys)).split("/"), folder_of(max(keys)).split("/")
    return "/".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
