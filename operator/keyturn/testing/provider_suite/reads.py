"""Cases of reads: what is there comes as it is, and what cannot come is told apart."""

import asyncio
import json
from typing import Final

from keyturn.decide.select import Work, extract
from keyturn.model.errors import Disabled, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Cap, SourceRef, Value
from keyturn.model.order import Entry
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Writer
from keyturn.testing.provider_suite.bench import Need
from keyturn.testing.provider_suite.case import Case, Trial, all_of, case, check


@case("read")
async def read(trial: Trial) -> None:
    """A read gives the bytes that are there, for each reference once, and for no other."""
    here, there = trial.key("a"), trial.key("b")
    one, two = await trial.seed(here), await trial.seed(there)
    provider = await trial.open()
    answers = await trial.ask(provider, SourceRef(here), SourceRef(there), SourceRef(here))
    check(set(answers) == {SourceRef(here), SourceRef(there)}, "not each reference has its answer")
    await trial.reads(provider, here, one)
    await trial.reads(provider, there, two)
    check(await provider.get_many([]) == {}, "who asks for nothing gets something")


@case("property", Need.PROPERTY)
async def of_property(trial: Trial) -> None:
    """A value that is a JSON object gives its members up, by name and by path."""
    mark, key = trial.mark(), trial.key()
    document = {"user": {"password": mark}, "dotted.name": mark, "port": 5432}
    await trial.seed(key, json.dumps(document, separators=(",", ":")).encode())
    value = await trial.value_of(await trial.open(), key)
    for path, text in (("user.password", mark), ("dotted.name", mark), ("port", "5432")):
        found = extract(value, Entry("key", None, SourceRef(key), property=path), Work())
        check(found == Sensitive.of(text), f"the property {path} is not what was stored")


@case("exact")
async def exact(trial: Trial) -> None:
    """Line breaks, spaces, quotes and letters of all kinds come as they are."""
    texts = ("ends in a line break\n", " spaces ", "ä 漢 🔑", "a\r\nb", "'\"\\$x${y}#z", "no", "0123")
    keys = {trial.key(f"x{number}"): trial.bench.value(trial.mark() + text) for number, text in enumerate(texts)}
    for key, data in keys.items():
        await trial.seed(key, data)
    provider = await trial.open()
    for key, data in keys.items():
        await trial.reads(provider, key, data)


@case("empty", Need.EMPTY)
async def empty(trial: Trial) -> None:
    """A value of no bytes is a value, and no absence."""
    await trial.seed(trial.key("full"))
    await trial.seed(trial.key(), b"")
    await trial.reads(await trial.open(), trial.key(), b"")


@case("binary", Need.BINARY)
async def binary(trial: Trial) -> None:
    """All 256 bytes come through."""
    data = trial.value() + bytes(range(256)) + b"\r\n\0\n"
    await trial.seed(trial.key(), data)
    await trial.reads(await trial.open(), trial.key(), data)


@case("non-UTF-8", Need.NOT_UTF8)
async def not_utf8(trial: Trial) -> None:
    """Bytes that are no UTF-8 come as they are."""
    data = trial.value() + b"\xff\xfe\x80 \xc3\x28"
    await trial.seed(trial.key(), data)
    await trial.reads(await trial.open(), trial.key(), data)


@case("version", caps=Cap.VERSIONS)
async def version(trial: Trial) -> None:
    """A version pins a value; without one it is the newest, which says its version; one that is not there is not found."""
    key, old, new = trial.key(), trial.value(), trial.value()
    names = [await trial.bench.seed(key, data) for data in (old, new)]
    check(all(names) and names[0] != names[1], "the bench has to name two versions")
    provider = await trial.open()
    for name, data in zip(names, (old, new), strict=True):
        found = await trial.reads(provider, key, data, name)
        check(found.version == name, "a value does not say the version that was asked for")
    found = await trial.reads(provider, key, new)
    check(found.version == names[1], "the newest does not say its version")
    error = await trial.fails(provider, key, NotFound, trial.bench.no_version)
    check(key in str(error), "the error does not name the key")


