"""What Kopf gets to read of our own kinds: the objects as it and we use them, and no other metadata.

Kopf decodes whole objects, lists of five hundred at a time, and a tenant may widen the metadata of each to more than a
megabyte, which as objects of Python is twenty. It stands between Kopf and the API server as a middleware of its session.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import msgspec

from keyturn.kube.pages import LONGEST_OBJECT, LONGEST_PAGE, lines
from keyturn.model.ids import GROUP, RECONCILE_ANNOTATION

_WATCH, _LIMIT = "watch", "limit"


class _Annotations(msgspec.Struct, omit_defaults=True, frozen=True):
    reconcile: str = msgspec.field(name=RECONCILE_ANNOTATION, default="")


class _Metadata(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: str = ""
    annotations: _Annotations = _Annotations()


class _Object(msgspec.Struct, rename="camel"):
    metadata: _Metadata
    api_version: str | msgspec.UnsetType = msgspec.UNSET
    kind: str | msgspec.UnsetType = msgspec.UNSET
    spec: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    status: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _List(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    metadata: msgspec.Raw
    items: list[_Object] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_object = msgspec.json.Decoder(_Object)
_list = msgspec.json.Decoder(_List)
_event = msgspec.json.Decoder(_Event)
_encode: Final = msgspec.json.Encoder().encode


async def lean(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware for Kopf's session: lists and watches of our kinds come without what nobody reads."""
    query = request.url.query
    if f"/apis/{GROUP}/" not in request.url.path or not (_WATCH in query or _LIMIT in query):
        return await send(request)
    response = await send(request)
    if _WATCH in query:
        if response.status == 200:
            response.content = _Lean(response.content)  # type: ignore[assignment]  # it is read by chunks, and asked how much came
        return response
    while response.status == 200 and not await _take(response, LONGEST_PAGE if int(request.url.query[_LIMIT]) > 1 else LONGEST_OBJECT):
        response.close()
        request.url = request.url.update_query({_LIMIT: str(max(1, int(request.url.query[_LIMIT]) // 8))})
        response = await send(request)
    return response


async def _take(response: aiohttp.ClientResponse, longest: int) -> bool:
    """Reads a list into the response; False where it is too long."""
    text = bytearray()
    async for chunk in response.content.iter_any():
        text += chunk
        if len(text) > longest:
            return False
    response._body = _encode(_list.decode(text))
    return True


def _lean_event(line: bytes) -> bytes:
    event = _event.decode(line)
    # What is no object is an error's Status.
    return line if event.type == "ERROR" else _encode({"type": event.type, "object": _object.decode(event.object)})


class _Lean:
    """A watch's body as Kopf reads it, line by line; for all else the stream that it is."""

    def __init__(self, stream: aiohttp.StreamReader) -> None:
        self._stream = stream

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        async for line in lines(self._stream):
            yield _lean_event(line) + b"\n"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
