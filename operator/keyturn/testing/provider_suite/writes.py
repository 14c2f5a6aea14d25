"""Cases of puts: each write happens once, or not at all, and never over a write that its writer has not seen."""

import asyncio
from itertools import count
from typing import Final

from keyturn.model.errors import AccessDenied, Conflict, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import Cap
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Writer
from keyturn.testing.provider_suite.bench import Need
from keyturn.testing.provider_suite.case import Case, Trial, case, check
from keyturn.testing.provider_suite.lists import tags_of

_numbers = count(1)


def token() -> str:
    """A new name for a put, of the shortest length that there is."""
    return f"{next(_numbers):032d}"


async def put(trial: Trial, writer: Writer, key: str, data: bytes, **more: str | None) -> str:
    """A put that goes through, by a token of its own unless there is one in ``more``."""
    named = {"token": token()} | more
    name = await writer.put(key, Sensitive(data), **named)  # type: ignore[arg-type]  # as the caller says
    check(name, "a put gives no version")
    trial.look("a version's name", name)
    return name


async def stands(trial: Trial, key: str, data: bytes) -> None:
    """Another provider, opened now, reads these bytes."""
    await trial.reads(await trial.open(), key, data)


async def absent(trial: Trial, key: str) -> None:
    await trial.fails(await trial.open(), key, NotFound)


@case("put", caps=Cap.PUT)
async def puts(trial: Trial) -> None:
    """A put is read back, by others too, under the version that it gave; the next one has another version and is read from then on."""
    writer, key, old, new = await trial.writer(), trial.key(), trial.value(), trial.value()
    first = await put(trial, writer, key, old)
    await stands(trial, key, old)
    second = await put(trial, writer, key, new)
    check(first != second, "two puts have one version")
    found = await trial.reads(await trial.open(), key, new)
    check(found.version in {"", second}, "what is read has another version than its put gave")


@case("put same value", caps=Cap.PUT)
async def same_value(trial: Trial) -> None:
    """A put of the same value under another token is a version of its own."""
    writer, key, data = await trial.writer(), trial.key(), trial.value()
    check(await put(trial, writer, key, data) != await put(trial, writer, key, data), "two puts of one value have one version")


@case("put twice", caps=Cap.PUT)
async def twice(trial: Trial) -> None:
    """A put that comes again changes nothing, and gives the version that the first one made."""
    writer, key, data, again = await trial.writer(), trial.key(), trial.value(), token()
    first = await put(trial, writer, key, data, token=again)
    others = (await trial.writer(), writer)
    for each in others:
        check(await put(trial, each, key, data, token=again) == first, "a put that came again gave another version")
    if Cap.VERSIONS in (await trial.open()).caps:
        check(len(await writer.versions(key)) == 1, "a put that came again made a version")
    await stands(trial, key, data)


@case("put twice with expect", caps=Cap.PUT | Cap.CAS)
async def twice_expecting(trial: Trial) -> None:
    """A compare-and-set that comes again is no conflict with itself."""
    writer, key, data, again = await trial.writer(), trial.key(), trial.value(), token()
    first = await put(trial, writer, key, trial.value())
    second = await put(trial, writer, key, data, token=again, expect=first)
    check(await put(trial, writer, key, data, token=again, expect=first) == second, "a put that came again gave another version")
    await stands(trial, key, data)


@case("put late", caps=Cap.PUT)
async def late(trial: Trial) -> None:
    """A put that comes again after a newer one changes nothing: the newer stays."""
    writer, key, old, new, again = await trial.writer(), trial.key(), trial.value(), trial.value(), token()
    first = await put(trial, writer, key, old, token=again)
    await put(trial, writer, key, new)
    check(await put(trial, writer, key, old, token=again) == first, "a late put gave another version")
    await stands(trial, key, new)


@case("put after delete", Need.MEMORY, caps=Cap.PUT | Cap.DELETE)
async def after_delete(trial: Trial) -> None:
    """A put that comes again after its key was deleted brings nothing back."""
    writer, key, data, again = await trial.writer(), trial.key(), trial.value(), token()
    await put(trial, writer, trial.key("other"), trial.value())
    first = await put(trial, writer, key, data, token=again)
    await writer.delete(key)
    check(await put(trial, writer, key, data, token=again) == first, "a late put gave another version")
    await absent(trial, key)


