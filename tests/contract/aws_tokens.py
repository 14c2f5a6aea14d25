"""Tokens of tenants' ServiceAccounts for tests of AWS's log-ins: as a cluster makes them, by a key that roles can trust."""

from collections.abc import Mapping

from contract.vaults import Signer
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount, TenantToken

APP = ServiceAccount("shop", "app")
SUBJECT = "system:serviceaccount:shop:app"


class Tokens:
    """The port `TenantTokens`, by a signer of the test's. ``noted``: how ServiceAccounts are annotated."""

    def __init__(self, signer: Signer, **claims: object) -> None:
        self.signer, self.claims = signer, claims
        self.made: list[tuple[ServiceAccount, str]] = []
        self.noted: dict[ServiceAccount, dict[str, str]] = {}

    async def at_home(self, who: ServiceAccount) -> TenantToken:
        raise NotImplementedError

    async def abroad(self, who: ServiceAccount, audience: str) -> TenantToken:
        self.made.append((who, audience))
        subject = f"system:serviceaccount:{who.namespace}:{who.name}"
        return TenantToken(Sensitive.of(self.signer.sign(subject, (audience,), **self.claims)), "uid", 600.0)

    async def annotations(self, who: ServiceAccount) -> Mapping[str, str]:
        return self.noted.get(who, {})
