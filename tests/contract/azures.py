"""What the tests of the azureKeyVault provider stand on: a fake cloud, a vault in it, and identities."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from contract.kept import Kept
from keyturn.decide.address import AddressRules
from keyturn.model.azure import AzureConfig, AzureLogin, Principal, SecretLogin, TenantLogin
from keyturn.model.tenant import ServiceAccount
from keyturn.ports import TenantTokens
from keyturn.providers.azure import AzureProvider
from keyturn.providers.azure_login import Entrance
from keyturn.providers.azure_road import Road
from keyturn.providers.azure_session import Session
from keyturn.providers.azure_writer import AzureWriter
from keyturn.providers.room import Room
from keyturn.testing.azure_cloud import Cloud
from keyturn.testing.azure_secrets import Rights

SECRET = "kt-canary-client-secret"


@dataclass
class Rig(Kept):
    """A cloud, its vault `shop`, a client that may all, and providers that log in as this one.

    The vault's clock stands still, an hour ago, and goes on by a second with each `seed`.
    """

    cloud: Cloud
    opened: list[AzureProvider] = field(default_factory=list)
    now_s: float = 1000.0
    time_s: float = field(default_factory=lambda: time.time() - 3600)

    def __post_init__(self) -> None:
        self.vault = self.cloud.vault("shop")
        self.vault.now = lambda: self.time_s
        self.entra = self.cloud.entra
        self.client_id = self.entra.add(secret=SECRET)
        self.vault.rights[self.client_id] = Rights()

    def principal(self, client_id: str = "") -> Principal:
        return Principal(self.entra.tenant, self.keep(f"client-{client_id[:8]}", client_id or self.client_id))

    def login(self, secret: str = SECRET) -> SecretLogin:
        return SecretLogin(self.principal(), self.keep(f"secret-{len(secret)}", secret))

    def tenant_login(self, who: ServiceAccount, client_id: str) -> TenantLogin:
        """A ServiceAccount whose spec says all."""
        principal = self.principal(client_id)
        return TenantLogin(who, principal.tenant, principal.client_id)

    def session(
        self, login: AzureLogin | None = None, *, vault: str = "", tokens: TenantTokens | None = None, rules: AddressRules | None = None
    ) -> Session:
        """``rules``: it is a tenant's."""
        config = AzureConfig(vault or self.vault.host, login or self.login())
        road = Road(self.cloud.suffix, rules, "shop" if rules else "")
        return Session(config, Entrance(config, self, tokens, road), road, clock=lambda: self.now_s, chance=lambda: 0.0)

    def open(self, login: AzureLogin | None = None, *, vault: str = "", tokens: TenantTokens | None = None) -> AzureWriter:
        made = AzureWriter(self.session(login, vault=vault, tokens=tokens), Room(), "shop")
        self.opened.append(made)
        return made

    def seed(self, key: str, value: str, tags: Mapping[str, str] | None = None) -> str:
        """A new version, a second after the last one."""
        self.time_s += 1
        return self.vault.put(key, value, tags=tags)

    async def close(self) -> None:
        for each in self.opened:
            await each.close()


@contextmanager
def rigged() -> Iterator[Rig]:
    """A cloud that this process is led to."""
    with ExitStack() as stack:
        cloud = stack.enter_context(Cloud())
        stack.enter_context(cloud.surroundings())
        yield Rig(cloud)
