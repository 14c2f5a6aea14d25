"""How an identity logs in to Entra: by what it has, one token for one resource. Keeps nothing; each log-in reads its credential anew.

A tenant's ServiceAccount is asked for by TokenRequest, with the one audience that Entra takes, and its token goes to Entra alone.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, assert_never

import aiohttp
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientAssertionCredential, ClientSecretCredential, ManagedIdentityCredential

from keyturn.decide.annotated import azure_client, azure_tenant
from keyturn.model.azure import (
    EXCHANGE,
    AzureConfig,
    CertificateLogin,
    ManagedLogin,
    OwnLogin,
    Principal,
    SecretLogin,
    TenantLogin,
    is_client,
    is_tenant,
)
from keyturn.model.errors import AuthFailed, Rejected
from keyturn.model.ids import KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.ports import References, TenantTokens
from keyturn.providers.azure_certificate import assertion
from keyturn.providers.azure_road import READ_S, Road
from keyturn.providers.azure_wire import log_in_failure
from keyturn.providers.dial import CONNECT_S

AUTHORITIES: Final = {
    "PublicCloud": "login.microsoftonline.com",
    "USGovernmentCloud": "login.microsoftonline.us",
    "ChinaCloud": "login.chinacloudapi.cn",
    "GermanCloud": "login.microsoftonline.de",
}
_METADATA: Final = "the machine's metadata service"
_LARGEST_TOKEN: Final = 64 << 10

# Nothing is asked twice by the SDK: what comes again, and when, is the guard's business.
PATIENCE: Final[Mapping[str, Any]] = {"retry_total": 0, "connection_timeout": CONNECT_S, "read_timeout": READ_S}

Token = tuple[str, int]
"""A token, and the end of its life in seconds since 1970."""


class Entrance:
    """The identity of an `AzureConfig`."""

    def __init__(self, config: AzureConfig, references: References, tokens: TenantTokens | None, road: Road) -> None:
        self._config = config
        self._references = references
        self._tokens = tokens
        self._road = road

    async def log_in(self, session: aiohttp.ClientSession, scope: str) -> Token:
        """A new token for ``scope``, fetched over ``session``. Raises a `ProviderError`."""
        try:
            async with AsyncExitStack() as stack:
                credential = await self._credential(session, stack)
                told = await credential.get_token(scope)
                return str(told.token), int(told.expires_on)
        except (AzureError, OSError, ValueError, TypeError, LookupError, RuntimeError, aiohttp.ClientError) as error:
            failed = log_in_failure(error, str(self), self._config.login, self._silence)
        raise failed  # here, where no library's text hangs on it

    def __str__(self) -> str:
        match self._config.login:
            case SecretLogin(_, secret):
                return f"the client secret in {secret}, key {secret.key}"
            case CertificateLogin(_, certificate):
                return f"the certificate in {certificate}, key {certificate.key}"
            case TenantLogin(who):
                return f"the token of {who}"
            case ManagedLogin():
                return "the operator's managed identity"
            case OwnLogin():
                return "the operator's workload identity"

    def _silence(self, error: Exception) -> str:
        if isinstance(self._config.login, ManagedLogin):
            return f"{_METADATA} gave no answer; a managed identity is had on a machine of Azure's alone, so log in another way elsewhere"
        return self._road.silence_of(AUTHORITIES[self._config.environment], error)

    async def _credential(self, session: aiohttp.ClientSession, stack: AsyncExitStack) -> Any:
        """The SDK's credential, which makes one token and is closed with ``stack``."""
        more: dict[str, Any] = {
            **PATIENCE,
            "transport": transport(session),
            "authority": AUTHORITIES[self._config.environment],
            "disable_instance_discovery": True,
        }
        login = self._config.login
        match login:
            case SecretLogin(principal, secret):
                word = _text(await self._references.read(secret), secret)
                made: Any = ClientSecretCredential(*await self._ids(principal), word, **more)
            case CertificateLogin(principal, certificate):
                made = await self._by_certificate(principal, certificate, more)
            case TenantLogin():
                made = await self._by_token(login, more)
            case OwnLogin():
                made = ClientAssertionCredential(*await self._own_ids(login), func=_giving(await _own_token()), **more)
            case ManagedLogin(client_id):
                named: dict[str, Any] = {"client_id": await self._client(client_id)} if client_id else {}
                local = await stack.enter_async_context(self._road.open_local())
                made = ManagedIdentityCredential(**named, **PATIENCE, transport=transport(local))
            case _:
                assert_never(login)
        stack.push_async_callback(made.close)
        return made

    async def _by_token(self, login: TenantLogin, more: Mapping[str, Any]) -> Any:
        if self._tokens is None:
            raise AuthFailed(f"a token of {login.who} is made by the operator, in its cluster")
        # Nobody needs the right to look where the spec says all.
        is_told = login.tenant is not None and login.client_id is not None
        noted = {} if is_told else await self._tokens.annotations(login.who)
        tenant = await self._tenant(login.tenant) if login.tenant else azure_tenant(login.who, noted)
        client = await self._client(login.client_id) if login.client_id else azure_client(login.who, noted)
        subject = await _token_of(login.who, self._tokens)
        return ClientAssertionCredential(tenant, client, func=_giving(subject), **more)

    async def _by_certificate(self, principal: Principal, kept: KeyRef, more: Mapping[str, Any]) -> Any:
        pem = await self._references.read(kept)
        tenant, client = await self._ids(principal)
        endpoint = f"https://{more['authority']}/{tenant}/oauth2/v2.0/token"
        # In a thread: a signature takes milliseconds.
        signed = await asyncio.to_thread(lambda: assertion(pem.reveal(), client, endpoint, f"{kept}, key {kept.key},"))
        return ClientAssertionCredential(tenant, client, func=_giving(signed), **more)

    async def _ids(self, principal: Principal) -> tuple[str, str]:
        return await self._tenant(principal.tenant), await self._client(principal.client_id)

    async def _own_ids(self, login: OwnLogin) -> tuple[str, str]:
        tenant = await self._tenant(login.tenant) if login.tenant else _own("AZURE_TENANT_ID")
        return tenant, await self._client(login.client_id) if login.client_id else _own("AZURE_CLIENT_ID")

    async def _tenant(self, named: str | KeyRef) -> str:
        if isinstance(named, str):
            return named
        found = _text(await self._references.read(named), named)
        if not is_tenant(found):
            raise AuthFailed(f"{named}, key {named.key}, holds no id and no domain of a tenant")
        return found

    async def _client(self, kept: KeyRef) -> str:
        found = _text(await self._references.read(kept), kept)
        if not is_client(found):
            raise AuthFailed(f"{kept}, key {kept.key}, holds no client id")
        return found


