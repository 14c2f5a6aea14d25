"""Tokens of ServiceAccounts for tests of Azure's log-ins: as a cluster makes them, and as Entra checks them."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from contract.azures import Rig
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount, TenantToken
from keyturn.testing.azure_entra import EXCHANGE, Trust
from keyturn.testing.azure_secrets import Rights

ISSUER = "https://issuer.example"
READER = ServiceAccount("shop", "reader")


@dataclass
class Issuer:
    """Signs tokens of ServiceAccounts, as an API server does. ``made`` has the audiences that it was asked for."""

    key: rsa.RSAPrivateKey
    life_s: float = 600.0
    audience: str = ""
    made: list[tuple[ServiceAccount, str]] = field(default_factory=list)
    noted: dict[ServiceAccount, dict[str, str]] = field(default_factory=dict)

    async def at_home(self, who: ServiceAccount) -> TenantToken:
        raise AssertionError(f"a token of {who} that the API server takes goes to nobody")

    async def abroad(self, who: ServiceAccount, audience: str) -> TenantToken:
        self.made.append((who, audience))
        return TenantToken(Sensitive.of(self.token(who, self.audience or audience)), "uid", self.life_s)

    async def annotations(self, who: ServiceAccount) -> Mapping[str, str]:
        return self.noted.get(who, {})

    def token(self, who: ServiceAccount, audience: str = EXCHANGE) -> str:
        now = int(time.time())
        subject = f"system:serviceaccount:{who.namespace}:{who.name}"
        claims = {"iss": ISSUER, "sub": subject, "aud": [audience], "iat": now, "nbf": now, "exp": now + int(self.life_s)}
        text = f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(claims)}"
        seal = self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{urlsafe_b64encode(seal).decode().rstrip('=')}"


def part(claims: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def trusting(rig: Rig, who: ServiceAccount = READER, audience: str = EXCHANGE) -> str:
    """A client that trusts a ServiceAccount, and may read all."""
    client = rig.entra.add(trust=Trust(ISSUER, f"system:serviceaccount:{who.namespace}:{who.name}", audience))
    rig.vault.rights[client] = Rights()
    return client
