"""One identity at one Vault: its connection, its token, and what happens when the token ages or dies.

However many ask, one log-in, renewal or look-up is on its way, and all share what it brings. Reads no keys.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from keyturn.decide.tokenlife import Care, Life, care, grant, is_worn
from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.vault import CertLogin, TokenLogin, VaultConfig
from keyturn.providers.dial import LIMIT, NO_ANSWER, Answer, Dialer, Line
from keyturn.providers.passes import Passes
from keyturn.providers.room import Hold
from keyturn.providers.tls import context_of
from keyturn.providers.vault_login import Token, Writer, body_of, entry, named
from keyturn.providers.vault_wire import Auth, Envelope, failure, is_vaults, unwrap

_GOODBYE_S: Final = 1.0
_DOUBT_S: Final = 60.0
"""How long a refused look-up proves nothing, where even a new token's was refused: each would cost a log-in."""


class Session:
    """Requests as the identity of a `VaultConfig`. Raises a `ProviderError` where none could be made."""

    def __init__(
        self, config: VaultConfig, dialer: Dialer, writer: Writer, *, clock: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self._config = config
        self._dialer = dialer
        self._writer = writer
        self._clock = clock
        self._chance = chance
        self._line: Line | None = None
        self._passes = Passes[Token]("keyturn-vault-login", self._turn, clock=clock, silence=NO_ANSWER)
        self._doubt_until_s = float("-inf")

    async def ask(self, path: str, *, verb: str = "GET", body: bytes | None = None, limit: int = LIMIT, room: Hold | None = None) -> Answer:
        """Asks for ``path`` in the engine's namespace. The answer may be a refusal, but never one of a token that is dead."""
        token = await self._passes.usable()
        send = partial(self._send, verb, path, namespace=self._config.namespace, body=body, limit=limit, room=room)
        answer = await send(token=token)
        if answer.status not in {401, 403}:
            return answer
        proven = await self._passes.share(token, partial(self._prove, token))
        return answer if proven is token else await send(token=proven)

    async def prove(self) -> None:
        """Logs in where that is due, and asks Vault whether the token lives; logs in once more where it does not."""
        token = await self._passes.usable()
        await self._passes.share(token, partial(self._prove, token))

    def check_open(self) -> None:
        """Raises `Unavailable` once it is closed."""
        self._passes.check_open()

    async def close(self) -> None:
        """Ends the log-in that is on its way, and gives the token back, within a second."""
        token = await self._passes.close()
        line, self._line = self._line, None
        if line is None:
            return
        try:
            if token and token.is_ours:
                # Best effort: what is not revoked ends with its life.
                with suppress(ProviderError, TimeoutError):
                    async with asyncio.timeout(_GOODBYE_S):
                        await line.send("POST", "/v1/auth/token/revoke-self", headers=self._headers(self._config.login_namespace, token))
        finally:
            await line.close()

    async def _turn(self) -> Token:
        """Gives the token the care that it needs."""
        token = self._passes.kept
        if token and care(token.life, self._clock()) is Care.RENEWAL:
            return await self._renew(token) or await self._log_in()
        return await self._log_in()

    async def _prove(self, token: Token) -> Token:
        """Gives the token if it lives, else a new one."""
        if await self._is_alive(token) or self._clock() < self._doubt_until_s:
            return token
        fresh = await self._log_in()
        if not fresh.is_ours and fresh.secret == token.secret:
            self._passes.kept = None
            message = f"Vault refuses {named(self._config.login)}: it is dead, or may not read auth/token/lookup-self"
            raise AuthFailed(message)
        # Before it is proven: should the look-up fail, it is given back in the end all the same.
        self._passes.kept = fresh
        if not await self._is_alive(fresh):
            self._doubt_until_s = self._clock() + _DOUBT_S
        return fresh

    async def _is_alive(self, token: Token) -> bool:
        answer = await self._send("GET", "auth/token/lookup-self", token, self._config.login_namespace)
        envelope = unwrap(answer)
        if answer.status not in {200, 401, 403}:
            raise _trouble(answer, envelope, "the look-up of its token")
        return answer.status == 200

    async def _renew(self, token: Token) -> Token | None:
        """The same token with a new life; None where it is better to log in anew."""
        began = self._clock()
        answer = await self._send("POST", "auth/token/renew-self", token, self._config.login_namespace, body=b"{}")
        envelope = unwrap(answer)
        if answer.status in {400, 401, 403, 404}:
            return None
        if answer.status != 200:
            raise _trouble(answer, envelope, "the renewal of its token")
        if envelope.auth is None or is_worn(token.life, envelope.auth.lease_duration):
            return None
        return Token(token.secret, self._life(began, envelope.auth))

    async def _log_in(self) -> Token:
        login = self._config.login
        line = await self._connected()
        if isinstance(login, TokenLogin):
            return await self._writer.static(login)
        letter = await self._writer.letter(login)
        began = self._clock()
        headers = self._headers(self._config.login_namespace)
        answer = await line.send("POST", f"/v1/{letter.path}", headers=headers, body=body_of(letter), knows=is_vaults)
        auth = entry(answer, login)
        return Token(auth.client_token, self._life(began, auth))

    def _life(self, began_s: float, auth: Auth) -> Life:
        return grant(began_s, auth.lease_duration, is_renewable=auth.renewable, chance=self._chance())

    async def _connected(self) -> Line:
        if self._line is None:
            config = self._config
            pair = config.login.pair if isinstance(config.login, CertLogin) else config.client
            tls = await context_of(self._writer.references, config.authority, "caProvider", pair)
            self._line = self._dialer.open(config.server, tls)
        return self._line

    async def _send(
        self,
        verb: str,
        path: str,
        token: Token,
        namespace: str,
        *,
        body: bytes | None = None,
        limit: int = LIMIT,
        room: Hold | None = None,
    ) -> Answer:
        if self._line is None:
            raise Unavailable("the provider is closed")
        headers = self._headers(namespace, token)
        if verb == "PATCH":
            headers = {**headers, "Content-Type": "application/merge-patch+json"}
        return await self._line.send(verb, f"/v1/{path}", headers=headers, body=body, limit=limit, knows=is_vaults, room=room)

    def _headers(self, namespace: str, token: Token | None = None) -> Mapping[str, str]:
        headers = {"X-Vault-Request": "true"}
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        if token:
            headers["X-Vault-Token"] = token.secret.reveal().decode("ascii")
        return headers


def _trouble(answer: Answer, envelope: Envelope, what: str) -> ProviderError:
    """What a failure around the token means. It says nothing of any key: least of all that one is not there."""
    error = failure(answer, envelope, what)
    if isinstance(error, NotFound | Invalid | AccessDenied):
        return AuthFailed(f"Vault refuses this identity {what}; check the log-in's namespace", request_id=envelope.request_id)
    return error
