"""Cases of lists and surveys: they tell what is there, and never a value."""

import re
from typing import Final

from keyturn.model.errors import ProviderError
from keyturn.model.material import Cap, Meta, SourceRef
from keyturn.ports import Surveyor
from keyturn.testing.provider_suite.bench import Need
from keyturn.testing.provider_suite.case import Case, Skipped, Trial, broken, case, check


def tags_of(meta: Meta) -> dict[str, str]:
    """Those that the suite has set: a store may have some of its own."""
    return {name: text for name, text in meta.tags.items() if name in {"team", "tier"}}


@case("list by prefix", caps=Cap.LIST)
async def by_prefix(trial: Trial) -> None:
    """A list has each key that begins with the prefix, once, and no other; a prefix may end in the middle of a name."""
    keys = {trial.key(name) for name in ("one", "only", "two")}
    for key in keys:
        await trial.seed(key)
    provider = await trial.open()
    for prefix in (trial.stem, trial.key("on"), trial.key("one"), trial.key("none")):
        found = [meta.key for meta in await trial.listed(provider, prefix)]
        check(sorted(found) == sorted(key for key in keys if key.startswith(prefix)), "a list by prefix has other keys than there are")
    check(keys <= {meta.key for meta in await trial.listed(provider, "")}, "a list without a prefix does not have all keys")


@case("list in folders", Need.SLASH, caps=Cap.LIST)
async def in_folders(trial: Trial) -> None:
    """A list goes down all folders, and a prefix may name a folder or begin one's name."""
    keys = {trial.key(name) for name in ("a/b/c", "a/b2", "ab/c", "d")}
    for key in keys:
        await trial.seed(key)
    provider = await trial.open()
    for prefix in (trial.stem, trial.key("a"), trial.key("a/"), trial.key("a/b"), trial.key("a/b/")):
        found = [meta.key for meta in await trial.listed(provider, prefix)]
        check(sorted(found) == sorted(key for key in keys if key.startswith(prefix)), "a list in folders has other keys than there are")


@case("list by regexp", caps=Cap.LIST)
async def by_regexp(trial: Trial) -> None:
    """A regular expression over a list finds keys as they are read: each that is found can be read by that name."""
    stored = {trial.key(name): await trial.seed(trial.key(name)) for name in ("xdb3", "db1", "db2", "web1")}
    provider = await trial.open()
    wanted = re.compile(rf"{trial.stem}(db|web)\d")
    found = [meta.key for meta in await trial.listed(provider) if wanted.fullmatch(meta.key)]
    check(sorted(found) == sorted(key for key in stored if wanted.fullmatch(key)), "a list by regexp has other keys than there are")
    for key in found:
        await trial.reads(provider, key, stored[key])


@case("list by tags", caps=Cap.LIST | Cap.TAGS)
async def by_tags(trial: Trial) -> None:
    """A list has the tags of each key."""
    tags = {trial.key("a"): {"team": "shop"}, trial.key("b"): {"team": "bank", "tier": "one"}, trial.key("c"): {}}
    for key, each in tags.items():
        await trial.seed(key, tags=each)
    provider = await trial.open()
    found = {meta.key: tags_of(meta) for meta in await trial.listed(provider)}
    check(found == tags, "the tags in a list are not those that were set")


@case("list tells of change", Need.CHANGE, caps=Cap.LIST)
async def tells_of_change(trial: Trial) -> None:
    """The fingerprint of a key in a list changes when its value does."""
    key = trial.key()
    await trial.seed(key)
    provider = await trial.open()
    [before] = await trial.listed(provider)
    trial.need(provider, Cap.LIST_HAS_VERSION)
    await trial.seed(key)
    [after] = await trial.listed(provider)
    check(before.fingerprint and after.fingerprint, "a list has no fingerprint of a key")
    check(before.fingerprint != after.fingerprint, "the fingerprint of a changed value is as it was")


@case("survey", caps=Cap.SURVEY)
async def survey(trial: Trial) -> None:
    """A survey has the fingerprint of what a read gives, and says nothing of a key that is not there."""
    here, there, missing = SourceRef(trial.key("a")), SourceRef(trial.key("b")), SourceRef(trial.key("missing"))
    await trial.seed(here.key)
    await trial.seed(there.key)
    provider = await trial.open()
    if not isinstance(provider, Surveyor):
        broken("the provider says Cap.SURVEY, and makes none")
    try:
        told = await provider.survey([here, there, missing])
    except ProviderError as error:
        if Cap.SURVEY in provider.caps:
            raise
        raise Skipped(f"this server has none: {error}") from None
    trial.look("a survey", told)
    check(set(told.fingerprints) == {here, there}, "a survey tells of other references than are there")
    for ref in (here, there):
        found = await trial.value_of(provider, ref.key)
        check(found.fingerprint, "a value has no fingerprint, and a survey has")
        check(told.fingerprints[ref] == found.fingerprint, "a survey's fingerprint is not that of the value")
    check(told.size >= 2, "a survey counts fewer secrets than it told of")


CASES: Final[tuple[Case, ...]] = (by_prefix, in_folders, by_regexp, by_tags, tells_of_change, survey)
