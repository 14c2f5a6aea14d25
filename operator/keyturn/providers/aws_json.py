"""What Secrets Manager's answers hold, as far as anything of it is looked at: all else is passed over, and never becomes an object.

An endpoint may be a tenant's, and JSON grows to many times its length once it is objects. So an answer is decoded at once into what
was asked for, by the event loop, one at a time; and what would be more objects than AWS has in such an answer is not decoded.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from keyturn.providers.aws_wire import Reply, request_id_of, speaks_of_deletion
from keyturn.providers.dial import NO_ANSWER, Answer, TooLong

_T = TypeVar("_T")


class Nothing(msgspec.Struct):
    """For an answer of which nothing is needed."""


class SecretValue(msgspec.Struct, rename="pascal"):
    """A value with its version. Times are in seconds of the epoch, here and below."""

    name: str | None = None
    arn: str | None = msgspec.field(default=None, name="ARN")
    version_id: str | None = None
    secret_string: str | None = None
    secret_binary: bytes | None = None
    created_date: float | None = None

    def __repr__(self) -> str:
        return f"SecretValue({self.name})"


class Problem(msgspec.Struct, rename="pascal"):
    """Why one of many has no value."""

    secret_id: str | None = None
    error_code: str | None = None
    message: str | None = None

    def __repr__(self) -> str:
        return f"Problem({self.error_code})"


class Batch(msgspec.Struct, rename="pascal"):
    """Many values."""

    secret_values: list[SecretValue] | None = None
    errors: list[Problem] | None = None


class Entry(msgspec.Struct, rename="pascal"):
    """A secret in a list, with the labels of each of its versions."""

    name: str | None = None
    arn: str | None = msgspec.field(default=None, name="ARN")
    secret_versions_to_stages: dict[str, list[str]] | None = None
    last_changed_date: float | None = None
    deleted_date: float | None = None


class Tag(msgspec.Struct, rename="pascal", gc=False):
    """One of a secret."""

    key: str
    value: str | None = None


class TaggedEntry(Entry, rename="pascal"):
    """The same with its tags."""

    tags: list[Tag] | None = None


class Page(msgspec.Struct, rename="pascal"):
    """A part of a list."""

    secret_list: list[Entry]
    next_token: str | None = None


class TaggedPage(msgspec.Struct, rename="pascal"):
    """The same with tags, for whoever needs them."""

    secret_list: list[TaggedEntry]
    next_token: str | None = None


class Description(msgspec.Struct, rename="pascal"):
    """What a secret says of itself."""

    deleted_date: float | None = None
    tags: list[Tag] | None = None


class VersionEntry(msgspec.Struct, rename="pascal"):
    """A version in a list of them, with its labels."""

    version_id: str
    version_stages: list[str] | None = None
    created_date: float | None = None


class Versions(msgspec.Struct, rename="pascal"):
    """A part of a list of versions."""

    versions: list[VersionEntry] | None = None
    next_token: str | None = None


class _Refusal(msgspec.Struct):
    type_: str | None = msgspec.field(default=None, name="__type")
    message: str | None = None
    other: str | None = msgspec.field(default=None, name="Message")


_refusal: Final = msgspec.json.Decoder(_Refusal)

_OBJECTS: Final[Mapping[type, int]] = {Batch: 50_000, Page: 60_000, TaggedPage: 60_000}
"""How many an answer may become at most. A page of AWS's hundred secrets, each with 50 tags and 20 labels, has 33,000.

Others are as short as ``dial`` takes them where no length is told.
"""


def read(answer: Answer, kind: type[_T]) -> Reply:
    """What an answer says: a ``kind`` where it is a success. What is no such answer of AWS's is a reply without a code, and no success.

    Raises `TooLong` for one that would be too many objects.
    """
    request_id = request_id_of(answer)
    if request_id and answer.status >= 300:
        return _refused(answer, request_id)
    if _objects(answer.body, kind) > _OBJECTS.get(kind, len(answer.body)):
        raise TooLong(NO_ANSWER, request_id=request_id)
    body = answer.body or (b"{}" if kind is Nothing else b"")
    told = _decoded(body, kind) if request_id else None
    if told is None:
        return Reply(max(answer.status, 300), request_id=request_id, pause_s=answer.pause_s)
    return Reply(answer.status, told, request_id=request_id)


def _objects(body: bytes, kind: type[object]) -> int:
    """No less than a body becomes. Of values no texts are in lists, so that only what is around them counts."""
    return body.count(b"{") + (0 if kind is Batch else body.count(b'"') // 2)


def _decoded(body: bytes, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _refused(answer: Answer, request_id: str) -> Reply:
    try:
        told = _refusal.decode(answer.body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        told = _Refusal()
    # As in com.amazonaws.secretsmanager#ResourceNotFoundException, or with a URL behind it.
    code = (told.type_ or "").partition(":")[0].rpartition("#")[2]
    is_deletion = speaks_of_deletion(code, told.message or told.other)
    return Reply(answer.status, code=code, request_id=request_id, pause_s=answer.pause_s, is_deletion=is_deletion)


def is_aws(answer: Answer) -> bool:
    """Says that a service of AWS's in JSON answers so, be it with a refusal. Nothing of it is kept."""
    if request_id_of(answer) == "":
        return False
    if answer.is_cut:
        return answer.body.lstrip()[:1] == b"{"
    if answer.status >= 300:
        return bool(_refused(answer, "").code)
    # To some requests AWS answers with nothing.
    return not answer.body or _decoded(answer.body, Nothing) is not None


def refusal_of(problem: Problem) -> Reply:
    """The refusal of one of many."""
    code = problem.error_code or ""
    return Reply(400, code=code, is_deletion=speaks_of_deletion(code, problem.message))
