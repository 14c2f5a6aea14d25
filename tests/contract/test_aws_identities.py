"""Log-ins to AWS as a tenant's ServiceAccount and as the operator itself, at a fake STS that checks tokens and audiences."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contract.aws import KEY_ID, SECRET, Account, account, get, refused, text_of
from contract.aws_sts import AUDIENCE, Identity, Role
from contract.vaults import Signer
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.aws import AwsConfig, OwnLogin, TenantLogin
from keyturn.model.errors import AuthFailed, Rejected, Unavailable
from keyturn.model.ids import Kind
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount, TenantToken
from keyturn.providers.registry import Surroundings, build

APP = ServiceAccount("shop", "app")
SUBJECT = "system:serviceaccount:shop:app"
OTHER = "arn:aws:iam::123456789012:role/other"


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        await made.put("db", "kt-canary-db")
        yield made


# -- a tenant's ServiceAccount -----------------------------------------------------------------------------------------------------


class Tokens:
    """The port `TenantTokens`, by a signer of the test's."""

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


@pytest.fixture
def signer(here: Account) -> Signer:
    """The cluster's, which the role of a ServiceAccount trusts."""
    made = Signer()
    here.front.sts.roles[OTHER] = Role(issuer=made.public_key, subject=SUBJECT)
    here.tokens = Tokens(made)
    return made


async def test_a_service_account_is_the_role_that_trusts_it(here: Account, signer: Signer) -> None:
    provider = here.open(TenantLogin(APP, OTHER))
    await asyncio.gather(*(get(provider, "db") for _ in range(10)))
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert isinstance(here.tokens, Tokens)
    assert here.tokens.made == [(APP, AUDIENCE)]
    [asked] = here.front.sts.sessions
    assert asked["RoleSessionName"] == "keyturn-shop-app"
    here.front.sts.end_sessions()
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert len(here.tokens.made) == 2


async def test_two_tenants_with_one_role_are_told_apart_by_their_service_accounts(here: Account, signer: Signer) -> None:
    assert text_of(await get(here.open(TenantLogin(APP, OTHER)), "db")) == "kt-canary-db"
    await refused(here, "ServiceAccount/bank/app be the role", login=TenantLogin(ServiceAccount("bank", "app"), OTHER))


@pytest.mark.parametrize("claims", [{"exp": 1000}, {"aud": ["vault"]}, {"sub": "system:serviceaccount:shop:other"}], ids=str)
async def test_a_token_that_has_ended_or_is_for_others_is_taken_for_nobodys(
    here: Account, signer: Signer, claims: dict[str, object]
) -> None:
    here.tokens = Tokens(signer, **claims)
    await refused(here, "ServiceAccount/shop/app be the role", login=TenantLogin(APP, OTHER))


async def test_another_clusters_token_is_refused(here: Account, signer: Signer) -> None:
    here.tokens = Tokens(Signer())
    await refused(here, "check the role's trust policy and its OIDC provider", login=TenantLogin(APP, OTHER))


def test_outside_of_a_cluster_there_is_no_log_in_as_a_service_account() -> None:
    around = Surroundings(Reach(), AddressRules(), Account())
    order = ProviderOrder(AwsConfig("eu-west-1", TenantLogin(APP, OTHER)))
    with pytest.raises(Rejected, match="serviceAccountRef"):
        build(order, kind=Kind.SECRET_PROVIDER, around=around, namespace="shop")


# -- the operator's own identity ---------------------------------------------------------------------------------------------------


async def test_the_operators_own_keys_come_by_variables(here: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "kt-canary-wrong")
    provider = here.open(OwnLogin())
    assert isinstance(await get(provider, "db"), AuthFailed)
    # Found anew once what was found is refused.
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert text_of(await get(provider, "db")) == "kt-canary-db"


async def test_without_an_identity_the_operator_says_what_it_lacks(here: Account) -> None:
    await refused(here, "the operator has no AWS identity of its own", login=OwnLogin())


async def test_the_operators_own_keys_are_never_a_tenants(here: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    login = here.keys(KEY_ID, "kt-canary-wrong")
    await refused(here, f"the access key in {login.key_id}", login=login)


async def test_the_operators_role_by_a_web_identity(here: Account, signer: Signer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(signer.sign(SUBJECT, (AUDIENCE,)))
    monkeypatch.setenv("AWS_ROLE_ARN", OTHER)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    provider = here.open(OwnLogin())
    for _ in range(3):
        assert text_of(await get(provider, "db")) == "kt-canary-db"
        here.now_s += 61
    assert len(here.front.sts.sessions) == 1
    here.front.sts.end_sessions()
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert len(here.front.sts.sessions) == 2


class _Agent(BaseHTTPRequestHandler):
    """As EKS Pod Identity's, on the node: keys for whoever brings the pod's token."""

    def do_GET(self) -> None:
        is_ours = self.headers["Authorization"] == "kt-canary-pod-token"
        told = {"AccessKeyId": "ASIAPOD0000000000001", "SecretAccessKey": "kt-canary-pod", "Token": "kt-canary-pod-session"}
        body = json.dumps(told | {"Expiration": "2099-01-01T00:00:00Z"} if is_ours else {}).encode()
        self.send_response(200 if is_ours else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def agent() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Agent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/credentials"
        server.shutdown()
        thread.join()


async def test_a_pod_identity_agent_that_is_away_is_an_outage(here: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("kt-canary-pod-token")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    error = await get(here.open(OwnLogin()), "db")
    assert type(error) is Unavailable
    assert error.__cause__ is error.__context__ is None


async def test_the_operators_role_by_pod_identity(here: Account, agent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here.front.sts.identities["ASIAPOD0000000000001"] = Identity("kt-canary-pod", "pod", "kt-canary-pod-session")
    (tmp_path / "token").write_text("kt-canary-pod-token")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    assert text_of(await get(here.open(OwnLogin()), "db")) == "kt-canary-db"
