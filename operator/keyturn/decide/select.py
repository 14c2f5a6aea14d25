"""From a provider's value to the bytes that one key of the Secret gets: property first, then decoding.

Pure, and silent about values: an error names the source and the property, never a piece of what
was read.
"""

import binascii
import re
from dataclasses import dataclass, field
from typing import assert_never

from keyturn.decide import jsontext, paths
from keyturn.decide.jsontext import Json
from keyturn.model.errors import Invalid, NotFound, Rejected
from keyturn.model.material import Form, Value
from keyturn.model.order import Decoding, Entry
from keyturn.model.sensitive import Sensitive

MOST_PARSED = 2 << 20
MOST_DECODED = 16 << 20
"""In bytes, for one order: a Secret holds 1 MiB, and what takes a second of one object's time takes it of everybody's."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/]*+={0,2}")
_BASE64_URL = re.compile(rb"[A-Za-z0-9_-]*+={0,2}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_URL_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


@dataclass(slots=True)
class Work:
    """What one order has had taken apart so far: each document once, and no more of all than keeps the others waiting for a moment."""

    documents: dict[tuple[object, ...], Json | Invalid] = field(default_factory=dict)
    parsed: int = 0
    decoded: int = 0


def extract(value: Value, entry: Entry, work: Work) -> Sensitive:
    """Gives the bytes that ``entry`` asks for.

    Raises `NotFound` for a property that is not there, `Invalid` where the value cannot hold one, does not decode or is too
    much with all that the order had before, and `Rejected` for a property that is no path.
    """
    found = _part(value, entry, work)
    if entry.decoding is not Decoding.NONE:
        work.decoded += len(found)
        if work.decoded > MOST_DECODED:
            raise _invalid(entry, f"with it more than {MOST_DECODED >> 20} MiB are to be decoded; split the ManagedSecret")
    return _decode(found, entry)


def _part(value: Value, entry: Entry, work: Work) -> Sensitive:
    if not entry.property:
        if value.form is Form.MAP_OF_BYTES:
            raise _invalid(entry, "it holds bytes that are no text, so that no JSON can give all of it; name one of its keys in property")
        return value.data
    place = (entry.provider, entry.source)
    document = _parsed(value.data, entry, work, place)
    names = _names(document, entry)
    if value.form is Form.PLAIN:
        return _text(document, names, entry)
    name, *rest = names
    member = document.get(name) if isinstance(document, dict) else None
    if not isinstance(member, str):
        raise _missing(entry)
    data = Sensitive(binascii.a2b_base64(member)) if value.form is Form.MAP_OF_BYTES else Sensitive.of(member)
    return _text(_parsed(data, entry, work, (*place, name)), tuple(rest), entry) if rest else data


def _parsed(data: Sensitive, entry: Entry, work: Work, place: tuple[object, ...]) -> Json:
    if place not in work.documents:
        try:
            work.documents[place] = _document(data, entry, work)
        except Invalid as error:
            work.documents[place] = error.with_traceback(None)
    document = work.documents[place]
    if isinstance(document, Invalid):
        raise document.with_traceback(None)
    return document


def _text(document: Json, names: tuple[str, ...], entry: Entry) -> Sensitive:
    try:
        found = paths.find(document, names)
    except LookupError:
        raise _missing(entry) from None
    text = jsontext.text_of(found)
    # JSON can spell half a character (a lone surrogate), which no bytes can hold.
    if _SURROGATE.search(text):
        raise _invalid(entry, f"the property {entry.property!r} is no Unicode text")
    return Sensitive.of(text)


def _names(document: Json, entry: Entry) -> tuple[str, ...]:
    if isinstance(document, dict) and entry.property in document:
        return (entry.property,)
    try:
        return paths.split(entry.property)
    except Rejected as error:
        raise Rejected(f"{entry.field}.remoteRef.property: {error}") from None


def _document(data: Sensitive, entry: Entry, work: Work) -> Json:
    work.parsed += len(data)
    if work.parsed > MOST_PARSED:
        raise _invalid(entry, f"with it more than {MOST_PARSED >> 20} MiB of JSON are to be taken apart; split the ManagedSecret")
    problem = ""
    document: Json = None
    try:
        document = jsontext.parse(data.reveal().decode("utf-8-sig"))
    except UnicodeDecodeError:
        problem = "no JSON: it is not UTF-8"
    except Invalid as error:
        problem = str(error)
    if not problem and not isinstance(document, dict | list):
        problem = "a single JSON value, and no object"
    # Raised out here: a decoder's error holds the value, and would hang on ours as its context.
    if problem:
        raise _invalid(entry, f"a property is asked for, and the value is {problem}")
    return document


def _decode(data: Sensitive, entry: Entry) -> Sensitive:
    """Decodes as Go's encoding/base64 does for ESO's users: padding is needed, line breaks are skipped, nothing else is.

    Auto takes whatever is base64 by chance for base64; ``password`` is such a word.
    """
    match entry.decoding:
        case Decoding.NONE:
            return data
        case Decoding.BASE64:
            decoded = _base64(data)
        case Decoding.BASE64_URL:
            decoded = _base64_url(data)
        case Decoding.AUTO:
            # Not `or`: an empty value is an answer too.
            return next((found for found in (_base64(data), _base64_url(data)) if found is not None), data)
        case _:
            assert_never(entry.decoding)
    if decoded is None:
        raise _invalid(entry, f"the value is no {entry.decoding} (decodingStrategy)")
    return decoded


def _base64(data: Sensitive) -> Sensitive | None:
    text = data.reveal().translate(None, b"\r\n")
    return Sensitive(binascii.a2b_base64(text)) if _BASE64.fullmatch(text) and len(text) % 4 == 0 else None


def _base64_url(data: Sensitive) -> Sensitive | None:
    text = data.reveal().translate(None, b"\r\n")
    return _base64(Sensitive(text.translate(_URL_TO_STANDARD))) if _BASE64_URL.fullmatch(text) else None


def _missing(entry: Entry) -> NotFound:
    return NotFound(f"{entry.source} has no property {entry.property!r}")


def _invalid(entry: Entry, problem: str) -> Invalid:
    return Invalid(f"{entry.source}: {problem}")
