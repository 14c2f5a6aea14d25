"""Each way to log in to Vault, with right and with wrong credentials, against a real OpenBao."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from canary import Canary
from contract.answers import get
from contract.vaults import Front, Rig, Signer, front, password
from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.model.ids import Carrier, KeyPair, KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount, TenantToken
from keyturn.model.vault import AppRoleLogin, CertLogin, JwtLogin, TokenLogin, UserPassLogin, VaultLogin


async def works(rig: Rig, canary: Canary, login: VaultLogin, **config: Any) -> None:
    """Says that this log-in validates and reads."""
    rig.put("db", value := canary("db"))
    provider = rig.open(login, **config)
    await provider.validate()
    assert password(await get(provider, "db")) == value


async def fails(rig: Rig, login: VaultLogin, told: str, **config: Any) -> None:
    """Says that this log-in is refused with these words of ours, in both calls, and that nothing of Vault's shows."""
    provider = rig.open(login, **config)
    error = await get(provider, "db")
    assert isinstance(error, AuthFailed), error
    with pytest.raises(AuthFailed) as raised:
        await provider.validate()
    for each in (error, raised.value):
        assert told in str(each)
        assert each.__cause__ is None
        assert not any(word in str(each).lower() for word in ("invalid", "permission denied", "error occurred", "service account"))


async def test_a_token(rig: Rig, canary: Canary):
    await works(rig, canary, TokenLogin(rig.keep("token", rig.bao.token([rig.policy]))))


async def test_a_token_with_a_line_end(rig: Rig, canary: Canary):
    await works(rig, canary, TokenLogin(rig.keep("token", rig.bao.token([rig.policy]) + "\n")))


@pytest.mark.parametrize("text", ["", " \n", "s.kt-canary-wrong\nX-Other: 1", "s.kt-canary-ä", b"\xff\xfe"], ids=repr)
async def test_what_cannot_be_a_token_is_never_sent(rig: Rig, text: str | bytes):
    mark = rig.bao.mark()
    await fails(rig, TokenLogin(rig.keep("token", text)), "Secret/shop/token, key value, holds no token")
    assert rig.bao.asked(mark) == []


async def test_a_wrong_token(rig: Rig):
    await fails(rig, TokenLogin(rig.keep("token", "s.kt-canary-wrong")), "Vault refuses the token in Secret/shop/token")


async def test_a_missing_secret(rig: Rig):
    await fails(rig, TokenLogin(KeyRef(Carrier.SECRET, "shop", "none", "value")), "there is no Secret/shop/none")


async def test_a_static_token_is_neither_renewed_nor_revoked(rig: Rig, canary: Canary):
    rig.put("db", value := canary("db"))
    token = rig.bao.token([rig.policy], ttl="10m")
    provider = rig.open(TokenLogin(rig.keep("token", token)))
    mark = rig.bao.mark()
    assert password(await get(provider, "db")) == value
    rig.now_s += 599
    assert password(await get(provider, "db")) == value
    await provider.close()
    assert {each.path for each in rig.bao.asked(mark)} == {f"{rig.mount}/data/db"}
    await works(rig, canary, TokenLogin(rig.keep("token", token)))


async def test_approle(rig: Rig, canary: Canary):
    login = rig.approle()
    await works(rig, canary, login)
    await works(rig, canary, AppRoleLogin(login.mount, rig.keep("role-id", f"{login.role_id}\n"), login.secret_id))


async def test_approle_with_a_wrong_secret_or_role(rig: Rig):
    login = rig.approle()
    told = f"Vault refuses the log-in by AppRole at auth/{login.mount}"
    await fails(rig, AppRoleLogin(login.mount, login.role_id, rig.keep("wrong", "kt-canary-wrong")), told)
    await fails(rig, AppRoleLogin(login.mount, "kt-canary-wrong", login.secret_id), told)
    await fails(rig, AppRoleLogin(login.mount, login.role_id, rig.keep("none", b"\xff")), "Secret/shop/none, key value, holds no text")


async def test_a_log_in_at_a_method_that_is_not_there(rig: Rig):
    login = rig.approle()
    await fails(
        rig,
        AppRoleLogin("nowhere", login.role_id, login.secret_id),
        "Vault refuses the log-in by AppRole at auth/nowhere; check credentials, mount and namespace",
    )


async def test_a_mount_that_leads_elsewhere_is_never_asked(rig: Rig):
    login = rig.approle()
    mark = rig.bao.mark()
    await fails(rig, AppRoleLogin("../sys", login.role_id, login.secret_id), "the mount of the log-in method '../sys'")
    assert rig.bao.asked(mark) == []