def transport(session: aiohttp.ClientSession) -> AioHttpTransport:
    """The SDK's way over a session that stays ours."""
    return AioHttpTransport(session=session, session_owner=False, connection_timeout=CONNECT_S, read_timeout=READ_S)


def _giving(word: str) -> Callable[[], str]:
    return lambda: word


def _text(value: Sensitive, kept: KeyRef) -> str:
    try:
        found = value.reveal().decode().strip()
    except UnicodeDecodeError:
        found = ""
    if not found:
        raise AuthFailed(f"{kept}, key {kept.key}, is empty, or no text")
    return found


def _own(name: str) -> str:
    found = os.environ.get(name, "")
    if not (is_tenant(found) if name == "AZURE_TENANT_ID" else is_client(found)):
        raise AuthFailed(f"the operator has no workload identity: {name} is not set; label its pod and annotate its ServiceAccount for it")
    return found


async def _token_of(who: ServiceAccount, tokens: TenantTokens) -> str:
    try:
        return (await tokens.abroad(who, EXCHANGE)).secret.reveal().decode("ascii")
    except Rejected as rejected:
        problem = str(rejected)
    raise AuthFailed(problem)


async def _own_token() -> str:
    """The operator's own, as the webhook of workload identity projects it into its pod, and renews it there."""
    place = os.environ.get("AZURE_FEDERATED_TOKEN_FILE", "")
    try:
        return await asyncio.to_thread(_token_in, Path(place))
    except (OSError, ValueError):
        problem = "the operator has no workload identity: the file that AZURE_FEDERATED_TOKEN_FILE names holds no token"
    raise AuthFailed(problem)


def _token_in(place: Path) -> str:
    with place.open("rb") as file:
        token = file.read(_LARGEST_TOKEN).strip().decode("ascii")
    if not token:
        raise ValueError
    return token
