"""Cases of what becomes of versions: they are kept, wait, are promoted, deleted, and come back."""

from typing import Final

from keyturn.model.errors import NotFound, ProviderError
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Cap
from keyturn.ports import Writer
from keyturn.testing.provider_suite.case import Case, Trial, case, check
from keyturn.testing.provider_suite.writes import absent, put, stands, token


async def readable(writer: Writer, key: str) -> set[str]:
    """The names of versions that can be read; none where the key is not found."""
    try:
        return {version.name for version in await writer.versions(key) if version.is_readable}
    except NotFound:
        return set()


async def staged(writer: Writer, key: str) -> dict[str, str]:
    """The version of each stage of ours."""
    return {stage: each.name for each in await writer.versions(key) for stage in each.stages if stage in {CURRENT, PREVIOUS, PENDING}}


@case("versions", caps=Cap.PUT | Cap.VERSIONS)
async def versions(trial: Trial) -> None:
    """`versions` has each put, the newest first, and each can be read by its name; of a key that is not there it is `NotFound`."""
    writer, key, again = await trial.writer(), trial.key(), token()
    await trial.refused(NotFound, writer.versions, trial.key("missing"))
    values = [trial.value() for _ in range(3)]
    names = [await put(trial, writer, key, values[0], token=again), *[await put(trial, writer, key, data) for data in values[1:]]]
    found = await writer.versions(key)
    trial.look("the versions", found)
    check([each.name for each in found] == names[::-1], "the versions are not those that were put, the newest first")
    check(all(each.is_readable for each in found), "a version that is there is not readable")
    check(found[-1].token in {"", again}, "a version has another token than it was put with")
    for name, data in zip(names, values, strict=True):
        await trial.reads(await trial.open(), key, data, name)


@case("pending", caps=Cap.PUT | Cap.STAGE)
async def pending(trial: Trial) -> None:
    """A put as pending is not read until it is promoted, but by its stage; nor is it where it is the first of its key."""
    writer, key, data, waits = await trial.writer(), trial.key(), trial.value(), trial.value()
    await put(trial, writer, trial.key("new"), trial.value(), stage=PENDING)
    await absent(trial, trial.key("new"))
    await put(trial, writer, key, data)
    await put(trial, writer, key, waits, stage=PENDING)
    await stands(trial, key, data)
    await trial.reads(await trial.open(), key, waits, trial.bench.stage(PENDING))


@case("promote", caps=Cap.PUT | Cap.STAGE)
async def promote(trial: Trial) -> None:
    """What is promoted is read, and what was is previous; so it goes back as well."""
    writer, key, old, new = await trial.writer(), trial.key(), trial.value(), trial.value()
    first = await put(trial, writer, key, old)
    second = await put(trial, writer, key, new, stage=PENDING)
    for name, current, previous in ((second, new, old), (first, old, new)):
        await writer.promote(key, name)
        await stands(trial, key, current)
        await trial.reads(await trial.open(), key, previous, trial.bench.stage(PREVIOUS))
    await trial.fails(await trial.open(), key, NotFound, trial.bench.stage(PENDING))


@case("promote twice", caps=Cap.PUT | Cap.STAGE)
async def promote_twice(trial: Trial) -> None:
    """A promotion that comes again changes nothing: what was previous stays so."""
    writer, key, old, new = await trial.writer(), trial.key(), trial.value(), trial.value()
    await put(trial, writer, key, old)
    second = await put(trial, writer, key, new, stage=PENDING)
    for _ in range(2):
        await writer.promote(key, second)
    await stands(trial, key, new)
    await trial.reads(await trial.open(), key, old, trial.bench.stage(PREVIOUS))


@case("promote nothing", caps=Cap.PUT | Cap.STAGE)
async def promote_nothing(trial: Trial) -> None:
    """A version or a key that is not there cannot be promoted: `NotFound`, and nothing changed."""
    writer, key, data = await trial.writer(), trial.key(), trial.value()
    name = await put(trial, writer, key, data)
    await trial.refused(NotFound, writer.promote, key, trial.bench.no_version)
    await trial.refused(NotFound, writer.promote, trial.key("missing"), name)
    await stands(trial, key, data)


