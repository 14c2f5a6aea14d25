"""Stages in engine 2, which has none: the newest version is current, the one before it previous, and what waits is another key.

What waits is kept beneath a folder of its own, `keyturn-pending/`, under versions p1, p2, …: were it a version of its key, every other
reader of the engine would have it at once, and an application would log in with what its database does not know yet. A promotion
copies it, and leaves in the key's custom metadata which version the copy is. Decides and reads; writes nothing.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from keyturn.model.errors import Invalid, NotFound
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, SourceRef, Value
from keyturn.model.vault import VaultConfig
from keyturn.providers.dial import Answer
from keyturn.providers.vault_kv import Engine, State, custom_of, no_engine, place, value_of
from keyturn.providers.vault_names import OURS, number_of, waiting
from keyturn.providers.vault_wire import failure, unwrap

AS: Final = f"{OURS}as-"
"""Before a version's name, in custom metadata: which number it was promoted to, and `done` once that is so."""
PUT: Final = f"{OURS}put-"
"""Before the name of a put's mark: which number it was to be, and its seal."""

_KEPT_PUTS: Final = 24
_KEPT_PROMOTIONS: Final = 8
"""The engine takes 64 entries of a key, of which most are left to others."""
_DONE: Final = "done"
_AT_ONCE: Final = timedelta(seconds=1)
"""What one deletion takes, it takes within this time."""

Ask = Callable[[str], Awaitable[Answer]]


class _Metadata(msgspec.Struct):
    """What the engine says of a key, without its values."""

    current_version: int = 0
    custom_metadata: dict[str, str] | None = None
    versions: dict[str, State] = {}


@dataclass(frozen=True, slots=True)
class Note:
    """An entry of custom metadata about a version: its number, and what is said of it."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """A key as the engine has it at ``now``. ``is_there``: it has custom metadata that can be added to."""

    newest: int
    states: Mapping[int, State]
    notes: Mapping[str, Note]
    now: datetime
    is_there: bool = True

    def is_readable(self, number: int) -> bool:
        return number in self.states and self.states[number].is_there(self.now)

    @property
    def current(self) -> int:
        """The number that is read, 0 where none is."""
        return self.newest if self.is_readable(self.newest) else 0

    def name(self, number: int) -> str:
        """By which a version goes: that under which it waited or stood before, where it is a copy."""
        for key, note in self.notes.items():
            if key.startswith(AS) and note == Note(number, _DONE):
                return key.removeprefix(AS)
        return str(number)

    def is_current(self, version: str) -> bool:
        """Whether a version's name is that of the one that is read; '' is none."""
        return version in ({str(self.current), self.name(self.current)} if self.current else {""})

    @property
    def readable(self) -> list[int]:
        return [number for number in self.states if self.is_readable(number)]

    @property
    def destructible(self) -> list[int]:
        return [number for number, state in self.states.items() if not state.destroyed]

    @property
    def fallen(self) -> list[int]:
        """What the last deletion took, and nothing has brought back."""
        times = {number: when for number, state in self.states.items() if not state.destroyed and (when := state.deleted(self.now))}
        return [number for number, when in times.items() if when >= max(times.values()) - _AT_ONCE]

    def outdated(self) -> dict[str, None]:
        """The notes that make room for one more, as a merge takes them away."""
        found: dict[str, None] = {}
        for prefix, kept in ((PUT, _KEPT_PUTS), (AS, _KEPT_PROMOTIONS)):
            ours = sorted((note.number, key) for key, note in self.notes.items() if key.startswith(prefix))
            found |= dict.fromkeys(key for _, key in ours[: max(0, len(ours) - kept + 1)])
        return found


def done(number: int) -> str:
    """The text of a note on a promotion that is over."""
    return f"{number} {_DONE}"


def ledger_of(answer: Answer, engine: Engine, key: str, now: datetime) -> Ledger:
    """What an answer about a key says. Raises a `ProviderError`."""
    envelope = unwrap(answer)
    if answer.status == 404 and not envelope.errors:
        return Ledger(0, {}, {}, now, is_there=False)
    if answer.status == 404:
        raise no_engine(engine, envelope.request_id)
    if answer.status != 200:
        raise failure(answer, envelope, f"what it keeps about the key {key} of {engine}")
    try:
        told = msgspec.json.decode(envelope.data, type=_Metadata)
    except msgspec.DecodeError:
        told = None
    if told is None:
        raise Invalid(f"what Vault keeps about the key {key} of {engine} is not as engine version 2 has it")
    states = {int(number): state for number, state in told.versions.items() if number.isdecimal()}
    return Ledger(told.current_version, states, notes_of(told.custom_metadata or {}), now)


def notes_of(custom: Mapping[str, str]) -> dict[str, Note]:
    """Our entries among those of custom metadata."""
    split = {key: text.partition(" ") for key, text in custom.items() if key.startswith(OURS)}
    return {key: Note(int(number), text) for key, (number, _, text) in split.items() if re.fullmatch("[0-9]{1,9}", number, re.ASCII)}


async def read_staged(ask: Ask, config: VaultConfig, ref: SourceRef) -> Value:
    """The value of a stage, or of a version that waits or waited. Raises a `ProviderError`."""
    engine, inner = place(config, ref.key)
    match ref.version:
        case str(stage) if stage == CURRENT:
            return await _read(ask, config, ref, engine.read_path(inner, ""))
        case str(stage) if stage == PENDING:
            return _waiting(await _read(ask, config, ref, engine.read_path(waiting(inner), "")))
        case str(stage) if stage == PREVIOUS:
            current = await _read(ask, config, ref, engine.read_path(inner, ""))
            return await _numbered(ask, config, ref, int(current.version) - 1)
        case name:
            try:
                return _waiting(await _read(ask, config, ref, engine.read_path(waiting(inner), str(number_of(name)))))
            except NotFound:
                told = custom_of(await ask(engine.read_path(inner, "")))
            note = notes_of(told).get(f"{AS}{name}")
            return await _numbered(ask, config, ref, note.number if note and note.text == _DONE else 0)


async def _numbered(ask: Ask, config: VaultConfig, ref: SourceRef, number: int) -> Value:
    if number < 1:
        raise NotFound(f"Vault does not have the key {ref}")
    engine, inner = place(config, ref.key)
    return await _read(ask, config, ref, engine.read_path(inner, str(number)))


async def _read(ask: Ask, config: VaultConfig, ref: SourceRef, path: str) -> Value:
    return value_of(config, ref, await ask(path))


def _waiting(value: Value) -> Value:
    return Value(value.data, f"p{value.version}", value.updated, f"p{value.fingerprint}", value.form)
