"""Writes to AWS Secrets Manager. A put's token is the id of the version that it makes, so that AWS itself knows one that comes again.

AWS has no compare-and-set for a value, and one for a staging label: a put that expects a version is made under a label of ours first,
and then moves AWSCURRENT from what was expected, which fails where another was faster. Whether such a put was ever current, its
version's labels tell: AWSCURRENT or AWSPREVIOUS says that it was, our label that it was not yet.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from keyturn.model.errors import Conflict, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, Cap, Version
from keyturn.model.sensitive import Sensitive
from keyturn.providers.aws import AwsProvider
from keyturn.providers.aws_json import Description, Nothing, VersionEntry, Versions
from keyturn.providers.aws_ledger import PUT, Ledger, Write, check_page, check_tags, check_token, payload, versions_of
from keyturn.providers.aws_names import AWSCURRENT, AWSPENDING, BY_ID, LABELS, NO_VALUE_YET, name_of, version_id
from keyturn.providers.put_mark import check_stage

_ATTEMPTS: Final = 8
"""How often a writer that expects nothing gives way to others."""
_MOST_PAGES: Final = 100
"""Of a hundred versions each. AWS takes old ones away by itself."""


class AwsWriter(AwsProvider):
    """An `AwsProvider` that is a `Writer` too."""

    @property
    def caps(self) -> Cap:
        return super().caps | Cap.PUT | Cap.CAS | Cap.DELETE | Cap.UNDELETE

    async def put(
        self, key: str, data: Sensitive, *, token: str, expect: str | None = None, stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        self._session.check_open()
        check_stage(stage)
        check_token(token)
        check_tags(key, tags)
        write = Write(name_of(self._config.prefix, key), payload(key, data), token, LABELS[stage], tags)
        self._note_write(key)
        for _ in range(_ATTEMPTS):
            ledger = await self._ledger(write.name)
            if ledger is None and expect:
                raise _unexpected(key)
            if ledger is None:
                done = await self._create(write)
            elif ledger.is_deleted:
                done = await self._revive(write, ledger, expect)
            else:
                done = await self._add(write, ledger, expect)
            if done:
                return f"{BY_ID}{token}"
        raise _crowded(key)

    async def promote(self, key: str, version: str) -> None:
        self._session.check_open()
        name, found = name_of(self._config.prefix, key), version_id(key, version)
        self._note_write(key)
        for _ in range(_ATTEMPTS):
            ledger = await self._ledger(name)
            if ledger is None or ledger.is_deleted or found not in ledger.versions or found == NO_VALUE_YET:
                raise NotFound(f"AWS Secrets Manager does not have the secret {key} at the version {version}")
            if ledger.holder(AWSCURRENT) == found or await self._move(name, AWSCURRENT, found, ledger.holder(AWSCURRENT)):
                # AWS leaves it, for its own rotations: where both labels are on one version none is under way.
                if ledger.holder(AWSPENDING) == found:
                    await self._move(name, AWSPENDING, "", found)
                return
        raise _crowded(key)

    async def versions(self, key: str) -> Sequence[Version]:
        self._session.check_open()
        ledger = await self._ledger(name_of(self._config.prefix, key))
        found = versions_of(ledger) if ledger else []
        if not found:
            raise NotFound(f"AWS Secrets Manager does not have the secret {key}")
        return found

    async def delete(self, key: str, *, purge: bool = False) -> None:
        self._session.check_open()
        self._note_write(key)
        asked: dict[str, object] = {"SecretId": name_of(self._config.prefix, key)}
        if purge:
            asked["ForceDeleteWithoutRecovery"] = True
        # Not there, or marked already: it is as it was to be.
        with suppress(NotFound):
            await self._do("delete_secret", asked)

    async def undelete(self, key: str) -> None:
        self._session.check_open()
        self._note_write(key)
        await self._do("restore_secret", {"SecretId": name_of(self._config.prefix, key)})

    # -- puts: each says whether it is done, or has to be looked at again ----------------------------------------------------

    async def _create(self, write: Write) -> bool:
        """The first version of a key, which AWS makes current whatever it is asked for."""
        is_pending = write.label != AWSCURRENT
        first = {"ClientRequestToken": NO_VALUE_YET, "SecretString": "no value yet"} if is_pending else write.version
        tags = [{"Key": key, "Value": value} for key, value in (write.tags or {}).items()]
        asked = {"Name": write.name, **first} | ({"Tags": tags} if tags else {})
        try:
            await self._do("create_secret", asked)
        except Conflict:
            return False  # somebody was faster
        except NotFound:
            problem = f"AWS still deletes the secret {write.name}; try again"
        else:
            return not is_pending
        raise Unavailable(problem)

    async def _revive(self, write: Write, ledger: Ledger, expect: str | None) -> bool:
        """A key that is marked for deletion takes no version: it comes back first, and is as it was for a moment."""
        if write.token in ledger.versions:
            return True  # late: nothing is brought back
        if expect:
            raise _unexpected(write.name)
        if write.label != AWSCURRENT:
            raise Invalid(f"{write.name} is marked for deletion; put a value that is current, or purge it first")
        await self._do("restore_secret", {"SecretId": write.name})
        current = ledger.holder(AWSCURRENT)
        try:
            return await self._exchange(write, current) if current and expect is not None else await self._store(write)
        except (Unavailable, Conflict):
            raise  # asked again it goes on; and what another has put there stays
        except ProviderError:
            with suppress(ProviderError):
                # Another may have put something there since it came back, which is not ours to delete.
                now = await self._ledger(write.name)
                if now is not None and not now.is_deleted and not now.has_grown(ledger, write.token):
                    await self._do("delete_secret", {"SecretId": write.name})
            raise

    async def _add(self, write: Write, ledger: Ledger, expect: str | None) -> bool:
        labels = ledger.versions.get(write.token)
        if expect is None or (labels is not None and labels - {PUT}):
            # AWS itself knows a token that comes again, and whether the value is the same.
            return await self._store(write, tags=labels is None or write.label in labels)
        expected = expect.removeprefix(BY_ID)
        is_expected = ledger.is_current(expected) and (not expect or expect.startswith(BY_ID))
        if labels is not None:
            await self._version(write, PUT)
        if not is_expected or labels == frozenset():
            # Without any label it can have lost, or have been current long ago: neither is a reason to move anything.
            raise _unexpected(write.name)
        if write.label != AWSCURRENT:
            return await self._store(write)
        return await self._exchange(write, ledger.holder(AWSCURRENT))

    async def _store(self, write: Write, *, tags: bool = True) -> bool:
        await self._version(write, write.label)
        if write.tags is not None and tags:
            await self._tag(write)
        return True

    async def _exchange(self, write: Write, expected: str) -> bool:
        """A version that becomes current in the place of another, and of no third."""
        await self._version(write, PUT)
        if not await self._move(write.name, AWSCURRENT, write.token, expected):
            ledger = await self._ledger(write.name)
            if ledger is None or ledger.holder(AWSCURRENT) != write.token:
                raise _unexpected(write.name)
        # Best effort: while it is on what is current it says nothing.
        with suppress(ProviderError):
            await self._move(write.name, PUT, "", write.token)
        if write.tags is not None:
            await self._tag(write)
        return True

    async def _version(self, write: Write, label: str) -> None:
        """Raises `Conflict` where the token has another value."""
        await self._do("put_secret_value", {"SecretId": write.name, **write.version, "VersionStages": [label]})

    async def _move(self, name: str, label: str, to: str, come_from: str) -> bool:
        """Moves a label, or takes it away; False where it was not where it should come from."""
        asked = {"SecretId": name, "VersionStage": label}
        asked |= {"MoveToVersionId": to} if to else {}
        asked |= {"RemoveFromVersionId": come_from} if come_from else {}
        try:
            await self._do("update_secret_version_stage", asked)
        except Invalid:
            return False
        return True

    async def _tag(self, write: Write) -> None:
        """Sets the tags, and takes others away, but for those that AWS itself has set."""
        about, wanted = await self._about(write.name), write.tags or {}
        gone = [tag.key for tag in (about and about.tags) or () if tag.key not in wanted and not tag.key.startswith("aws:")]
        if gone:
            await self._do("untag_resource", {"SecretId": write.name, "TagKeys": gone})
        if wanted:
            tags = [{"Key": key, "Value": value} for key, value in wanted.items()]
            await self._do("tag_resource", {"SecretId": write.name, "Tags": tags})

    # -- calls ------------------------------------------------------------------------------------------------------------------

    async def _do(self, operation: str, asked: Mapping[str, object]) -> None:
        await self._session.ask(operation, asked, f"the secret {asked.get('SecretId') or asked.get('Name')}", Nothing)

    async def _about(self, name: str) -> Description | None:
        try:
            return await self._session.ask("describe_secret", {"SecretId": name}, f"the secret {name}", Description)
        except NotFound:
            return None

    async def _ledger(self, name: str) -> Ledger | None:
        """The key with all its versions, also those without a label; None where there is no such key."""
        about = await self._about(name)
        if about is None:
            return None
        entries: list[VersionEntry] = []
        asked: dict[str, object] = {"SecretId": name, "IncludeDeprecated": True, "MaxResults": 100}
        for _ in range(_MOST_PAGES):
            try:
                told = await self._session.ask("list_secret_version_ids", asked, f"the versions of the secret {name}", Versions)
            except NotFound:
                return None
            page = told.versions or []
            check_page(name, page)
            entries += page
            if not told.next_token:
                return Ledger.of(entries, is_deleted=about.deleted_date is not None)
            asked["NextToken"] = told.next_token
        raise Invalid(f"{name} has more versions than AWS keeps of a secret; look at it there")


def _unexpected(key: str) -> Conflict:
    return Conflict(f"the version of {key} that is current is not the one that was expected")


def _crowded(key: str) -> Conflict:
    return Conflict(f"others write to {key} all the time; try again")