@case("put other value", caps=Cap.PUT)
async def other_value(trial: Trial) -> None:
    """Another value under the same token is a `Conflict`, and changes nothing."""
    writer, key, data, again = await trial.writer(), trial.key(), trial.value(), token()
    await put(trial, writer, key, data, token=again)
    await trial.refused(Conflict, writer.put, key, Sensitive(trial.value()), token=again)
    await stands(trial, key, data)


@case("tokens by key", caps=Cap.PUT)
async def tokens_by_key(trial: Trial) -> None:
    """A token names a put of its key: the same one at another key is another put."""
    writer, one, two, again = await trial.writer(), trial.value(), trial.value(), token()
    await put(trial, writer, trial.key("a"), one, token=again)
    await put(trial, writer, trial.key("b"), two, token=again)
    await stands(trial, trial.key("a"), one)
    await stands(trial, trial.key("b"), two)


@case("create only", caps=Cap.PUT | Cap.CAS)
async def create_only(trial: Trial) -> None:
    """Where the key must not be there yet, the first put goes through and the second is a `Conflict`."""
    writer, key, data = await trial.writer(), trial.key(), trial.value()
    await put(trial, writer, key, data, expect="")
    await trial.refused(Conflict, writer.put, key, Sensitive(trial.value()), token=token(), expect="")
    await stands(trial, key, data)


@case("compare and set", caps=Cap.PUT | Cap.CAS)
async def compare_and_set(trial: Trial) -> None:
    """A put that expects what is not current is a `Conflict` and changes nothing; one that expects what is goes through."""
    writer, key, data = await trial.writer(), trial.key(), trial.value()
    first = await put(trial, writer, key, trial.value())
    await put(trial, writer, key, data, expect=first)
    for expect in (first, trial.bench.no_version):
        await trial.refused(Conflict, writer.put, key, Sensitive(trial.value()), token=token(), expect=expect)
    await trial.refused(Conflict, writer.put, trial.key("missing"), Sensitive(trial.value()), token=token(), expect=first)
    await stands(trial, key, data)
    await absent(trial, trial.key("missing"))


@case("writers at once", caps=Cap.PUT | Cap.CAS)
async def at_once(trial: Trial) -> None:
    """Of ten that expect the same version exactly one goes through, round after round; the others meet a `Conflict`."""
    key = trial.key()
    writers = [await trial.writer() for _ in range(2)] * 5
    current = await put(trial, writers[0], key, trial.value())
    for _ in range(3):
        values = [trial.value() for _ in writers]
        rivals = (put(trial, each, key, data, expect=current) for each, data in zip(writers, values, strict=True))
        ended = await asyncio.gather(*rivals, return_exceptions=True)
        won = [(name, data) for name, data in zip(ended, values, strict=True) if isinstance(name, str)]
        check(len(won) == 1, f"{len(won)} of ten writers won")
        check(sum(isinstance(end, Conflict) for end in ended) == len(writers) - 1, "a writer that lost met no Conflict")
        [(current, data)] = won
        await stands(trial, key, data)


@case("stale compare and set", caps=Cap.PUT | Cap.CAS | Cap.DELETE)
async def stale(trial: Trial) -> None:
    """A version that was current before its key was deleted and made anew is no longer: who expects it meets a `Conflict`."""
    for purge in (False, True):
        writer, key, data = await trial.writer(), trial.key(f"p{purge}"), trial.value()
        old = await put(trial, writer, key, trial.value())
        await writer.delete(key, purge=purge)
        await trial.refused(Conflict, writer.put, key, Sensitive(trial.value()), token=token(), expect=old)
        await absent(trial, key)
        new = await put(trial, writer, key, data, expect="")
        check(new != old, "a key that was made anew has a version of the old one")
        await trial.refused(Conflict, writer.put, key, Sensitive(trial.value()), token=token(), expect=old)
        await stands(trial, key, data)