@case("no version", unless=Cap.VERSIONS)
async def no_version(trial: Trial) -> None:
    """Where there are no versions, one that is asked for is refused, and never ignored."""
    key = trial.key()
    data = await trial.seed(key)
    provider = await trial.open()
    await trial.fails(provider, key, Invalid, "1")
    await trial.reads(provider, key, data)


@case("stage", caps=Cap.STAGE)
async def stage(trial: Trial) -> None:
    """A stage pins a value: current, previous, pending. One that no version has is not found."""
    key, name = trial.key(), trial.bench.stage
    old = await trial.seed(key)
    provider = await trial.open()
    await trial.fails(provider, key, NotFound, name(PREVIOUS))
    await trial.fails(provider, key, NotFound, name(PENDING))
    new = await trial.seed(key)
    pending = await trial.seed(key, stage=PENDING)
    for which, data in ((CURRENT, new), (PREVIOUS, old), (PENDING, pending)):
        await trial.reads(provider, key, data, name(which))
    await trial.reads(provider, key, new)


@case("many")
async def many(trial: Trial) -> None:
    """Of many that are asked for at once each has its own answer; some that fail spoil no other. A list has them all."""
    there = {trial.key(f"m{number}"): await trial.seed(trial.key(f"m{number}")) for number in range(30)}
    missing = [trial.key(f"n{number}") for number in range(10)]
    provider = await trial.open()
    mixed = [key for pair in zip(missing * 3, there, strict=True) for key in pair]
    answers = await trial.ask(provider, *(SourceRef(key) for key in mixed))
    for key, data in there.items():
        found = answers[SourceRef(key)]
        check(isinstance(found, Value) and found.data == Sensitive(data), "one of many has not its own value")
    check(all(isinstance(answers[SourceRef(key)], NotFound) for key in missing), "one of many that is missing is not NotFound")
    if Cap.LIST in provider.caps:
        check(sorted(meta.key for meta in await trial.listed(provider)) == sorted(there), "a list of many has other keys than there are")


@case("overlap")
async def overlap(trial: Trial) -> None:
    """Calls may overlap: fifty at once have the same answer as one."""
    data = await trial.seed(trial.key())
    provider = await trial.open()
    await asyncio.gather(*(trial.reads(provider, trial.key(), data) for _ in range(50)))


@case("not found")
async def not_found(trial: Trial) -> None:
    """A key that is not there is not found, and the error names it."""
    await trial.seed(trial.key("there"))
    provider = await trial.open()
    for key in (trial.key("missing"), trial.key("ther"), trial.key("there2"), trial.key("THERE")):
        error = await trial.fails(provider, key, NotFound)
        check(key in str(error) or "such key" in str(error), "the error does not name the key")


@case("changed", Need.CHANGE)
async def changed(trial: Trial) -> None:
    """A value that changed is read by a provider that was open before; one that was taken away is not found."""
    await trial.seed(trial.key("other"))
    await trial.seed(trial.key())
    provider = await trial.open()
    await trial.value_of(provider, trial.key())
    await trial.reads(provider, trial.key(), await trial.seed(trial.key()))
    await trial.bench.remove(trial.key())
    await trial.fails(provider, trial.key(), NotFound)
    await trial.value_of(provider, trial.key("other"))


@case("soft-deleted", Need.SOFT_DELETE)
async def soft_deleted(trial: Trial) -> None:
    """What is deleted so that it can come back is not found, and stands in a list as switched off at most."""
    await trial.seed(trial.key("other"))
    await trial.seed(trial.key())
    await trial.bench.remove(trial.key())
    provider = await trial.open()
    await trial.fails(provider, trial.key(), NotFound)
    if Cap.LIST in provider.caps:
        keys = {meta.key for meta in await trial.listed(provider) if meta.enabled}
        if Cap.LIST_HAS_VERSION in provider.caps:
            check(trial.key() not in keys, "a list has what is deleted")


