"""AWS Secrets Manager as its documentation has it, over moto, which keeps the secrets and lets through what AWS does not.

moto forgets who is current after a promotion, writes over a version that waits, takes what is too large or too many, and makes every
version at the same second. So staging labels are moved here one by one, and limits and times are kept here.
"""

import asyncio
import atexit
import functools
import itertools
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
from moto.server import ThreadedMotoServer

Json = dict[str, Any]

CURRENT = "AWSCURRENT"
MOST_BYTES, BATCH, PAGE, LABELS, TAGS = 65_536, 20, 100, 20, 50
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_NEW = "proxy-new"

logging.getLogger("werkzeug").setLevel(logging.WARNING)


class RefusedError(Exception):
    """As AWS refuses: by a code, in words of its own."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


@functools.cache
def moto() -> str:
    """The URL of this process's moto."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


class Rules:
    """``lagging``: lists are as they were when that was set. ``slow_purges``: so many creations meet a name that is still deleted."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._lock = asyncio.Lock()
        self._made: dict[tuple[str, str], float] = {}
        self._ticks = itertools.count(1)
        self._shown: list[Json] | None = None
        self.denied: set[str] = set()
        self.slow_purges = 0

    async def start(self) -> None:
        self._session = aiohttp.ClientSession()
        async with self._session.post(f"{moto()}/moto-api/reset") as answer:
            assert answer.status == 200

    async def stop(self) -> None:
        await self._session.close()

    async def lag(self, *, is_on: bool) -> None:
        """From now on lists do not hear of anything, or of all again."""
        self._shown = await self._entries() if is_on else None

    async def do(self, operation: str, asked: Json, reads: frozenset[str] | None = None) -> Json:
        """What AWS answers somebody who may reach these secrets, None is all. Raises `RefusedError`."""

        def is_denied(name: str) -> bool:
            return name in self.denied or (reads is not None and name not in reads)

        acts: Mapping[str, Callable[[Json], Awaitable[Json]]] = {
            "BatchGetSecretValue": lambda asked: self._batch(asked, is_denied),
            "CreateSecret": self._create,
            "DeleteSecret": lambda asked: self._pass("DeleteSecret", asked),
            "DescribeSecret": self._describe,
            "GetSecretValue": self._get,
            "ListSecrets": self._list,
            "ListSecretVersionIds": self._versions,
            "PutSecretValue": self._put,
            "RestoreSecret": lambda asked: self._pass("RestoreSecret", asked),
            "TagResource": self._tag,
            "UntagResource": lambda asked: self._unless_deleted("UntagResource", asked),
            "UpdateSecretVersionStage": self._stage,
        }
        if (name := str(asked.get("SecretId") or asked.get("Name") or "")) and is_denied(name):
            raise RefusedError("AccessDeniedException")
        if name and not name.startswith("arn:"):
            _check(_NAME.fullmatch(name), "ValidationException", "is no name")
        async with self._lock:
            return await acts[operation](asked)

    async def put_large(self, name: str, text: str) -> None:
        """Puts what AWS would not take there, for whoever has to show that it is never cut."""
        await self._pass("CreateSecret", {"Name": name, "SecretString": text, "ClientRequestToken": "l" * 32})

    # -- reads ------------------------------------------------------------------------------------------------------------------

    async def _get(self, asked: Json) -> Json:
        wanted = asked if {"VersionId", "VersionStage"} & asked.keys() else asked | {"VersionStage": CURRENT}
        _check(32 <= len(wanted.get("VersionId", "-" * 32)) <= 64, "ValidationException", "no id")
        found = await self._pass("GetSecretValue", wanted)
        return found | {"CreatedDate": self._made.get((found["Name"], found["VersionId"]), found["CreatedDate"])}

    async def _batch(self, asked: Json, is_denied: Callable[[str], bool]) -> Json:
        ids = asked["SecretIdList"]
        _check(1 <= len(ids) <= BATCH, "ValidationException", "too many")
        values, errors = [], []
        for each in ids:
            try:
                if is_denied(each):
                    raise RefusedError("AccessDeniedException")
                values.append(await self._get({"SecretId": each}))
            except RefusedError as refused:
                errors.append({"SecretId": each, "ErrorCode": refused.code, "Message": refused.message})
        return {"SecretValues": values, "Errors": errors}

    async def _describe(self, asked: Json) -> Json:
        found = await self._pass("DescribeSecret", asked)
        return _told(found, "SecretVersionsToStages")

    async def _versions(self, asked: Json) -> Json:
        about = await self._pass("DescribeSecret", {"SecretId": asked["SecretId"]})
        told = [
            {"VersionId": version, "VersionStages": labels, "CreatedDate": self._made.get((about["Name"], version), 0.0)}
            for version, labels in (about.get("VersionIdsToStages") or {}).items()
            if labels or asked.get("IncludeDeprecated")
        ]
        size, at = int(asked.get("MaxResults", PAGE)), int(asked.get("NextToken", 0))
        _check(size <= PAGE, "ValidationException", "too many")
        more = {"NextToken": str(at + size)} if at + size < len(told) else {}
        # In no order that anybody could rely on.
        return {"ARN": about["ARN"], "Name": about["Name"], "Versions": told[::-1][at : at + size]} | more

    async def _list(self, asked: Json) -> Json:
        size, at = int(asked.get("MaxResults", PAGE)), int(asked.get("NextToken", 0))
        _check(1 <= size <= PAGE and len(asked.get("Filters", ())) <= 10, "ValidationException", "too many")
        found = await self._entries() if self._shown is None else self._shown
        for each in asked.get("Filters", ()):
            assert each["Key"] == "name", each
            found = [entry for entry in found if any(entry["Name"].startswith(value) for value in each["Values"])]
        more = {"NextToken": str(at + size)} if at + size < len(found) else {}
        return {"SecretList": found[at : at + size]} | more

    async def _entries(self) -> list[Json]:
        found: list[Json] = []
        token: str | None = ""
        while token is not None:
            page = await self._pass("ListSecrets", {"MaxResults": 100} | ({"NextToken": token} if token else {}))
            found += (_told(entry, "VersionIdsToStages") for entry in page["SecretList"])
            token = page.get("NextToken")
        return found

    # -- writes -----------------------------------------------------------------------------------------------------------------

    async def _create(self, asked: Json) -> Json:
        _check_value(asked)
        try:
            about = await self._pass("DescribeSecret", {"SecretId": asked["Name"]})
        except RefusedError:
            about = {}
        if about.get("DeletedDate") or self.slow_purges:
            self.slow_purges = max(0, self.slow_purges - 1)
            raise RefusedError("InvalidRequestException", "a secret with this name is already scheduled for deletion")
        made = await self._pass("CreateSecret", asked)
        self._note(asked["Name"], made["VersionId"])
        return made

    async def _put(self, asked: Json) -> Json:
        _check_value(asked)
        about = await self._there(asked)
        labels, token = list(asked.get("VersionStages") or [CURRENT]), asked["ClientRequestToken"]
        versions = about.get("VersionIdsToStages") or {}
        if token in versions:
            before = await self._pass("GetSecretValue", {"SecretId": asked["SecretId"], "VersionId": token})
            same = all(before.get(member) == asked.get(member) for member in ("SecretString", "SecretBinary"))
            _check(same, "ResourceExistsException", "the token has another value")
            return {"ARN": about["ARN"], "Name": about["Name"], "VersionId": token, "VersionStages": versions[token]}
        held = {label for each in versions.values() for label in each}
        _check(len(held | set(labels)) <= LABELS, "LimitExceededException", "too many labels")
        others = [label for label in labels if label != CURRENT]
        if not versions:
            await self._pass("PutSecretValue", asked | {"VersionStages": [*others, CURRENT]})
        else:
            await self._pass("PutSecretValue", asked | {"VersionStages": others or [_NEW]})
            if CURRENT in labels:
                await self._move(asked["SecretId"], CURRENT, token, _holder(versions, CURRENT))
            if not others:
                await self._move(asked["SecretId"], _NEW, "", token)
        self._note(about["Name"], token)
        return {"ARN": about["ARN"], "Name": about["Name"], "VersionId": token, "VersionStages": labels}

    async def _stage(self, asked: Json) -> Json:
        about = await self._there(asked)
        versions = about.get("VersionIdsToStages") or {}
        label, to, come_from = asked["VersionStage"], asked.get("MoveToVersionId", ""), asked.get("RemoveFromVersionId", "")
        holder = _holder(versions, label)
        _check(to or come_from, "InvalidParameterException", "neither")
        _check(not to or to in versions, "InvalidParameterException", "no such version")
        _check(to or label != CURRENT, "InvalidParameterException", "somebody has to be current")
        _check(come_from in {holder, ""} if holder == to else come_from == holder, "InvalidParameterException", "it is elsewhere")
        if holder != to:
            await self._move(asked["SecretId"], label, to, holder)
        return {"ARN": about["ARN"], "Name": about["Name"]}

    async def _tag(self, asked: Json) -> Json:
        _check(len(asked["Tags"]) <= TAGS, "InvalidParameterException", "too many tags")
        return await self._unless_deleted("TagResource", asked)

    async def _unless_deleted(self, operation: str, asked: Json) -> Json:
        await self._there(asked)
        return await self._pass(operation, asked)

    async def _move(self, secret: str, label: str, to: str, come_from: str) -> None:
        asked = {"SecretId": secret, "VersionStage": label}
        asked |= {"MoveToVersionId": to} if to else {}
        await self._pass("UpdateSecretVersionStage", asked | ({"RemoveFromVersionId": come_from} if come_from else {}))

    async def _there(self, asked: Json) -> Json:
        about = await self._pass("DescribeSecret", {"SecretId": asked["SecretId"]})
        _check(not about.get("DeletedDate"), "InvalidRequestException", "it was marked for deletion")
        return about

    def _note(self, name: str, version: str) -> None:
        self._made[name, version] = int(time.time()) + next(self._ticks) / 1000

    async def _pass(self, operation: str, asked: Json) -> Json:
        credential = f"AKIAPROXY/20260101/{self._region}/secretsmanager/aws4_request"
        headers = {
            "X-Amz-Target": f"secretsmanager.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0",
        }
        async with self._session.post(moto(), json=asked, headers=headers) as answer:
            told: Json = await answer.json(content_type=None)
        if answer.status >= 300:
            raise RefusedError(str(told["__type"]), str(told.get("message") or told.get("Message") or ""))
        return told


def _check(claim: object, code: str, message: str) -> None:
    if not claim:
        raise RefusedError(code, message)


def _check_value(asked: Json) -> None:
    text, raw = asked.get("SecretString"), asked.get("SecretBinary")
    _check((text is None) is not (raw is None), "InvalidRequestException", "one of both")
    size = len(text.encode()) if text is not None else len(str(raw)) * 3 // 4 - str(raw).count("=")
    _check(1 <= size <= MOST_BYTES, "ValidationException", "the size")
    _check(32 <= len(asked.get("ClientRequestToken", "")) <= 64, "ValidationException", "the token")


def _told(found: Json, but: str) -> Json:
    """Only what has a value, and only versions with a label."""
    for member in ("VersionIdsToStages", "SecretVersionsToStages"):
        if member in found:
            found[member] = {version: labels for version, labels in found[member].items() if labels}
    return {member: value for member, value in found.items() if value is not None and member != but}


def _holder(versions: Mapping[str, list[str]], label: str) -> str:
    return next((version for version, labels in versions.items() if label in labels), "")
