"""Writes to engine 2 of Vault and OpenBao: each by check-and-set, so that no write goes over one that its writer has not seen.

What is about to be written is noted in the key's custom metadata first: whoever asks again, because no answer came, finds the note
and looks whether the version is there. Merges add to custom metadata, so that writers at once keep each other's notes. Values go
into bodies alone.
"""

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from keyturn.model.errors import Conflict, Invalid, NotFound, ProviderError
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Cap, SourceRef, Value, Version
from keyturn.model.sensitive import Sensitive
from keyturn.providers.dial import Answer
from keyturn.providers.put_mark import Mark, check_stage, mark
from keyturn.providers.vault import VALUE_LIMIT, VaultProvider
from keyturn.providers.vault_kv import Engine, place, soon, value_of
from keyturn.providers.vault_names import number_of, waiting
from keyturn.providers.vault_stages import AS, PUT, Ledger, done, ledger_of, read_staged
from keyturn.providers.vault_wire import failure, unwrap

MOST_BYTES: Final = (1 << 20) - (16 << 10)
"""The servers' own storage takes 1 MiB for an entry. What is longer they answer as if they had failed, so that it would come again."""

_ATTEMPTS: Final = 12
"""How often a writer that expects nothing gives way to others."""

_OPEN: Final = "open"