@case("put tags", caps=Cap.PUT | Cap.TAGS | Cap.LIST)
async def tags(trial: Trial) -> None:
    """Tags come with a put; one without leaves those that stand, and one with none takes them away."""
    writer, key = await trial.writer(), trial.key()
    provider = await trial.open()
    for given, expected in (({"team": "shop"}, {"team": "shop"}), (None, {"team": "shop"}), ({"tier": "one"}, {"tier": "one"}), ({}, {})):
        await writer.put(key, Sensitive(trial.value()), token=token(), tags=given)
        [meta] = await trial.listed(provider)
        check(tags_of(meta) == expected, "the tags after a put are not as it said")


@case("put binary", Need.BINARY, caps=Cap.PUT)
async def binary(trial: Trial) -> None:
    """All 256 bytes are read back as they were put."""
    data = trial.value() + bytes(range(256)) + b"\n"
    await put(trial, await trial.writer(), trial.key(), data)
    await stands(trial, trial.key(), data)


@case("put oversize", Need.OVERSIZE, caps=Cap.PUT)
async def oversize(trial: Trial) -> None:
    """A value that is too large is `Invalid`, and what was there stays."""
    writer, key, data = await trial.writer(), trial.key(), trial.value()
    await put(trial, writer, key, data)
    large = trial.bench.value(trial.mark() + "x" * trial.bench.most_bytes)
    await trial.refused(Invalid, writer.put, key, Sensitive(large), token=token())
    await stands(trial, key, data)


@case("write denied", Need.DENY, caps=Cap.PUT)
async def denied(trial: Trial) -> None:
    """A key that this identity may not write is `AccessDenied`; its neighbour is written."""
    writer, data = await trial.writer(), trial.value()
    await put(trial, writer, trial.key("closed"), trial.value())
    await trial.bench.deny(trial.key("closed"))
    await trial.refused(AccessDenied, writer.put, trial.key("closed"), Sensitive(trial.value()), token=token())
    await put(trial, writer, trial.key("open"), data)
    await stands(trial, trial.key("open"), data)


@case("write in an outage", Need.FAIL, caps=Cap.PUT)
async def outage(trial: Trial) -> None:
    """A put that meets an outage is `Unavailable`, and goes through when it is asked again."""
    writer, key, data, again = await trial.writer(), trial.key(), trial.value(), token()
    await put(trial, writer, key, trial.value())
    async with trial.bench.failing():
        await trial.refused(Unavailable, writer.put, key, Sensitive(data), token=again)
    await put(trial, writer, key, data, token=again)
    await stands(trial, key, data)


@case("lost answer", Need.LOSE, caps=Cap.PUT)
async def lost_answer(trial: Trial) -> None:
    """A put whose answer was lost is `Unavailable`; asked again it gives the version that it had made, and makes no other."""
    writer, key, data, again = await trial.writer(), trial.key(), trial.value(), token()
    async with trial.bench.losing_answers():
        await trial.refused(Unavailable, writer.put, key, Sensitive(data), token=again)
    await stands(trial, key, data)
    name = await put(trial, writer, key, data, token=again)
    found = await trial.reads(await trial.open(), key, data)
    check(found.version in {"", name}, "a put that came again gave another version than is there")
    if Cap.VERSIONS in (await trial.open()).caps:
        check(len(await writer.versions(key)) == 1, "a put that came again made a version")


@case("silent writes", caps=Cap.PUT)
async def silence(trial: Trial) -> None:
    """A put to an empty key, one with a NUL, or of another value by a used token fails; no value is in what it raises, prints or logs."""
    writer, key, again = await trial.writer(), trial.key(), token()
    await put(trial, writer, key, trial.value(), token=again)
    for name, data in ((key, trial.value()), ("", trial.value()), ("\0", trial.value())):
        error = await trial.refused(ProviderError, writer.put, name, Sensitive(data), token=again if name == key else token())
        trial.look("an error of a put", error)
    trial.look("a writer", writer)


CASES: Final[tuple[Case, ...]] = (
    puts, same_value, twice, twice_expecting, late, after_delete, other_value, tokens_by_key, create_only, compare_and_set, at_once, stale,
    tags, binary, oversize, denied, outage, lost_answer, silence,
)  # fmt: skip
