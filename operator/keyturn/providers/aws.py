"""Secrets from AWS Secrets Manager, as one identity in one region.

Many are read by one call each twenty, and looked at by one list each hundred, where the identity may. Reads only: who writes is
``aws_writer``. Every read names its version or stage.
"""

import importlib.util
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, TypeVar

from keyturn.model.aws import AwsConfig
from keyturn.model.errors import AccessDenied, Conflict, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import Cap, Meta, SourceRef, Survey, Value
from keyturn.providers.aws_batch import Job, jobs_of, work_off
from keyturn.providers.aws_json import Batch, Page, SecretValue, TaggedPage, refusal_of
from keyturn.providers.aws_names import chosen, fingerprint, id_of, meta_of, shared_prefix, value_of
from keyturn.providers.aws_session import Session
from keyturn.providers.aws_wire import failure
from keyturn.providers.dial import TooLong
from keyturn.providers.room import Hold, Room

READ: Final = "get_secret_value"
BATCH: Final = 20
"""Secrets in one call."""
VALUE_LIMIT: Final = 1 << 19
"""Bytes. A value has 64 KiB at most, and JSON may spell each byte with six."""
BATCH_LIMIT: Final = 2 << 20
"""Twenty that are as large as they may be, in base64. Those that JSON makes longer are read one by one."""
PAGE: Final = 100
PAGE_LIMIT: Final = 4 << 20
"""A page that is longer is asked for in parts."""
_LEAST: Final = PAGE // 2
"""So many each page counts for, whatever is on it: else there need be no end of them."""
MOST: Final = 50_000
"""Secrets that a list goes over: more are listed by nobody."""
LIST_LAG_S: Final = 300.0
"""So long a list may not have heard of a write."""
_BATCHES_AGAIN_S: Final = 3600.0

_Pages = TypeVar("_Pages", Page, TaggedPage)


