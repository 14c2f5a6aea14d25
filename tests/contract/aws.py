"""What the tests of the AWS provider stand on: AWS as documented, over moto, and providers that ask it by the real SDK."""

import base64
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from contract.answers import get
from contract.aws_rules import RefusedError, Rules
from contract.aws_sts import Identity, Role, Sts, assumed, service_of, spelled
from contract.kept import Kept
from contract.servers import Front, elsewhere
from keyturn.decide.address import AddressRules
from keyturn.model.aws import AssumedRole, AwsConfig, AwsLogin, KeysLogin
from keyturn.model.errors import AuthFailed
from keyturn.model.material import SourceRef
from keyturn.ports import TenantTokens
from keyturn.providers.aws import AwsProvider
from keyturn.providers.aws_open import opened
from keyturn.providers.room import Room

Json = dict[str, Any]
Answering = Callable[[str], web.Response | None]

REGION = "eu-west-1"
PROSE = "kt-canary-prose"
KEY_ID, SECRET = "AKIAKEYTURNTESTS0001", "kt-canary-secret-access-key"
USER = "arn:aws:iam::123456789012:user/keyturn"
ROLE = "arn:aws:iam::123456789012:role/shop"
REQUEST = {"x-amzn-RequestId": "0f-request"}
WRITES = frozenset({"CreateSecret", "PutSecretValue", "UpdateSecretVersionStage"})
_numbers = itertools.count(1)


def refusal(code: str, status: int = 400, **headers: str) -> web.Response:
    """As a service of AWS's in JSON refuses, with words of its own."""
    told = {"__type": code, "message": PROSE}
    return web.json_response(told, status=status, headers={**REQUEST, **headers})


@dataclass(kw_only=True)
class Aws(Front):
    """Secrets Manager and STS behind one port. Answers in their place where it is told to.

    ``losing``: operations whose answers are lost on the way.
    """

    rules: Rules = field(default_factory=lambda: Rules(REGION))
    sts: Sts = field(default_factory=Sts)
    answering: Answering = lambda _: None
    asked: list[tuple[str, Json]] = field(default_factory=list)
    refused_operations: set[str] = field(default_factory=set)
    losing: frozenset[str] = frozenset()

    def count(self, operation: str) -> int:
        """How often it was asked for."""
        return [each for each, _ in self.asked].count(operation)

    async def start(self) -> None:
        self.sts.identities[KEY_ID] = Identity(SECRET, USER)
        self.sts.roles[ROLE] = Role({USER})
        await self.there(self.rules.start())
        await self.listen()

    async def stop(self) -> None:
        await self.leave()
        await self.there(self.rules.stop())

    async def do(self, operation: str, **asked: Any) -> Json:
        """As an administrator of the account, to whom all is open."""
        denied, self.rules.denied = self.rules.denied, set()
        try:
            return await self.there(self.rules.do(operation, asked))
        finally:
            self.rules.denied = denied

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        is_sts = service_of(headers) == "sts"
        form = dict(parse_qsl(body.decode(), keep_blank_values=True)) if is_sts else {}
        operation = form.get("Action") or headers.get("x-amz-target", "").rpartition(".")[2]
        self.asked.append((operation, form or json.loads(body)))
        if await self.was_silent():
            return refusal("InternalServiceError", 500)
        if (answer := self.answering(operation)) is not None:
            return answer
        try:
            if is_sts:
                return self._log_in(request, operation, headers, body, form)
            who = self.sts.who(request.method, request.path_qs, headers, body)
            if operation in self.refused_operations:
                raise RefusedError("AccessDeniedException")
            told = await self.rules.do(operation, json.loads(body), who.reads)
        except RefusedError as error:
            if is_sts:
                return web.Response(text=spelled(error, PROSE), status=error.status, content_type="text/xml", headers=REQUEST)
            told = {"__type": error.code, "message": f"{PROSE} {error.message}"}
            return web.json_response(told, status=error.status, headers=REQUEST)
        if operation in self.losing and request.transport:
            request.transport.abort()
        return web.Response(text=json.dumps(told), headers=REQUEST, content_type="application/x-amz-json-1.1")

    def _log_in(
        self, request: web.Request, operation: str, headers: Mapping[str, str], body: bytes, form: Mapping[str, str]
    ) -> web.Response:
        is_signed = operation != "AssumeRoleWithWebIdentity"
        who = self.sts.who(request.method, request.path_qs, headers, body) if is_signed else None
        key_id, made = self.sts.assume(who, form)
        text = assumed(operation, key_id, made, int(form.get("DurationSeconds", self.sts.life_s)))
        return web.Response(text=text, content_type="text/xml", headers=REQUEST)


@dataclass(kw_only=True)
class Account(Kept):
    """An AWS account, the Secrets that log-ins refer to, and what was opened. Alone in its process, as the SDK's environment is."""

    opened: list[AwsProvider] = field(default_factory=list)
    now_s: float = 1000.0
    tokens: TenantTokens | None = None

    async def start(self) -> None:
        self._stack = ExitStack()
        self.front = Aws(loop=self._stack.enter_context(elsewhere()))
        await self.front.start()
        given = {
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.front.url,
            "AWS_ENDPOINT_URL_STS": self.front.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        self._stack.callback(_restore, before)

    async def stop(self) -> None:
        for provider in self.opened:
            await provider.close()
        await self.front.stop()
        self._stack.close()

    def keys(self, key_id: str = KEY_ID, secret: str = SECRET) -> KeysLogin:
        """A log-in by an access key."""
        number = next(_numbers)
        return KeysLogin(self.keep(f"id-{number}", key_id), self.keep(f"secret-{number}", secret))

    def open(
        self,
        login: AwsLogin | None = None,
        role: AssumedRole | None = None,
        *,
        rules: AddressRules | None = None,
        room: Room | None = None,
        may_write: bool = False,
        **config: str,
    ) -> AwsProvider:
        """A provider: with rules a tenant's, else an admin's."""
        made = AwsConfig(REGION, login or self.keys(), role, **config)
        provider = opened(
            made, rules, self, self.tokens, room or Room(), "shop", may_write=may_write, clock=lambda: self.now_s, chance=lambda: 0.0
        )
        self.opened.append(provider)
        return provider

    async def put(self, name: str, value: str | bytes, label: str = "AWSCURRENT", **more: Any) -> str:
        """A new version, made by others; gives its id."""
        token = f"seeded-{next(_numbers):032d}"
        payload: Json = {"SecretString": value} if isinstance(value, str) else {"SecretBinary": _b64(value)}
        try:
            await self.front.do("DescribeSecret", SecretId=name)
        except RefusedError:
            await self.front.do("CreateSecret", Name=name, ClientRequestToken=token, **payload, **more)
        else:
            await self.front.do("PutSecretValue", SecretId=name, ClientRequestToken=token, VersionStages=[label], **payload)
        return token


@asynccontextmanager
async def account() -> AsyncIterator[Account]:
    made = Account()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def refused(here: Account, says: str, **opened: Any) -> None:
    """A read and `validate` say the same, and nothing that is secret."""
    provider = here.open(**opened)
    error = await get(provider, "db")
    assert isinstance(error, AuthFailed), error
    assert says in str(error)
    assert "kt-canary" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
    with pytest.raises(AuthFailed):
        await provider.validate()


async def fill(here: Account, count: int) -> list[SourceRef]:
    for number in range(count):
        await here.put(f"many/{number:03d}", f"kt-canary-{number}")
    return [SourceRef(f"many/{number:03d}") for number in range(count)]


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()
