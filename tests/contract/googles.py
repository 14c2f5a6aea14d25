"""What the tests of the Google provider stand on: a Secret Manager and token services on the wire, and who may do what there."""

import asyncio
import itertools
import ssl
import tempfile
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from contract.kept import Kept
from contract.servers import elsewhere
from keyturn.decide.address import AddressRules
from keyturn.model.google import AmbientLogin, FederatedLogin, FileLogin, GoogleConfig, GoogleLogin, GooglePlaces, KeyLogin
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount, TenantToken
from keyturn.providers.google import GoogleProvider
from keyturn.providers.google_open import opened
from keyturn.providers.google_writer import GoogleWriter
from keyturn.providers.room import Room
from keyturn.testing.google_secrets import GoogleSecrets
from keyturn.testing.google_tokens import Signer, TokenServices

READER = "reader@shop.iam.gserviceaccount.com"
AUDIENCE = "//iam.googleapis.com/projects/424242/locations/global/workloadIdentityPools/clusters/providers/this"
ISSUER = "https://cluster.test"
PROSE = "kt-canary-prose"
LOOPBACK = "127.0.0.1"
SECRETS, REGIONAL = "secretmanager.googleapis.com", "secretmanager.europe-west3.rep.googleapis.com"
TOKENS = ("oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com")
HOSTS = (SECRETS, REGIONAL, *TOKENS)
"""What a connection by name comes to, by a proxy."""
ACCOUNT = "orders@shop.iam.gserviceaccount.com"
_numbers = itertools.count(1)


@cache
def signer(name: str) -> Signer:
    """One key for each name, in all tests: to make one takes a while."""
    return Signer()


@cache
def authority() -> tuple[trustme.CA, trustme.LeafCert]:
    made = trustme.CA()
    return made, made.issue_cert("localhost", LOOPBACK, *HOSTS)


@dataclass
class Rig(Kept):
    """One cloud: a project of Secret Manager at the global endpoint and at one region's, token services, and Secrets of a cluster."""

    folder: Path
    services: TokenServices = field(default_factory=TokenServices)
    now_s: float = 1000.0
    rules: AddressRules = field(default_factory=AddressRules)
    made: list[tuple[ServiceAccount, str]] = field(default_factory=list)
    opened: list[GoogleProvider] = field(default_factory=list)
    uids: dict[ServiceAccount, str] = field(default_factory=dict)
    notes: dict[ServiceAccount, dict[str, str]] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    """What the cluster's tokens say else than they should."""

    async def start(self) -> None:
        """In a loop of its own, so that the servers' tasks are none of the provider's."""
        self._stack = ExitStack()
        self._loop = self._stack.enter_context(elsewhere())
        await self.there(self._start())

    async def there(self, job: Coroutine[Any, Any, None]) -> None:
        """Has something done where the servers are."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(job, self._loop))

    async def leave(self) -> None:
        """Nobody listens at Secret Manager's any more, and what is under way is cut."""
        await self.there(self.cloud.stop())

    async def come_back(self) -> None:
        """On the port that it had."""
        await self.there(self.cloud.start(*self.tls))

    async def _start(self) -> None:
        ca, leaf = authority()
        ca.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        self.tls = (leaf.private_key_pem.bytes(), b"".join(each.bytes() for each in leaf.cert_chain_pems))
        self.cloud, self.regional = GoogleSecrets(self.services.who), GoogleSecrets(self.services.who, location="europe-west3")
        for server in (self.cloud, self.regional):
            await server.start(*self.tls)
            server.grant(READER, "admin")
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(serving)
        self.runner = web.AppRunner(self.services.app(), access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        for tls in (serving, None):
            await web.TCPSite(self.runner, LOOPBACK, 0, ssl_context=tls).start()
        secure, plain = (address[1] for address in self.runner.addresses)
        self.places = GooglePlaces(
            self.cloud.target,
            self.regional.target,
            f"https://{LOOPBACK}:{secure}/token",
            f"https://{LOOPBACK}:{secure}/v1/token",
            f"http://{LOOPBACK}:{plain}",
            str(self.folder / "ca.pem"),
            f"https://{LOOPBACK}:{secure}",
        )
        self.ports = {SECRETS: int(self.cloud.target.rpartition(":")[2]), REGIONAL: int(self.regional.target.rpartition(":")[2])}
        self.ports |= dict.fromkeys(TOKENS, secure)

    async def stop(self) -> None:
        for provider in self.opened:
            await provider.close()
        await self.there(self._stop())
        self._stack.close()

    async def _stop(self) -> None:
        await self.runner.cleanup()
        for server in (self.cloud, self.regional):
            await server.stop()

    # -- as the port TenantTokens has it ----------------------------------------------------------------------------------------

    async def at_home(self, who: ServiceAccount) -> TenantToken:
        raise NotImplementedError

    async def abroad(self, who: ServiceAccount, audience: str) -> TenantToken:
        self.made.append((who, audience))
        subject = f"system:serviceaccount:{who.namespace}:{who.name}"
        token = signer("cluster").sign({"iss": ISSUER, "sub": subject, "aud": [audience]} | self.claims)
        return TenantToken(Sensitive.of(token), self.uids.get(who, "1"), 600.0)

    async def annotations(self, who: ServiceAccount) -> Mapping[str, str]:
        return self.notes.get(who, {})

    # -- log-ins ----------------------------------------------------------------------------------------------------------------

    def key_login(self, email: str = READER) -> KeyLogin:
        """A key of a service account, in a Secret."""
        key = self.services.key_of(email, signer(email), "https://oauth2.googleapis.com/token")
        return KeyLogin(self.keep(f"key-{next(_numbers)}", key))

    def open(self, login: GoogleLogin | None = None, *, location: str = "", namespace: str = "shop", may_write: bool = True) -> Any:
        """A provider; with a namespace a tenant's, else an admin's."""
        config = GoogleConfig("shop", login or self.key_login(), location)
        space = "" if isinstance(config.login, AmbientLogin | FileLogin) else namespace
        rules = self.rules if space else None
        provider = opened(
            config, self.places, rules, self, self, Room(), space, may_write=may_write, clock=lambda: self.now_s, chance=lambda: 0.0
        )
        self.opened.append(provider)
        return provider

    def writer(self) -> GoogleWriter:
        made = self.open()
        assert isinstance(made, GoogleWriter)
        return made

    def federated(self, name: str = "app", namespace: str = "shop") -> FederatedLogin:
        return FederatedLogin(ServiceAccount(namespace, name), AUDIENCE)

    # -- what is held -----------------------------------------------------------------------------------------------------------

    def seed(self, key: str, data: bytes, labels: dict[str, str] | None = None) -> int:
        """Adds a version as gcloud does: no alias is set."""
        project = self.cloud.held
        if key not in project.secrets:
            project.create(key, labels or {}, {})
        return project.add(key, data).number

    def alias(self, key: str, **aliases: int) -> None:
        held = self.cloud.held.secret(key)
        self.cloud.held.update(key, held.etag, {"version_aliases": held.aliases | aliases})


@asynccontextmanager
async def rigged() -> AsyncIterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="keyturn-google-") as folder:
        made = Rig(Path(folder))
        await made.start()
        try:
            yield made
        finally:
            await made.stop()
