"""A fake Azure Key Vault, for secrets, as its REST API is documented, and never kinder: limits, soft deletion, pages, pauses.

What takes time there takes time here: a deletion, a recovery and a purge go on for ``lag_s``. Names do not tell capitals from small
letters, times are whole seconds, and lists of versions are in no order. `azure_cloud` lets it be reached.
"""

import base64
import json
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final

from aiohttp import web

from keyturn.testing.azure_entra import Entra
from keyturn.testing.azure_secrets import Json, RefusedError, Rights, Secret, Version, check_tags, item

MOST_BYTES: Final = 25 << 10
PAGE: Final = 25
_NAME: Final = re.compile("[0-9A-Za-z-]{1,127}")
_VERSION: Final = re.compile("[0-9a-f]{32}")


@dataclass
class Vault:
    """``rights`` are by client id: whoever has none is refused. ``trouble`` answers in its place. ``asked`` has each request."""

    host: str
    entra: Entra
    now: Callable[[], float] = time.time
    lag_s: float = 0.05
    prose: str = "kt-canary-prose"
    most_in_10_s: int = 4000
    rights: dict[str, Rights] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    is_purge_protected: bool = False
    held: dict[str, Secret] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Verb, path with query, and whether it came with a token: its client id, '' without."""
    trouble: Callable[[web.Request], web.Response | None] = lambda _: None
    _recent: deque[float] = field(default_factory=deque)

    @property
    def resource(self) -> str:
        """What its tokens are for."""
        return f"https://{self.host.partition('.')[2]}"

    def put(self, name: str, value: str, *, tags: Mapping[str, str] | None = None, content_type: str | None = None) -> str:
        """A new version, as somebody else makes it; gives its name."""
        now = int(self.now())
        made = Version(secrets.token_hex(16), value, now, now, dict(tags or {}), content_type)
        self.held.setdefault(name.lower(), Secret(name)).versions.append(made)
        return made.id

    def delete(self, name: str) -> None:
        """Softly, and at once."""
        held = self.held[name.lower()]
        held.is_deleted, held.deleted_at, held.moves_until = True, int(self.now()), 0.0

    # -- requests ---------------------------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """What its host answers."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        grant = self.entra.grant_of(token)
        self.asked.append((request.method, request.path_qs, grant.client_id if grant else ""))
        try:
            answer = self.trouble(request)
            if answer is None:
                if grant is None or grant.resource != self.resource:
                    raise RefusedError(401, "Unauthorized", **{"WWW-Authenticate": self._challenge(is_known=bool(token))})
                self._count()
                answer = await self._answered(request, grant.client_id)
        except RefusedError as refused:
            answer = self._refusal(refused)
        answer.headers["x-ms-request-id"] = secrets.token_hex(16)
        answer.headers["Date"] = formatdate(self.now(), usegmt=True)
        return answer

    def _challenge(self, *, is_known: bool) -> str:
        told = f'Bearer authorization="https://{self.entra.host}/{self.entra.tenant}", resource="{self.resource}"'
        return f'{told}, error="invalid_token"' if is_known else told

    def _refusal(self, refused: RefusedError) -> web.Response:
        error: Json = {"code": refused.code, "message": self.prose}
        if refused.inner:
            error["innererror"] = {"code": refused.inner}
        return web.json_response({"error": error}, status=refused.status, headers=refused.headers)

    def _count(self) -> None:
        """Calls that are refused for their number do not count."""
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 10:
            self._recent.popleft()
        if len(self._recent) >= self.most_in_10_s:
            raise RefusedError(429, "Throttled", **{"Retry-After": str(max(1, int(self._recent[0] + 10 - now)))})
        self._recent.append(now)

    async def _answered(self, request: web.Request, client: str) -> web.Response:
        if not request.query.get("api-version"):
            raise RefusedError(400, "BadParameter")
        parts = request.path.removeprefix("/").rstrip("/").split("/")
        body = json.loads(await request.read()) if request.body_exists and request.method != "GET" else {}
        match request.method, parts:
            case "GET", ["secrets"]:
                self._check(client, "list")
                return self._page(request, self._listed())
            case "GET", ["secrets", name, "versions"]:
                self._check(client, "list", name)
                return self._page(request, self._listed_versions(name))
            case "GET", ["secrets", name, *version]:
                self._check(client, "get", name)
                return self._bundle(*self._version(name, *version), with_value=True)
            case "PUT", ["secrets", name]:
                self._check(client, "set", name)
                return self._set(name, body)
            case "PATCH", ["secrets", name, *version]:
                self._check(client, "set", name)
                return self._update(*self._version(name, *version, may_be_disabled=True), body)
            case "DELETE", ["secrets", name]:
                self._check(client, "delete", name)
                return self._delete(name)
            case "GET", ["deletedsecrets", name]:
                self._check(client, "get", name)
                return self._deleted(self._gone(name))
            case "POST", ["deletedsecrets", name, "recover"]:
                self._check(client, "recover", name)
                return self._recover(self._gone(name))
            case "DELETE", ["deletedsecrets", name]:
                self._check(client, "purge", name)
                return self._purge(self._gone(name))
        raise RefusedError(404, "NotFound")

    def _check(self, client: str, verb: str, name: str = "x") -> None:
        if not _NAME.fullmatch(name):
            raise RefusedError(400, "BadParameter")
        rights = self.rights.get(client, Rights(frozenset()))
        is_open = rights.keys is None or name.lower() in {key.lower() for key in rights.keys}
        if verb not in rights.verbs or not (is_open or (verb == "list" and name == "x")) or name in self.denied:
            raise RefusedError(403, "Forbidden", "ForbiddenByRbac")

    # -- what is there ----------------------------------------------------------------------------------------------------------

    def _there(self, name: str) -> Secret:
        held = self.held.get(name.lower())
        if held is None or held.is_deleted or not self._is_settled(held):
            raise RefusedError(404, "SecretNotFound")
        return held

    def _gone(self, name: str) -> Secret:
        held = self.held.get(name.lower())
        if held is not None and held.is_purged and self._is_settled(held):
            del self.held[name.lower()]
            held = None
        if held is None or not held.is_deleted or held.is_purged or not self._is_settled(held):
            raise RefusedError(404, "SecretNotFound")
        return held

    def _is_settled(self, held: Secret) -> bool:
        return held.moves_until <= time.monotonic()

    def _version(self, name: str, version: str = "", *, may_be_disabled: bool = False) -> tuple[Secret, Version]:
        if version and not _VERSION.fullmatch(version):
            raise RefusedError(400, "BadParameter")
        held = self._there(name)
        found = held.versions[-1] if not version else next((each for each in held.versions if each.id == version), None)
        if found is None:
            raise RefusedError(404, "SecretNotFound")
        if not found.is_enabled and not may_be_disabled:
            raise RefusedError(403, "Forbidden", "SecretDisabled")
        return held, found

    def _listed(self) -> list[Json | None]:
        """A row for each, and none for those that are deleted: a page can be shorter than others, or empty, and not be the last."""
        rows = (self.held[key] for key in sorted(self.held))
        return [None if each.is_deleted or not self._is_settled(each) else self._item(each, each.versions[-1]) for each in rows]

    def _listed_versions(self, name: str) -> list[Json | None]:
        held = self.held.get(name.lower())
        if held is None or held.is_deleted or not self._is_settled(held):
            return []
        return [self._item(held, each, each.id) for each in sorted(held.versions, key=lambda each: each.id)]

    def _page(self, request: web.Request, rows: list[Json | None]) -> web.Response:
        text = request.query.get("maxresults", str(PAGE))
        if not text.isdigit() or not 1 <= int(text) <= PAGE:
            raise RefusedError(400, "BadParameter")
        size, token = int(text), request.query.get("$skiptoken", "")
        start = int(base64.urlsafe_b64decode(token)) if token else 0
        more: str | None = None
        if start + size < len(rows):
            behind = base64.urlsafe_b64encode(str(start + size).encode()).decode()
            version = request.query["api-version"]
            # With the port, as the real one has it.
            more = f"https://{self.host}:443{request.path}?api-version={version}&$skiptoken={behind}&maxresults={size}"
        return web.json_response({"value": [row for row in rows[start : start + size] if row], "nextLink": more})

    # -- answers ----------------------------------------------------------------------------------------------------------------

    def _item(self, held: Secret, version: Version, id_: str = "") -> Json:
        return item(f"https://{self.host}/secrets/{held.name}" + (f"/{id_}" if id_ else ""), version)

    def _bundle(self, held: Secret, version: Version, *, with_value: bool = False) -> web.Response:
        return web.json_response(self._item(held, version, version.id) | ({"value": version.value} if with_value else {}))

    def _set(self, name: str, body: Json) -> web.Response:
        value, tags = body.get("value"), body.get("tags") or {}
        if not isinstance(value, str) or len(value.encode()) > MOST_BYTES:
            raise RefusedError(400, "BadParameter")
        check_tags(tags)
        held = self.held.get(name.lower())
        if held is not None and not self._is_settled(held):
            raise RefusedError(409, "Conflict", "ObjectIsBeingDeleted" if held.is_deleted else "ObjectIsBeingRecovered")
        if held is not None and held.is_purged:
            del self.held[name.lower()]
        elif held is not None and held.is_deleted:
            raise RefusedError(409, "Conflict", "ObjectIsDeletedButRecoverable")
        self.put(name, value, tags=tags, content_type=body.get("contentType"))
        held = self.held[name.lower()]
        held.versions[-1].is_enabled = (body.get("attributes") or {}).get("enabled", True)
        return self._bundle(held, held.versions[-1], with_value=True)

    def _update(self, held: Secret, version: Version, body: Json) -> web.Response:
        if (tags := body.get("tags")) is not None:
            check_tags(tags)
            version.tags = dict(tags)
        version.content_type = body.get("contentType", version.content_type)
        version.is_enabled = (body.get("attributes") or {}).get("enabled", version.is_enabled)
        version.updated = int(self.now())
        return self._bundle(held, version)

    def _delete(self, name: str) -> web.Response:
        held = self._there(name)
        self.delete(name)
        held.moves_until = time.monotonic() + self.lag_s
        return self._deleted(held)

    def _deleted(self, held: Secret) -> web.Response:
        told = self._item(held, held.versions[-1], held.versions[-1].id)
        told |= {"recoveryId": f"https://{self.host}/deletedsecrets/{held.name}", "deletedDate": held.deleted_at}
        return web.json_response(told | {"scheduledPurgeDate": held.deleted_at + 90 * 86400})

    def _recover(self, held: Secret) -> web.Response:
        held.is_deleted, held.moves_until = False, time.monotonic() + self.lag_s
        return self._bundle(held, held.versions[-1])

    def _purge(self, held: Secret) -> web.Response:
        if self.is_purge_protected:
            raise RefusedError(403, "Forbidden", "ForbiddenByPolicy")
        held.is_purged, held.moves_until = True, time.monotonic() + self.lag_s
        return web.Response(status=204)