@case("stages of versions", caps=Cap.PUT | Cap.STAGE | Cap.VERSIONS)
async def stages(trial: Trial) -> None:
    """`versions` says which is current, previous and pending."""
    writer, key = await trial.writer(), trial.key()
    first, second = [await put(trial, writer, key, trial.value()) for _ in range(2)]
    third = await put(trial, writer, key, trial.value(), stage=PENDING)
    check(await staged(writer, key) == {CURRENT: second, PREVIOUS: first, PENDING: third}, "the stages are not as they were put")
    await writer.promote(key, third)
    check(await staged(writer, key) == {CURRENT: third, PREVIOUS: second}, "the stages are not as they were promoted")


@case("delete", caps=Cap.PUT | Cap.DELETE)
async def delete(trial: Trial) -> None:
    """What is deleted is not found, and not listed; its neighbour stays. A deletion that comes again, or meets nothing, is fine."""
    writer, key, data = await trial.writer(), trial.key(), trial.value()
    await put(trial, writer, trial.key("other"), data)
    await put(trial, writer, key, trial.value())
    for _ in range(2):
        await writer.delete(key)
    await writer.delete(trial.key("missing"))
    await absent(trial, key)
    await stands(trial, trial.key("other"), data)
    provider = await trial.open()
    if Cap.LIST in provider.caps:
        listed = {meta.key for meta in await trial.listed(provider) if meta.enabled}
        if Cap.LIST_HAS_VERSION in provider.caps:
            check(trial.key("other") in listed and key not in listed, "a list has what is deleted, or lacks what is not")


@case("delete versions", caps=Cap.PUT | Cap.DELETE | Cap.VERSIONS)
async def delete_versions(trial: Trial) -> None:
    """With a key all its versions are gone: none can be read by its name."""
    writer, key = await trial.writer(), trial.key()
    names = [await put(trial, writer, key, trial.value()) for _ in range(3)]
    await writer.delete(key)
    for name in names:
        await trial.fails(await trial.open(), key, NotFound, name)
    check(not await readable(writer, key), "a version of a deleted key says that it is readable")


@case("delete and make anew", caps=Cap.PUT | Cap.DELETE)
async def anew(trial: Trial) -> None:
    """A key that was deleted can be made anew, and no version of it has a name that another had."""
    writer, key, names = await trial.writer(), trial.key(), list[str]()
    for purge in (False, True, True, False):
        data = trial.value()
        names.append(await put(trial, writer, key, data))
        await stands(trial, key, data)
        await writer.delete(key, purge=purge)
        await absent(trial, key)
    check(len(set(names)) == len(names), "a version has the name of an earlier one")


@case("undelete", caps=Cap.PUT | Cap.DELETE | Cap.UNDELETE)
async def undelete(trial: Trial) -> None:
    """What was deleted comes back as it was, and may be deleted again."""
    writer, key, data = await trial.writer(), trial.key(), trial.value()
    await put(trial, writer, key, trial.value())
    name = await put(trial, writer, key, data)
    for _ in range(2):
        await writer.delete(key)
        await absent(trial, key)
        await writer.undelete(key)
        found = await trial.reads(await trial.open(), key, data)
        check(found.version in {"", name}, "what came back has another version")


@case("undelete nothing", caps=Cap.PUT | Cap.DELETE | Cap.UNDELETE)
async def undelete_nothing(trial: Trial) -> None:
    """Where there is nothing to bring back `undelete` is `NotFound`."""
    await trial.refused(NotFound, (await trial.writer()).undelete, trial.key("missing"))


@case("purge", caps=Cap.PUT | Cap.DELETE)
async def purge(trial: Trial) -> None:
    """What is purged nobody brings back, whether it was deleted before or not; a purge that comes again is fine."""
    writer = await trial.writer()
    caps = (await trial.open()).caps
    for was_deleted in (False, True):
        key = trial.key(f"d{was_deleted}")
        await put(trial, writer, key, trial.value())
        if was_deleted:
            await writer.delete(key)
        for _ in range(2):
            await writer.delete(key, purge=True)
        if Cap.UNDELETE in caps:
            await trial.refused(ProviderError, writer.undelete, key)
        await absent(trial, key)
        if Cap.VERSIONS in caps:
            check(not await readable(writer, key), "a version of a purged key says that it is readable")


CASES: Final[tuple[Case, ...]] = (
    versions, pending, promote, promote_twice, promote_nothing, stages, delete, delete_versions, anew, undelete, undelete_nothing, purge,
)  # fmt: skip