class VaultWriter(VaultProvider):
    """A `VaultProvider` that is a `Writer` too. To engine 1, which has no check-and-set, it writes nothing."""

    @property
    def caps(self) -> Cap:
        writes = Cap.PUT | Cap.CAS | Cap.DELETE | Cap.UNDELETE if self._config.engine == 2 else Cap(0)
        return super().caps | writes

    async def put(
        self, key: str, data: Sensitive, *, token: str, expect: str | None = None, stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        engine, inner = self._at(key)
        check_stage(stage)
        # In a thread: a value may be a mebibyte.
        await asyncio.to_thread(_check, key, data, tags)
        ours = await asyncio.to_thread(mark, token, data)
        if stage == CURRENT:
            return str(await self._put(engine, inner, data, ours, expect))
        if expect is not None:
            _expected(await self._ledger(engine, inner), expect, inner)
        return f"p{await self._put(engine, waiting(inner), data, ours, None)}"

    async def promote(self, key: str, version: str) -> None:
        engine, inner = self._at(key)
        note, others = f"{AS}{version}", set[int]()
        for _ in range(_ATTEMPTS):
            ledger = await self._ledger(engine, inner)
            if version and ledger.is_current(version):
                return await self._drop(engine, inner, version)
            value = await self._source(key, version, ledger)
            before = ledger.notes.get(note)
            begun = before.number if before and before.text == _OPEN and before.number not in others else 0
            if begun != ledger.newest or not await self._holds(engine, inner, begun, value.data):
                begun = await self._append(engine, inner, ledger, value.data, note, _OPEN)
            if begun:
                await self._note(engine, inner, {note: done(begun)})
                return await self._drop(engine, inner, version)
            others.add(ledger.newest + 1)
        raise _crowded(inner)

    async def versions(self, key: str) -> Sequence[Version]:
        engine, inner = self._at(key)
        ledger, ahead = await self._ledger(engine, inner), await self._ledger(engine, waiting(inner), may_be_closed=True)
        found = [
            Version(f"p{number}", frozenset({PENDING} if number == ahead.current else ()), state.created_time)
            for number, state in sorted(ahead.states.items(), reverse=True)
            if ahead.is_readable(number)
        ]
        for number, state in sorted(ledger.states.items(), reverse=True):
            there = ledger.is_readable(number)
            stages = {ledger.newest: {CURRENT}, ledger.newest - 1: {PREVIOUS}}.get(number, set()) if there and ledger.current else ()
            found.append(Version(ledger.name(number), frozenset(stages), state.created_time, there))
        if not found:
            raise NotFound(f"Vault does not have the key {key}")
        # A copy goes by the name of what it was made of, and stands for it.
        return [each for at, each in enumerate(found) if each.name not in {newer.name for newer in found[:at]}]

    async def delete(self, key: str, *, purge: bool = False) -> None:
        engine, inner = self._at(key)
        for each in (inner, waiting(inner)):
            ledger = await self._ledger(engine, each, may_be_closed=each != inner)
            if purge and ledger.destructible:
                # Not the key as a whole, whose numbers would begin at 1 again.
                await self._act(engine, "destroy", each, ledger.destructible)
            elif not purge and ledger.readable:
                await self._act(engine, "delete", each, ledger.readable)

    async def undelete(self, key: str) -> None:
        engine, inner = self._at(key)
        ledger, ahead = await self._ledger(engine, inner), await self._ledger(engine, waiting(inner), may_be_closed=True)
        if ledger.current:
            return
        if not ledger.fallen and not ahead.fallen and not ahead.readable:
            raise NotFound(f"Vault has nothing of the key {key} that could come back")
        for each, fallen in ((waiting(inner), ahead.fallen), (inner, ledger.fallen)):
            if fallen:
                await self._act(engine, "undelete", each, fallen)

    # -- versions ---------------------------------------------------------------------------------------------------------------

    async def _put(self, engine: Engine, inner: str, data: Sensitive, ours: Mark, expect: str | None) -> int:
        """The number of the version that this put made, now or before."""
        note, others = f"{PUT}{ours.name}", set[int]()
        for _ in range(_ATTEMPTS):
            ledger = await self._ledger(engine, inner)
            if before := ledger.notes.get(note):
                ours.check(before.text, inner)
                if before.number not in others and await self._is_done(engine, inner, ledger, before.number, data):
                    return before.number
            try:
                _expected(ledger, expect, inner)
            except Conflict:
                if others:
                    # Best effort: it names a version that another made, whose value is looked at before it is taken for ours.
                    with suppress(ProviderError):
                        await self._note(engine, inner, {note: None})
                raise
            if number := await self._append(engine, inner, ledger, data, note, ours.seal):
                return number
            others.add(ledger.newest + 1)
        raise _crowded(inner)

    async def _append(self, engine: Engine, inner: str, ledger: Ledger, data: Sensitive, note: str, text: str) -> int:
        """Writes the next version, and gives its number; 0 where another one was faster."""
        number = ledger.newest + 1
        await self._note(engine, inner, ledger.outdated() | {note: f"{number} {text}"}, is_new=not ledger.is_there)
        body = b'{"options":{"cas":%d},"data":%b}' % (ledger.newest, data.reveal())
        answer = await self._session.ask(engine.data_path(inner), verb="POST", body=body)
        if answer.status == 400 and (await self._ledger(engine, inner)).newest != ledger.newest:
            return 0
        self._accept(answer, engine, inner)
        return number

    async def _is_done(self, engine: Engine, inner: str, ledger: Ledger, number: int, data: Sensitive) -> bool:
        """Whether a put that was noted came to be. One that is not there any more has been: nothing may bring it back."""
        if number > ledger.newest:
            return False
        try:
            return not ledger.is_readable(number) or await self._holds(engine, inner, number, data)
        except NotFound:
            return True

    async def _holds(self, engine: Engine, inner: str, number: int, data: Sensitive) -> bool:
        """Whether a version holds this value, which the server may write in another order and with other spaces."""
        if not number:
            return False
        path = engine.read_path(inner, str(number))
        with self._room.hold(self._tenant) as hold:
            answer = await self._session.ask(path, limit=VALUE_LIMIT, room=hold)
        there = value_of(self._config, SourceRef(path, str(number)), answer)
        return await asyncio.to_thread(_is_same, there.data, data)

    async def _source(self, key: str, version: str, ledger: Ledger) -> Value:
        """What a promotion copies."""
        if not number_of(version) and not version.isdecimal():
            raise NotFound(f"Vault does not have the key {SourceRef(key, version)}")
        ref = SourceRef(key, version)
        with self._room.hold(self._tenant) as hold:
            if number_of(version):
                return await read_staged(lambda path: self._session.ask(path, limit=VALUE_LIMIT, room=hold), self._config, ref)
            engine, inner = self._at(key)
            if not ledger.is_readable(int(version)):
                raise NotFound(f"Vault does not have the key {ref}")
            path = engine.read_path(inner, version)
            return value_of(self._config, ref, await self._session.ask(path, limit=VALUE_LIMIT, room=hold))

    async def _drop(self, engine: Engine, inner: str, version: str) -> None:
        """Ends what waited, once it is a version of its key: it shall be nowhere else."""
        if number := number_of(version):
            ahead = await self._ledger(engine, waiting(inner))
            if number in ahead.destructible:
                await self._act(engine, "destroy", waiting(inner), [number])

    # -- calls ------------------------------------------------------------------------------------------------------------------

    def _at(self, key: str) -> tuple[Engine, str]:
        self._session.check_open()
        engine, inner = place(self._config, key)
        if engine.number == 1:
            raise Invalid(f"{key} is not written: engine version 1 has no check-and-set and keeps no versions; use version 2")
        return engine, inner

    async def _ledger(self, engine: Engine, inner: str, *, may_be_closed: bool = False) -> Ledger:
        """``may_be_closed``: whoever may not look there has put nothing there."""
        answer = await self._session.ask(engine.about_path(inner))
        if may_be_closed and answer.status == 403:
            return Ledger(0, {}, {}, soon(), is_there=False)
        return ledger_of(answer, engine, inner, soon())

    async def _note(self, engine: Engine, inner: str, notes: Mapping[str, str | None], *, is_new: bool = False) -> None:
        """Adds to a key's custom metadata; None takes an entry away."""
        path = engine.about_path(inner)
        if is_new:
            # A merge needs something to merge with. OpenBao makes it only once; Vault has no such word, and keeps the last one's.
            made: dict[str, Any] = {"custom_metadata": {key: text for key, text in notes.items() if text}, "metadata_cas": 0}
            answer = await self._session.ask(path, verb="POST", body=msgspec.json.encode(made))
            if answer.status != 400:
                return self._accept(answer, engine, inner)
        answer = await self._session.ask(path, verb="PATCH", body=msgspec.json.encode({"custom_metadata": notes}))
        return self._accept(answer, engine, inner)

    async def _act(self, engine: Engine, act: str, inner: str, numbers: Sequence[int]) -> None:
        verb = "PUT" if act == "destroy" else "POST"
        body = msgspec.json.encode({"versions": sorted(numbers)})
        self._accept(await self._session.ask(engine.act_path(act, inner), verb=verb, body=body), engine, inner)

    def _accept(self, answer: Answer, engine: Engine, inner: str) -> None:
        if answer.status not in {200, 204}:
            raise failure(answer, unwrap(answer), f"a write to the key {inner} of {engine}")


def _check(key: str, data: Sensitive, tags: Mapping[str, str] | None) -> None:
    """Raises `Invalid` for what engine 2 does not take."""
    if tags:
        raise Invalid(f"{key}: Vault's custom metadata is not written; set it with kv metadata patch")
    if len(data) > MOST_BYTES:
        raise Invalid(f"{key} is too large: Vault takes {MOST_BYTES >> 10} KiB")
    if not _is_object(data):
        raise Invalid(f'{key}: an engine of Vault holds JSON objects, such as {{"password": …}}')


def _is_object(data: Sensitive) -> bool:
    try:
        return isinstance(msgspec.json.decode(data.reveal()), dict)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def _is_same(one: Sensitive, other: Sensitive) -> bool:
    try:
        # As text again: by value, Python takes true for 1.
        return hmac.compare_digest(*(msgspec.json.encode(msgspec.json.decode(each.reveal()), order="sorted") for each in (one, other)))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return one == other


def _expected(ledger: Ledger, expect: str | None, key: str) -> None:
    if expect is not None and not ledger.is_current(expect):
        raise Conflict(f"the version of {key} that is current is not the one that was expected")


def _crowded(key: str) -> Conflict:
    return Conflict(f"others write to {key} all the time; try again")
