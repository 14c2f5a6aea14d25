"""What an API server's answers mean to whoever reads Secrets by it: their shapes, and their failures in our words.

Asks nothing. The server's prose (``message``) is not even decoded, and of metadata only what is needed: annotations can hold a
whole Secret in clear. What is no answer of an API server gets one text, whatever it was.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from keyturn.model.errors import AccessDenied, Invalid, NotFound, ProviderError, Throttled, Unavailable
from keyturn.model.material import Form, Meta, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.dial import NO_ANSWER, Answer

T = TypeVar("T")

JSON: Final = "application/json"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_KIND: Final = re.compile(rb'\s*\{\s*"kind"\s*:\s*"(?:Secret|Status|PartialObjectMetadataList|SelfSubjectRulesReview)"')
# Who is turned away at the door gets no object, but this.
_BUSY: Final = b"Too many requests"
# What is no other place in a path. Whether there is such a Secret, or can be one, the server tells.
_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,253}", re.ASCII)
_ID: Final = re.compile("[0-9a-f-]{1,64}")


class _Touch(msgspec.Struct):
    """Who wrote some of its fields, and when."""

    time: datetime | None = None


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    creation_timestamp: datetime | None = None
    managed_fields: list[_Touch] | None = None

    @property
    def fingerprint(self) -> str:
        """The object as it stands: any change moves it, and so does a new object of the same name."""
        return f"{self.resource_version} of {self.uid}"

    @property
    def updated(self) -> datetime | None:
        """The last time that anything of it was written."""
        times = [touch.time for touch in self.managed_fields or () if touch.time] + (
            [self.creation_timestamp] if self.creation_timestamp else []
        )
        return max(times, default=None)


class _Secret(msgspec.Struct):
    """msgspec takes the base64 off. Empty bytes may come as null."""

    kind: str
    metadata: _Metadata
    data: dict[str, bytes | None] | None = None

    def __repr__(self) -> str:
        return f"_Secret({self.metadata.name})"


class _Item(msgspec.Struct):
    metadata: _Metadata


class _More(msgspec.Struct, rename={"continue_": "continue"}):
    continue_: str = ""


class Page(msgspec.Struct):
    """A page of a metadata list."""

    kind: str
    items: list[_Item] = []
    metadata: _More = msgspec.field(default_factory=_More)

    @property
    def token(self) -> str:
        """Where the next page begins; '' on the last."""
        return self.metadata.continue_

    def metas(self) -> list[Meta]:
        """What it says of each Secret."""
        found = (item.metadata for item in self.items)
        return [Meta(each.name, each.fingerprint, each.updated, each.labels or {}) for each in found]


class _Rule(msgspec.Struct, rename="camel"):
    verbs: list[str] = []
    api_groups: list[str] | None = None
    resources: list[str] | None = None
    resource_names: list[str] | None = None

    def has(self, verb: str) -> bool:
        return bool(
            {verb, "*"} & set(self.verbs) and {"", "*"} & set(self.api_groups or ()) and {"secrets", "*"} & set(self.resources or ())
        )


class _Rules(msgspec.Struct, rename="camel"):
    resource_rules: list[_Rule] = []
    incomplete: bool = False


class Review(msgspec.Struct):
    """What an identity may do in one namespace, as far as the server can tell."""

    kind: str
    status: _Rules = msgspec.field(default_factory=_Rules)

    def may(self, verb: str) -> bool:
        """Whether it may do this to any Secret; to all of them, where it is `list`, which no names can narrow."""
        rules = (rule for rule in self.status.resource_rules if rule.has(verb))
        return self.status.incomplete or any(verb == "get" or not rule.resource_names for rule in rules)


def is_kubernetes(answer: Answer) -> bool:
    """Says that an API server answers so, to whatever is asked here."""
    return _KIND.match(answer.body) is not None or (answer.status == 429 and answer.body.startswith(_BUSY))


def name_of(ref: SourceRef) -> str:
    """The Secret that a reference means. Raises `Invalid`."""
    if ref.version:
        raise Invalid(f"{ref.key!r}: Secrets of Kubernetes keep no versions; leave version out")
    if not _NAME.fullmatch(ref.key):
        raise Invalid(f"{ref.key!r} is no name of a Secret; name the Secret in key, and its own key in property")
    return ref.key


def value_of(answer: Answer, ref: SourceRef, where: str) -> Value:
    """The value in an answer to a read; raises the `ProviderError` that it stands for."""
    if answer.status != 200:
        raise failure(answer, f"the Secret {ref.key} in {where}")
    secret = opened(answer, _Secret, "Secret")
    data, form = _spelled({key: value or b"" for key, value in (secret.data or {}).items()})
    return Value(Sensitive(data), updated=secret.metadata.updated, fingerprint=secret.metadata.fingerprint, form=form)


def _spelled(data: Mapping[str, bytes]) -> tuple[bytes, Form]:
    """All members as one text, in the order of their names: the server's own is none that one can rely on."""
    try:
        texts = {key: data[key].decode() for key in sorted(data)}
    except UnicodeDecodeError:
        return msgspec.json.encode({key: data[key] for key in sorted(data)}), Form.MAP_OF_BYTES
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode(), Form.MAP


def opened(answer: Answer, kind: type[T], named: str) -> T:
    """The object in an answer that is a success; raises `Unavailable` where it is another one, or none."""
    found: T | None = None
    try:
        found = msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    # Outside of the except clause: the decoder's error may quote what it read.
    if found is None or getattr(found, "kind", "") != named:
        raise Unavailable(NO_ANSWER)
    return found


def failure(answer: Answer, what: str) -> ProviderError:
    """The error that an answer which is no success stands for; ``what`` was asked for, such as "the Secret db in …"."""
    if not is_kubernetes(answer):
        return Unavailable(NO_ANSWER)
    request = answer.headers.get("audit-id", "")
    request = request if _ID.fullmatch(request) else ""
    match answer.status:
        case 403:
            return AccessDenied(f"the API server refuses this identity {what}; bind a Role to it there", request_id=request)
        case 404:
            return NotFound(f"the API server does not have {what}", request_id=request)
        case 429:
            return Throttled("the API server asks for a pause", request_id=request, retry_after=answer.pause_s)
        case status if 400 <= status < 500:
            return Invalid(f"the API server cannot make sense of a request for {what} (HTTP {status})", request_id=request)
        case status:
            return Unavailable(f"the API server failed (HTTP {status})", request_id=request)


def fingerprints(metas: Sequence[Meta], refs: Sequence[SourceRef]) -> dict[SourceRef, str]:
    """Of those that are there."""
    known = {meta.key: meta.fingerprint for meta in metas}
    return {ref: known[ref.key] for ref in refs if ref.key in known and not ref.version}