class AwsProvider:
    """``tenant`` is whose share of the room for answers it takes."""

    def __init__(
        self, config: AwsConfig, session: Session, room: Room, tenant: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # The SDK itself is imported by a thread, later; that it is not there shows now.
        if importlib.util.find_spec("botocore") is None:
            raise ModuleNotFoundError("No module named 'botocore'", name="botocore")
        self._config = config
        self._session = session
        self._room = room
        self._tenant = tenant
        self._clock = clock
        self._may_list = True
        self._no_batches_until_s = float("-inf")
        self._written: dict[str, float] = {}

    @property
    def caps(self) -> Cap:
        caps = Cap.GET | Cap.GET_MANY | Cap.VERSIONS | Cap.STAGE
        return caps | Cap.LIST | Cap.LIST_HAS_VERSION | Cap.TAGS | Cap.SURVEY if self._may_list else caps

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        """Leaves out what there is no room for beside the other answers."""
        self._session.check_open()
        size = BATCH if self._clock() >= self._no_batches_until_s else 1
        answers, jobs = jobs_of(self._config.prefix, refs, size)
        return answers | await work_off(jobs, self._read, self._room, self._tenant)

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        self._session.check_open()
        async for page in self._pages(f"{self._config.prefix}{prefix}", TaggedPage):
            for entry in page.secret_list:
                meta = meta_of(self._config.prefix, entry)
                if meta is not None and meta.key.startswith(prefix):
                    yield meta

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        """By a list of all that begins as these do. It may be minutes behind, and so says nothing of what was written here just now."""
        self._session.check_open()
        wanted: dict[str, list[SourceRef]] = {}
        for ref in refs:
            try:
                chosen(ref)
                wanted.setdefault(id_of(self._config.prefix, ref.key), []).append(ref)
            except (Invalid, NotFound):
                continue  # there is none of it
        found: dict[SourceRef, str] = {}
        size = calls = 0
        if not wanted:
            return Survey(found, size)
        async for page in self._pages(shared_prefix(wanted), Page):
            size, calls = size + len(page.secret_list), calls + 1
            for entry in page.secret_list:
                named = (*wanted.get(entry.name or "", ()), *wanted.get(entry.arn or "", ()))
                found |= {ref: told for ref in named if (told := fingerprint(ref, entry)) and self._is_settled(ref.key)}
        return Survey(found, size, calls)

    async def validate(self) -> None:
        """By a list of one, which tells an identity that AWS knows from one that it does not, whatever it may."""
        self._session.check_open()
        try:
            await self._session.ask("list_secrets", {"MaxResults": 1}, self._list, Page)
        except AccessDenied:
            self._may_list = False
        else:
            self._may_list = True

    async def close(self) -> None:
        await self._session.close()

    def _note_write(self, key: str) -> None:
        """A list may not have heard of it yet."""
        now = self._clock()
        self._written = {other: at for other, at in self._written.items() if now - at <= LIST_LAG_S} | {key: now}

    def _is_settled(self, key: str) -> bool:
        return self._clock() - self._written.get(key, float("-inf")) > LIST_LAG_S

    async def _read(self, job: Job, hold: Hold) -> Mapping[SourceRef, Value | ProviderError]:
        """The answers for a job, or for none of it where all at once cannot be had."""
        if job.name is not None:
            return {job.refs[0]: await self._get(job.refs[0], job.name, hold)}
        if self._clock() < self._no_batches_until_s:
            return {}
        asked = {"SecretIdList": list(job.names)}
        try:
            told = await self._session.ask("batch_get_secret_value", asked, "many secrets at once", Batch, limit=BATCH_LIMIT, room=hold)
        except AccessDenied:
            # Each by itself may be open to us. The right may be given later.
            self._no_batches_until_s = self._clock() + _BATCHES_AGAIN_S
        except (Invalid, NotFound, TooLong):
            pass  # one of them spoils all
        else:
            return self._sorted(job, told)
        return {}

    def _sorted(self, job: Job, told: Batch) -> Mapping[SourceRef, Value | ProviderError]:
        values = {name: entry for entry in told.secret_values or () for name in (entry.name, entry.arn)}
        errors = {problem.secret_id: problem for problem in told.errors or ()}
        if len(told.secret_values or ()) + len(told.errors or ()) > len(job.names):
            raise Unavailable("AWS's answer holds more secrets than were asked for")
        found: dict[SourceRef, Value | ProviderError] = {}
        for name, refs in job.names.items():
            for ref in refs:
                if name in values:
                    found[ref] = _tried(ref, values[name])
                elif name in errors:
                    found[ref] = failure(refusal_of(errors[name]), self._named(name, ref), READ, self._session.who)
        return found

    async def _get(self, ref: SourceRef, name: str, hold: Hold) -> Value | ProviderError:
        try:
            asked = {"SecretId": name, **chosen(ref)}
            told = await self._session.ask(READ, asked, self._named(name, ref), SecretValue, limit=VALUE_LIMIT, room=hold)
        except TooLong:
            return Invalid(f"{ref} is too large: AWS's answer has more than {VALUE_LIMIT >> 10} KiB")
        except (AccessDenied, Conflict, Invalid, NotFound) as error:
            return error.with_traceback(None)
        return _tried(ref, told)

    @property
    def _list(self) -> str:
        return f"a list of the secrets in {self._config.region}"

    def _named(self, name: str, ref: SourceRef) -> str:
        """What a reference asks for, by the name that it has at AWS: with the prefix, and with the region that may be the wrong one."""
        return f"the secret {SourceRef(name, ref.version)} in {self._config.region}"

    async def _pages(self, prefix: str, kind: type[_Pages]) -> AsyncIterator[_Pages]:
        """Each is gone from the room when the next one is asked for: what is kept of it is little, or is weighed by whoever keeps it."""
        asked: dict[str, object] = {"MaxResults": PAGE}
        if prefix:
            if not prefix.isascii() or not prefix.isprintable() or prefix.startswith("!"):
                return  # no name begins so, and for the filter the sign means all others
            asked["Filters"] = [{"Key": "name", "Values": [prefix]}]
        seen, size = 0, PAGE
        with self._room.hold(self._tenant) as hold:
            while True:
                try:
                    told = await self._session.ask("list_secrets", asked, self._list, kind, limit=PAGE_LIMIT, room=hold)
                except AccessDenied:
                    self._may_list = False
                    raise
                except TooLong:
                    if size == 1:
                        raise
                    asked["MaxResults"] = size = max(1, size // 8)
                    continue
                self._may_list = True
                seen += max(_LEAST, len(told.secret_list))
                yield told
                if not told.next_token:
                    return
                if seen >= MOST:
                    raise Invalid(f"more than {MOST} secrets begin with {prefix!r}; set the provider's prefix, or a longer one")
                asked["NextToken"] = told.next_token


def _tried(ref: SourceRef, told: SecretValue) -> Value | ProviderError:
    try:
        return value_of(ref, told)
    except ProviderError as error:
        return error.with_traceback(None)
