"""Configurations of external accounts as Google's tools write them, and the server that gives the tokens which they speak of."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from aiohttp import web

from contract.files import all_that_hangs_on
from contract.googles import AUDIENCE, ISSUER, PROSE, Rig, authority, rigged, signer
from contract.servers import Http
from keyturn.decide.address import AddressRules
from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.providers import tls
from keyturn.testing.google_tokens import Pool

JWT = "urn:ietf:params:oauth:token-type:jwt"
AWS = "urn:ietf:params:aws:token-type:aws4_request"
SUBJECT = "repo:shop/orders"
WHO = f"principal:{AUDIENCE}/subject/{SUBJECT}"
VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"

Json = dict[str, Any]


@asynccontextmanager
async def trusting(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """A Google that takes the server's tokens, and an operator that may dial loopback and trusts who signs there."""
    async with rigged() as made:
        made.seed("db", b"kt-canary-db")
        made.services.pools[AUDIENCE] = Pool(ISSUER, signer("tokens").keys)
        made.cloud.grant(WHO, "accessor", "db")
        made.rules = AddressRules(allowed=("public", "private", "127.0.0.0/8"))
        # Whom to trust where no cloud is: an admin says so by this variable, and a process looks once.
        monkeypatch.setenv("SSL_CERT_FILE", str(made.folder / "ca.pem"))
        monkeypatch.delenv(VARIABLE, raising=False)
        tls._shared.cache_clear()
        try:
            yield made
        finally:
            tls._shared.cache_clear()


@contextmanager
def issuing(rig: Rig) -> Iterator[Http]:
    """A server that gives tokens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority()[1].configure_cert(context)
    with Http(rig._loop, tls=context) as made:
        made.answers["/token?aud=google"] = lambda: web.json_response({"value": token(), "count": 1})
        made.answers["/text"] = lambda: web.Response(text=f"{token()}\n")
        yield made


def token(**claims: Any) -> str:
    return signer("tokens").sign({"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE} | claims)


def config(source: object, **more: Any) -> Json:
    account = {"type": "external_account", "audience": AUDIENCE, "subject_token_type": JWT, "credential_source": source}
    return account | {"token_url": "https://sts.googleapis.com/v1/token", "universe_domain": "googleapis.com"} | more


def by_json(issuer: Http, **more: Any) -> Json:
    form = {"type": "json", "subject_token_field_name": "value"}
    return config({"url": f"{issuer.url}/token?aud=google", "format": form, "headers": {"Authorization": "bearer kt-canary-word"}}, **more)


def refused(found: object, says: str, kind: type[AuthFailed | Unavailable] = AuthFailed) -> None:
    assert isinstance(found, kind), found
    assert says in str(found)
    hanging = all_that_hangs_on(found)
    assert not any(word in hanging for word in ("kt-canary", PROSE, "eyJ", "evil.test", "169.254"))