@case("disabled", Need.DISABLE)
async def disabled(trial: Trial) -> None:
    """What is switched off is `Disabled`, so that the last good value stays; its neighbour is read."""
    data = await trial.seed(trial.key("other"))
    await trial.seed(trial.key())
    await trial.bench.disable(trial.key())
    provider = await trial.open()
    await trial.fails(provider, trial.key(), Disabled)
    await trial.reads(provider, trial.key("other"), data)


def named(char: str, need: Need) -> Case:
    """The case of keys with a character."""

    @case(f"names with {char}", need)
    async def names(trial: Trial) -> None:
        keys = [trial.key(name) for name in (f"a{char}b", f"a{char}B", f"a{char}b{char}c", "axb", "a")]
        if char == "/":
            keys.remove(trial.key("a"))  # a folder cannot be a file too
            keys.remove(trial.key(f"a{char}b"))
        if Need.CAPITALS in trial.bench.lacks:
            keys.remove(trial.key(f"a{char}B"))
        stored = {key: await trial.seed(key) for key in keys}
        provider = await trial.open()
        for key, data in stored.items():
            await trial.reads(provider, key, data)
        await trial.fails(provider, trial.key(f"b{char}a"), NotFound)

    return Case(names.name, f"Keys with {char} name what they say, and nothing else.", names.run, needs=names.needs)


NAMES: Final = tuple(named(char, need) for char, need in (("/", Need.SLASH), (".", Need.DOT), ("_", Need.UNDERSCORE), ("-", Need.HYPHEN)))


@case("bad names")
async def bad_names(trial: Trial) -> None:
    """A key that names nothing is that reference's error: others are read beside it."""
    data = await trial.seed(trial.key())
    bad = [SourceRef(key) for key in ("", "\0", f"{trial.stem}\0", "../" * 8 + "etc/passwd", "\udc80")]
    provider = await trial.open()
    answers = await trial.ask(provider, *bad, SourceRef(trial.key()))
    found = answers[SourceRef(trial.key())]
    check(isinstance(found, Value) and found.data == Sensitive(data), "a bad key spoils a good one")
    check(all(isinstance(answers[ref], NotFound | Invalid) for ref in bad), "a bad key is neither NotFound nor Invalid")


@case("validate")
async def validate(trial: Trial) -> None:
    """`validate` passes where a read does."""
    await trial.seed(trial.key())
    await (await trial.open()).validate()


@case("closed")
async def closed(trial: Trial) -> None:
    """`close` may come twice, and after it every call is `Unavailable`, also one that asks for nothing."""
    key = trial.key()
    await trial.seed(key)
    provider = await trial.open()
    await trial.value_of(provider, key)
    await provider.close()
    await provider.close()
    for refs in ([SourceRef(key)], []):
        await trial.refused(Unavailable, provider.get_many, refs)
    await trial.refused(Unavailable, provider.validate)
    await trial.refused(Unavailable, trial.listed, provider)
    if isinstance(provider, Writer) and Cap.PUT in provider.caps:
        await trial.refused(Unavailable, provider.put, key, Sensitive(trial.value()), token="t" * 32)


@case("silence")
async def silence(trial: Trial) -> None:
    """No value is in what a provider, its answers and its errors print, nor in the log."""
    key = trial.key()
    await trial.seed(key)
    provider = await trial.open()
    answers = await trial.ask(provider, SourceRef(key), SourceRef(trial.key("missing")), SourceRef(key, trial.bench.no_version))
    try:
        extract(await trial.value_of(provider, key), Entry("key", None, SourceRef(key), property="no.such"), Work())
    except Exception as error:  # noqa: BLE001  # whatever it is, it must be silent
        trial.look("an error", error)
    trial.look("a provider", all_of(provider))
    trial.look("an answer", [all_of(answer) for answer in answers.values()])
    check(all(isinstance(found, Value | ProviderError) for found in answers.values()), "an answer is neither value nor error")


CASES: Final[tuple[Case, ...]] = (
    read, of_property, exact, empty, binary, not_utf8, version, no_version, stage, many, overlap, not_found, changed, soft_deleted,
    disabled, *NAMES, bad_names, validate, closed, silence,
)  # fmt: skip