async def test_userpass(rig: Rig, canary: Canary):
    mount = rig.bao.enable_auth("userpass", f"users-{rig.name}")
    rig.bao.user(mount, "joe", "kt-canary-pass ", [rig.policy])
    await works(rig, canary, UserPassLogin(mount, "joe", rig.keep("pass", "kt-canary-pass ")))
    told = f"Vault refuses the log-in by user joe at auth/{mount}"
    await fails(rig, UserPassLogin(mount, "joe", rig.keep("wrong", "kt-canary-wrong")), told)


@pytest.fixture
def signer() -> Signer:
    return Signer()


async def test_jwt(rig: Rig, canary: Canary, signer: Signer):
    mount = rig.bao.enable_auth("jwt", f"jwt-{rig.name}")
    rig.bao.jwt_role(mount, "shop", signer.public_key, [rig.policy])
    await works(rig, canary, JwtLogin(mount, "shop", rig.keep("jwt", signer.sign())))
    told = f"Vault refuses the log-in by JWT at auth/{mount}, role shop"
    await fails(rig, JwtLogin(mount, "shop", rig.keep("stranger", Signer().sign())), told)
    await fails(rig, JwtLogin(mount, "shop", rig.keep("old", signer.sign(exp=1000, nbf=900, iat=900))), told)
    await fails(rig, JwtLogin(mount, "shop", rig.keep("elsewhere", signer.sign(audience=["other"]))), told)
    await fails(rig, JwtLogin(mount, "other", rig.keep("jwt", signer.sign())), "role other")


