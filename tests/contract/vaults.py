"""What the tests of the Vault provider stand on: an engine and a policy of their own in a real server, and a front before it."""

import asyncio
import base64
import gc
import itertools
import json
import ssl
from asyncio.selector_events import _SelectorSocketTransport as Transport
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bao import Bao
from contract.kept import Kept
from controlplane.servers import LOOPBACK
from keyturn.decide.address import AddressRules
from keyturn.model.errors import ProviderError
from keyturn.model.material import Value
from keyturn.model.sensitive import Sensitive
from keyturn.model.vault import AppRoleLogin, VaultConfig, VaultLogin
from keyturn.ports import TenantTokens
from keyturn.providers.dial import Dialer
from keyturn.providers.room import Room
from keyturn.providers.vault import VaultProvider

_numbers = itertools.count(1)

Answering = Callable[[web.Request], web.Response | None]


@dataclass
class Rig(Kept):
    """An engine and a policy that reads it, in one server; and the Secrets that log-ins refer to."""

    bao: Bao
    engine: int = 2
    name: str = field(default_factory=lambda: f"t{next(_numbers)}")
    opened: list[VaultProvider] = field(default_factory=list)
    now_s: float = 1000.0
    token_file: Path = Path("/nowhere")
    tokens: TenantTokens | None = None

    def __post_init__(self) -> None:
        self.mount = self.bao.enable_kv(f"kv-{self.name}", self.engine)
        self.policy = self.bao.policy(self.name, {f"{self.mount}/*": ["read", "list", "scan"]})

    def put(self, key: str, value: str, **more: Any) -> int:
        return self.bao.put(self.mount, key, {"password": value} | more, version=self.engine)

    def approle(self, **more: Any) -> AppRoleLogin:
        """A role of this rig's own, whose tokens are as ``more`` says."""
        auth = self.bao.enable_auth("approle", f"approle-{self.name}-{next(_numbers)}")
        role_id, secret_id = self.bao.approle(auth, "shop", [self.policy], **more)
        return AppRoleLogin(auth, role_id, self.keep(f"{auth}-secret-id", secret_id))

    def open(
        self,
        login: VaultLogin | None = None,
        *,
        rules: AddressRules | None = None,
        room: Room | None = None,
        tenant: str = "",
        kind: type[VaultProvider] = VaultProvider,
        **config: Any,
    ) -> VaultProvider:
        """A provider: with rules a tenant's, else an admin's."""
        made = VaultConfig(
            **{"server": self.bao.url, "mount": self.mount, "engine": self.engine, "authority": Sensitive(self.bao.ca_pem)}
            | {"login": login or self.approle()}
            | config
        )
        dialer = Dialer(rules, tenant)
        times = {"clock": lambda: self.now_s, "chance": lambda: 0.0}
        provider = kind(made, self, dialer, self.token_file, room, tenant, tokens=self.tokens, **times)
        self.opened.append(provider)
        return provider

    async def close(self) -> None:
        for provider in self.opened:
            await provider.close()


def password(answer: Value | ProviderError) -> str:
    """What is in an answer; fails where it is an error."""
    assert isinstance(answer, Value), answer
    return str(json.loads(answer.data.reveal())["password"])


@dataclass
class Front:
    """Stands before the server, and answers in its place where it is told to."""

    bao: Bao
    answering: Answering
    asked: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    url: str = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs, dict(request.headers)))
        if (answer := self.answering(request)) is not None:
            return answer
        headers = {name: value for name, value in request.headers.items() if name.startswith("X-") or name == "Content-Type"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, self.bao.url + request.path_qs, headers=headers, data=await request.read() or None, ssl=self.bao.tls
            ) as passed,
        ):
            pause = {name: value for name, value in passed.headers.items() if name == "Retry-After"}
            return web.Response(status=passed.status, headers=pause, body=await passed.read(), content_type="application/json")


@asynccontextmanager
async def front(bao: Bao, answering: Answering, kind: type[Front] = Front) -> AsyncIterator[Front]:
    """A front for as long as it is entered; its certificate is of the server's authority."""
    made = kind(bao, answering)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    bao.authority.issue_cert(LOOPBACK).configure_cert(tls)
    await web.TCPSite(runner, LOOPBACK, 0, ssl_context=tls).start()
    [(_, port)] = [address[:2] for address in runner.addresses]
    made.url = f"https://{LOOPBACK}:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asleep(bao: Bao) -> AsyncIterator[None]:
    """The server takes connections and answers nothing. In the end those that were given up meanwhile are gone too."""
    bao.pause()
    try:
        yield
    finally:
        bao.resume()
    await all_hung_up()


async def all_hung_up() -> None:
    """Waits for the last connection: whoever outlives the loop is reported, in whichever test comes next."""
    async with asyncio.timeout(30):
        while any(isinstance(each, Transport) and each._sock is not None for each in gc.get_objects()):  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.01)


ISSUER = "tests"
"""Who says so, and the id of the key by which it is said."""


class Signer:
    """Signs JSON Web Tokens as an identity provider does."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_key = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, subject: str = "system:serviceaccount:shop:app", audience: Sequence[str] = ("vault",), **more: Any) -> str:
        now = int(datetime.now(UTC).timestamp())
        claims = {"iss": ISSUER, "sub": subject, "aud": list(audience), "iat": now, "nbf": now - 10, "exp": now + 600} | more

        def part(raw: bytes) -> bytes:
            return base64.urlsafe_b64encode(raw).rstrip(b"=")

        signed = part(json.dumps({"alg": "ES256", "typ": "JWT", "kid": ISSUER}).encode()) + b"." + part(json.dumps(claims).encode())
        r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(SHA256())))
        return (signed + b"." + part(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()
