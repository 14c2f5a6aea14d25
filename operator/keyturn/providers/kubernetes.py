"""Secrets of another namespace, or of another cluster, as one identity that its API server knows.

A key is a Secret's name, and its value all of its data. Reads only, each Secret by its name; lists are of metadata alone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from keyturn.model.errors import AccessDenied, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import Cap, Meta, SourceRef, Survey, Value
from keyturn.providers.dial import Answer, TooLong
from keyturn.providers.each import read_each
from keyturn.providers.kubernetes_session import Session
from keyturn.providers.kubernetes_wire import METADATA_LIST, Page, Review, failure, fingerprints, name_of, opened, value_of
from keyturn.providers.room import Hold, Room

_T = TypeVar("_T")

VALUE_LIMIT: Final = 5 << 19
"""A Secret holds 1 MiB, in base64, and metadata of some hundred KiB, twice where kubectl applied it."""
PAGE: Final = 500
PAGE_LIMIT: Final = 4 << 20
MOST: Final = 50_000
"""Secrets of a namespace: more are listed by nobody."""
REVIEW_LIMIT: Final = 1 << 20
_MUCH: Final = 64 << 10
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


class KubernetesProvider:
    """One namespace of one cluster. ``tenant`` is whose share of the room for answers it takes."""

    def __init__(self, namespace: str, session: Session, room: Room, tenant: str) -> None:
        self._namespace = namespace
        self._session = session
        self._room = room
        self._tenant = tenant
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets"
        self._may_list = True

    @property
    def caps(self) -> Cap:
        caps = Cap.GET | Cap.GET_MANY
        return caps | Cap.LIST | Cap.LIST_HAS_VERSION | Cap.TAGS | Cap.SURVEY if self._may_list else caps

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        """Leaves out what there is no room for beside the other answers."""
        self._session.check_open()
        return await read_each(refs, name_of, self._get, self._room, self._tenant)

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        self._session.check_open()
        async for page in self._pages():
            for meta in page:
                if meta.key.startswith(prefix):
                    yield meta

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        """By the metadata of all Secrets in the namespace."""
        self._session.check_open()
        found: dict[SourceRef, str] = {}
        size = calls = 0
        async for page in self._pages():
            found |= fingerprints(page, refs)
            size, calls = size + len(page), calls + 1
        return Survey(found, size, calls)

    async def validate(self) -> None:
        """Asks the API server what this identity may do here: every identity may ask that, and only one that it knows."""
        asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": self._namespace}}
        answer = await self._session.ask("POST", _REVIEWS, body=msgspec.json.encode(asked), limit=REVIEW_LIMIT)
        if answer.status == 403:
            # Known, and not let to ask: a read will tell.
            return
        if answer.status not in {200, 201}:
            error = failure(answer, "what this identity may do")
            raise (
                Invalid("the server is no API server of Kubernetes that says what an identity may do")
                if isinstance(error, NotFound)
                else error
            )
        review = await _worked(answer, partial(opened, answer, Review, "SelfSubjectRulesReview"))
        self._may_list = review.may("list")
        if not review.may("get"):
            raise AccessDenied(f"this identity may get no Secret in the namespace {self._namespace}; bind a Role to it there")

    async def close(self) -> None:
        await self._session.close()

    async def _get(self, ref: SourceRef, hold: Hold) -> Value:
        try:
            answer = await self._session.ask("GET", f"{self._path}/{name_of(ref)}", limit=VALUE_LIMIT, room=hold)
        except TooLong:
            problem = f"{ref} is too large: the API server's answer has more than {VALUE_LIMIT >> 10} KiB"
        else:
            return await _worked(answer, partial(value_of, answer, ref, f"the namespace {self._namespace}"))
        raise Invalid(problem)

    async def _pages(self) -> AsyncIterator[Sequence[Meta]]:
        token, size, seen = "", PAGE, 0
        while True:
            path = f"{self._path}?limit={size}" + (f"&continue={quote(token, safe='')}" if token else "")
            try:
                answer = await self._session.ask("GET", path, accept=METADATA_LIST, limit=PAGE_LIMIT)
            except TooLong:
                if size == 1:
                    raise
                size = max(1, size // 8)
                continue
            page = await _worked(answer, partial(self._page, answer))
            metas = page.metas()
            seen += max(1, len(metas))  # a page without any counts too, else they need have no end
            yield metas
            token = page.token
            if not token:
                return
            if seen >= MOST:
                raise Invalid(f"the namespace {self._namespace} has more than {MOST} Secrets")

    def _page(self, answer: Answer) -> Page:
        if answer.status == 410:
            raise Unavailable("the list of Secrets changed faster than it was read")
        if answer.status != 200:
            raise failure(answer, f"a list of the Secrets in the namespace {self._namespace}")
        return opened(answer, Page, "PartialObjectMetadataList")


async def _worked(answer: Answer, work: Callable[[], _T]) -> _T:
    """What comes of work on an answer, in a thread where others would be kept waiting."""
    return await asyncio.to_thread(work) if len(answer.body) > _MUCH else work()