async def test_jwt_by_the_default_role(rig: Rig, canary: Canary, signer: Signer):
    mount = rig.bao.enable_auth("jwt", f"jwt-{rig.name}")
    rig.bao.jwt_role(mount, "shop", signer.public_key, [rig.policy])
    rig.bao.call("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [signer.public_key], "default_role": "shop"})
    await works(rig, canary, JwtLogin(mount, "", rig.keep("jwt", signer.sign())))


async def test_the_operators_own_token_is_read_anew_at_each_log_in(rig: Rig, canary: Canary, signer: Signer, tmp_path: Path):
    mount = rig.bao.enable_auth("jwt", f"jwt-{rig.name}")
    rig.bao.jwt_role(mount, "shop", signer.public_key, [rig.policy], token_ttl="60s")
    rig.token_file = tmp_path / "token"
    await fails(rig, JwtLogin(mount, "shop", None), "the operator has no token of its own for Vault")
    rig.token_file.write_text("")
    await fails(rig, JwtLogin(mount, "shop", None), "the operator has no token of its own for Vault")

    rig.token_file.write_text(f"{signer.sign()}\n")
    rig.put("db", value := canary("db"))
    provider = rig.open(JwtLogin(mount, "shop", None))
    assert password(await get(provider, "db")) == value
    rig.token_file.write_text(Signer().sign())
    rig.now_s += 61
    assert isinstance(await get(provider, "db"), AuthFailed)
    rig.token_file.write_text(signer.sign())
    assert password(await get(provider, "db")) == value


@dataclass
class Mint:
    """An API server that makes tokens of tenants, as the port `TenantTokens` has it."""

    signer: Signer
    made: list[tuple[ServiceAccount, str]] = field(default_factory=list)

    async def at_home(self, who: ServiceAccount) -> TenantToken:
        raise NotImplementedError

    async def abroad(self, who: ServiceAccount, audience: str) -> TenantToken:
        self.made.append((who, audience))
        return TenantToken(Sensitive.of(self.signer.sign(audience=[audience])), "uid", 600.0)

    async def annotations(self, who: ServiceAccount) -> Mapping[str, str]:
        raise NotImplementedError


async def test_a_service_accounts_token_is_made_for_vault_and_anew_for_each_log_in(rig: Rig, canary: Canary, signer: Signer):
    mount = rig.bao.enable_auth("jwt", f"jwt-{rig.name}")
    rig.bao.jwt_role(mount, "shop", signer.public_key, [rig.policy], token_ttl="60s", token_max_ttl="60s")
    who = ServiceAccount("shop", "app")
    await fails(rig, JwtLogin(mount, "shop", who), "the operator's cluster makes tokens of ServiceAccount/shop/app")
    rig.tokens = mint = Mint(signer)
    rig.put("db", value := canary("db"))
    provider = rig.open(JwtLogin(mount, "shop", who))
    for _ in range(2):
        assert password(await get(provider, "db")) == value
    assert mint.made == [(who, "vault")]
    rig.now_s += 61
    assert password(await get(provider, "db")) == value
    assert mint.made == [(who, "vault")] * 2


async def test_kubernetes(rig: Rig, canary: Canary, signer: Signer):
    claims = {"kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "app", "uid": "1"}}}
    token = signer.sign(**claims)

    class Reviewer(Front):
        """An API server that knows that one token."""

        async def serve(self, request: web.Request) -> web.StreamResponse:
            assert request.path == "/apis/authentication.k8s.io/v1/tokenreviews"
            asked = (await request.json())["spec"]
            user = {"username": "system:serviceaccount:shop:app", "uid": "1", "groups": ["system:serviceaccounts"]}
            known = {"authenticated": True, "user": user, "audiences": asked["audiences"]}
            status = known if asked["token"] == token else {"authenticated": False, "error": "kt-canary-prose"}
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
            return web.Response(status=201, text=json.dumps(body), content_type="application/json")

    mount = rig.bao.enable_auth("kubernetes", f"kubernetes-{rig.name}")
    async with front(rig.bao, lambda _: None, Reviewer) as api_server:
        rig.bao.kubernetes_role(mount, "shop", api_server.url, rig.bao.ca_pem, [rig.policy])
        await works(rig, canary, JwtLogin(mount, "shop", rig.keep("token", token)))
        told = f"Vault refuses the log-in by JWT at auth/{mount}, role shop"
        await fails(rig, JwtLogin(mount, "shop", rig.keep("stranger", Signer().sign(**claims))), told)


def pair(rig: Rig, authority: trustme.CA, name: str) -> KeyPair:
    leaf = authority.issue_cert("app.shop.svc", common_name="app.shop.svc")
    certificate = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return KeyPair(rig.keep(f"{name}-crt", certificate), rig.keep(f"{name}-key", leaf.private_key_pem.bytes()))


async def test_a_client_certificate(rig: Rig, canary: Canary):
    authority = trustme.CA()
    mount = rig.bao.enable_auth("cert", f"cert-{rig.name}")
    rig.bao.cert_role(mount, "shop", authority.cert_pem.bytes(), [rig.policy])
    await works(rig, canary, CertLogin(mount, pair(rig, authority, "good")))
    told = f"Vault refuses the log-in by client certificate at auth/{mount}"
    await fails(rig, CertLogin(mount, pair(rig, trustme.CA(), "stranger")), told)


async def test_certificate_and_key_that_are_no_pair(rig: Rig):
    one, other = pair(rig, rig.bao.authority, "one"), pair(rig, rig.bao.authority, "other")
    told = "certificate and key are no pair in PEM"
    await fails(rig, CertLogin("cert", KeyPair(one.certificate, other.key)), told)
    await fails(rig, CertLogin("cert", KeyPair(one.certificate, rig.keep("text", "kt-canary-key"))), told)


async def test_a_server_that_asks_every_client_for_a_certificate(rig: Rig, canary: Canary):
    server = rig.bao.mutual_url
    await works(rig, canary, rig.approle(), server=server, client=pair(rig, rig.bao.authority, "good"))
    for config in ({}, {"client": pair(rig, trustme.CA(), "stranger")}):
        assert isinstance(await get(rig.open(server=server, **config), "db"), Unavailable)


async def test_the_authority_from_a_config_map(rig: Rig, canary: Canary):
    ref = KeyRef(Carrier.CONFIG_MAP, "shop", "authority", "ca.crt")
    rig.secrets[ref] = Sensitive(rig.bao.ca_pem)
    await works(rig, canary, rig.approle(), authority=ref)
    rig.secrets[ref] = Sensitive(b"-----BEGIN kt-canary-no-pem-----")
    await fails(rig, rig.approle(), "ConfigMap/shop/authority, key ca.crt, holds no PEM certificate", authority=ref)
    absent = KeyRef(Carrier.CONFIG_MAP, "shop", "absent", "ca.crt")
    await fails(rig, rig.approle(), "caProvider: there is no ConfigMap/shop/absent", authority=absent)


@pytest.mark.parametrize("pem", [b"", b"kt-canary-no-pem", b"\xff"], ids=repr)
async def test_a_bundle_without_certificates_trusts_nobody(rig: Rig, pem: bytes):
    mark = rig.bao.mark()
    await fails(rig, rig.approle(), "caBundle holds no PEM certificate", authority=Sensitive(pem))
    assert rig.bao.asked(mark) == []


async def test_a_server_that_another_authority_signed_is_not_talked_to(rig: Rig):
    login = rig.approle()
    mark = rig.bao.mark()
    for authority in (None, Sensitive(trustme.CA().cert_pem.bytes())):
        error = await get(rig.open(login, authority=authority), "db")
        assert isinstance(error, Unavailable)
        assert "gave no answer: its certificate is of no authority that is trusted here" in str(error)
    assert rig.bao.asked(mark) == []
