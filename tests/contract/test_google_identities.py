"""Identities from elsewhere at Google: ServiceAccounts of a GKE cluster, Google service accounts that others stand in for, AWS's keys."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from urllib.parse import unquote

import pytest

from contract.answers import get, read
from contract.aws_rules import RefusedError
from contract.aws_sts import Identity, Sts
from contract.files import all_that_hangs_on
from contract.googles import ACCOUNT, AUDIENCE, ISSUER, PROSE, Rig, rigged, signer
from keyturn.model.errors import AccessDenied, AuthFailed, ProviderError, Throttled, Unavailable
from keyturn.model.google import AwsLogin, ClusterLogin
from keyturn.model.ids import Carrier, KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.providers.google_login import ANNOTATION
from keyturn.providers.google_machine import KEPT_S
from keyturn.testing.google_tokens import Pool

PROJECT, LOCATION, CLUSTER = "shop-1", "europe-west3", "prod"
GKE = f"identitynamespace:{PROJECT}.svc.id.goog:https://container.googleapis.com/v1/projects/{PROJECT}/locations/{LOCATION}/clusters/{CLUSTER}"
APP = ServiceAccount("shop", "app")
NAMED = ClusterLogin(APP, PROJECT, LOCATION, CLUSTER)
ABOUT = {"project/project-id": PROJECT, "instance/attributes/cluster-location": LOCATION, "instance/attributes/cluster-name": CLUSTER}
KEY_ID, KEY, SESSION = "AKIAKTCANARY00000001", "kt-canary-aws-secret", "kt-canary-aws-session"
ARN = "arn:aws:sts::123456789012:assumed-role/app/kt"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged() as made:
        made.seed("db", b"kt-canary-db")
        made.services.pools[GKE] = Pool(ISSUER, signer("cluster").keys, (f"{PROJECT}.svc.id.goog",))
        made.services.pools[AUDIENCE] = Pool(ISSUER, signer("cluster").keys)
        yield made


def principal(who: ServiceAccount = APP, audience: str = GKE) -> str:
    return f"principal:{audience}/subject/system:serviceaccount:{who.namespace}:{who.name}"


def paths(rig: Rig) -> list[str]:
    return [path for path, _ in rig.services.asked]


def refused(found: object, says: str) -> None:
    assert isinstance(found, AuthFailed), found
    assert says in str(found)
    hanging = all_that_hangs_on(found)
    assert not any(word in hanging for word in ("kt-canary", PROSE, KEY, SESSION, "ya29", "eyJ"))


# -- GKE --------------------------------------------------------------------------------------------------------------------------


async def test_a_service_account_of_a_cluster_is_exchanged_in_its_projects_pool(rig: Rig) -> None:
    rig.cloud.grant(principal(), "accessor", "db")
    assert await read(rig.open(NAMED), "db") == b"kt-canary-db"
    assert rig.made == [(APP, "shop-1.svc.id.goog")]
    [(path, form)] = rig.services.asked
    assert (path, form["audience"]) == ("/v1/token", GKE)


async def test_what_is_left_out_of_the_clusters_name_is_asked_of_the_machine(rig: Rig) -> None:
    rig.cloud.grant(principal(), "accessor")
    rig.services.about = ABOUT
    assert await read(rig.open(ClusterLogin(APP)), "db") == b"kt-canary-db"
    assert paths(rig)[:3] == [f"/computeMetadata/v1/{path}" for path in ABOUT]
    rig.services.asked.clear()
    rig.now_s += KEPT_S
    assert await read(rig.open(ClusterLogin(APP, cluster=CLUSTER)), "db") == b"kt-canary-db"
    assert paths(rig)[:2] == [f"/computeMetadata/v1/{path}" for path in ABOUT][:2]
    assert len(paths(rig)) == 3


@pytest.mark.parametrize("name", ["", "a b", "x/../y", "evil.test:443", "P" * 300])
async def test_a_machine_that_gives_no_name_of_a_cluster_makes_no_token(rig: Rig, name: str) -> None:
    rig.services.about = ABOUT | {"instance/attributes/cluster-name": name}
    found = await get(rig.open(ClusterLogin(APP)), "db")
    assert isinstance(found, Unavailable)
    assert "by clusterName in the provider's spec" in str(found)
    assert rig.made == []


async def test_a_machine_that_is_not_googles_is_told_of_with_the_remedy(rig: Rig) -> None:
    refused(await get(rig.open(ClusterLogin(APP)), "db"), "name the cluster by clusterProjectID in the provider's spec")
    await rig.there(rig.runner.cleanup())
    rig.now_s += KEPT_S
    found = await get(rig.open(ClusterLogin(APP)), "db")
    assert isinstance(found, Unavailable)
    assert "the metadata server gave no answer; name the cluster by clusterProjectID" in str(found)
    assert rig.made == []


@pytest.mark.parametrize("claims", [{"iss": "https://other.test"}, {"aud": ["vault"]}, {"exp": 1_700_000_000, "iat": 1_699_999_000}])
async def test_google_takes_no_token_of_another_issuer_or_audience_and_none_that_ended(rig: Rig, claims: dict[str, object]) -> None:
    rig.cloud.grant(principal(), "accessor")
    rig.claims = claims
    refused(await get(rig.open(NAMED), "db"), "Google refuses the log-in by the token of ServiceAccount/shop/app in the cluster prod")
    assert rig.cloud.calls == []


async def test_google_takes_no_token_of_another_signature_and_none_for_another_cluster(rig: Rig) -> None:
    rig.services.pools[GKE] = Pool(ISSUER, signer("other").keys, ("shop-1.svc.id.goog",))
    refused(await get(rig.open(NAMED), "db"), "Google refuses the log-in by")
    refused(await get(rig.open(ClusterLogin(APP, PROJECT, LOCATION, "other")), "db"), "in the cluster other")
    assert rig.cloud.calls == []


async def test_two_tenants_of_one_cluster_read_each_its_own(rig: Rig) -> None:
    rig.seed("bank", b"kt-canary-bank")
    other = ServiceAccount("bank", "app")
    rig.cloud.grant(principal(), "accessor", "db")
    rig.cloud.grant(principal(other), "accessor", "bank")
    shop, bank = rig.open(NAMED), rig.open(ClusterLogin(other, PROJECT, LOCATION, CLUSTER), namespace="bank")
    assert await read(shop, "db") == b"kt-canary-db"
    assert await read(bank, "bank") == b"kt-canary-bank"
    assert isinstance(await get(shop, "bank"), AccessDenied)
    assert isinstance(await get(bank, "db"), AccessDenied)


# -- standing in for a Google service account -------------------------------------------------------------------------------------


async def test_a_service_account_with_the_annotation_stands_in_for_the_one_that_it_names(rig: Rig) -> None:
    rig.notes[APP] = {ANNOTATION: ACCOUNT}
    rig.services.stand_ins[ACCOUNT] = {principal(), principal(audience=AUDIENCE)}
    rig.cloud.grant(ACCOUNT, "accessor", "db")
    for login in (NAMED, rig.federated()):
        assert await read(rig.open(login), "db") == b"kt-canary-db"
    assert paths(rig) == ["/v1/token", f"/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"] * 2


async def test_a_token_of_one_that_is_stood_in_for_is_used_for_two_thirds_of_its_own_life(rig: Rig) -> None:
    rig.notes[APP] = {ANNOTATION: ACCOUNT}
    rig.services.stand_ins[ACCOUNT] = {principal()}
    rig.services.life_s = 60.0  # of the first token, which is of no more use
    rig.cloud.grant(ACCOUNT, "accessor")
    provider = rig.open(NAMED)
    for pause_s in (0, 2300):
        rig.now_s += pause_s
        await read(provider, "db")
    assert len(rig.made) == 1
    rig.now_s += 200
    await read(provider, "db")
    assert len(rig.made) == 2


async def test_whoever_may_not_stand_in_is_told_what_to_grant(rig: Rig) -> None:
    rig.notes[APP] = {ANNOTATION: ACCOUNT}
    rig.services.stand_ins[ACCOUNT] = {principal(ServiceAccount("bank", "app"))}
    rig.cloud.grant(ACCOUNT, "accessor")
    for login in (NAMED, rig.federated()):
        found = await get(rig.open(login), "db")
        refused(found, f"Google refuses the token of ServiceAccount/shop/app to stand in for {ACCOUNT}; grant it Workload Identity User")
    assert rig.cloud.calls == []


@pytest.mark.parametrize(
    "name", ["evil.test/x?", "-", "a@evil.test", "a@shop.iam.gserviceaccount.com/../../x", "a:b@x.gserviceaccount.com"]
)
async def test_an_annotation_that_names_no_google_service_account_is_asked_of_nobody(rig: Rig, name: str) -> None:
    rig.notes[APP] = {ANNOTATION: name}
    refused(await get(rig.open(NAMED), "db"), f"the annotation {ANNOTATION} of ServiceAccount/shop/app is no Google service account")
    assert rig.services.asked == []


async def test_an_annotation_that_changed_is_used_by_the_next_log_in(rig: Rig) -> None:
    rig.cloud.grant(principal(), "accessor")
    provider = rig.open(NAMED)
    await read(provider, "db")
    rig.notes[APP] = {ANNOTATION: ACCOUNT}
    rig.services.stand_ins[ACCOUNT] = {principal()}
    rig.services.end_all()
    assert isinstance(await get(provider, "db"), AccessDenied)
    rig.cloud.grant(ACCOUNT, "accessor")
    assert await read(provider, "db") == b"kt-canary-db"


@pytest.mark.parametrize(("status", "kind"), [(429, Throttled), (503, Unavailable), (302, Unavailable)])
async def test_token_services_in_trouble_are_asked_once_and_told_in_our_words(rig: Rig, status: int, kind: type[ProviderError]) -> None:
    with rig.services.troubled(status):
        found = await get(rig.open(NAMED), "db")
    assert isinstance(found, kind)
    assert PROSE not in all_that_hangs_on(found)
    assert len(rig.services.asked) == 1


# -- AWS --------------------------------------------------------------------------------------------------------------------------


def aws_login(name: str = "aws", namespace: str = "shop", region: str = "eu-west-1") -> AwsLogin:
    keys = (KeyRef(Carrier.SECRET, namespace, name, f"aws_{key}") for key in ("access_key_id", "secret_access_key", "session_token"))
    return AwsLogin(AUDIENCE, region, *keys)


def keep(rig: Rig, login: AwsLogin, key_id: str = KEY_ID, secret: str = KEY, token: str = SESSION) -> None:
    for ref, word in ((login.key_id, key_id), (login.secret, secret), (login.token, token)):
        rig.secrets.pop(ref, None)
        if word:
            rig.secrets[ref] = Sensitive.of(f"{word}\n")


@pytest.fixture
def sts(rig: Rig) -> Sts:
    """AWS's STS, which knows the key, and is believed by a pool."""
    made = Sts({KEY_ID: Identity(KEY, ARN, SESSION)})

    def says(method: str, target: str, headers: Mapping[str, str]) -> str:
        try:
            return made.who(method, target, headers, b"").name
        except RefusedError:
            return ""

    rig.services.aws[AUDIENCE] = says
    rig.cloud.grant(f"principal:{AUDIENCE}/subject/{ARN}", "accessor", "db")
    return made


async def test_what_keys_of_aws_sign_is_exchanged_and_they_themselves_stay_here(rig: Rig, sts: Sts) -> None:
    login = aws_login()
    keep(rig, login)
    assert await read(rig.open(login), "db") == b"kt-canary-db"
    [(_, form)] = rig.services.asked
    told = json.loads(unquote(form["subject_token"]))
    assert told["url"] == "https://sts.eu-west-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    assert KEY not in str(form)
    assert sts.identities[KEY_ID].secret == KEY


async def test_keys_of_a_user_have_no_session_token(rig: Rig, sts: Sts) -> None:
    login = aws_login()
    sts.identities[KEY_ID].token = ""
    keep(rig, login, token="")
    assert await read(rig.open(login), "db") == b"kt-canary-db"


@pytest.mark.parametrize("change", [{"secret": "kt-canary-wrong"}, {"key_id": "AKIANOBODY"}, {"token": "kt-canary-old"}, {"token": ""}])
async def test_a_signature_that_aws_does_not_take_is_a_log_in_that_failed(rig: Rig, sts: Sts, change: dict[str, str]) -> None:
    login = aws_login()
    keep(rig, login, **change)
    refused(await get(rig.open(login), "db"), "Google refuses the log-in by the access key in Secret/shop/aws; check the keys at AWS")
    assert rig.cloud.calls == []


async def test_a_session_that_ended_and_a_clock_that_is_wrong_let_nobody_in(rig: Rig, sts: Sts) -> None:
    login = aws_login()
    keep(rig, login)
    sts.ahead_s = 3600.0
    refused(await get(rig.open(login), "db"), "check the keys at AWS")
    sts.ahead_s = 0.0
    sts.ended.add(SESSION)
    refused(await get(rig.open(login), "db"), "check the keys at AWS")


@pytest.mark.parametrize("change", [{"secret": "kt canary"}, {"key_id": " "}, {"token": "kt\ncanary"}, {"secret": "kt-canary-ü"}])
async def test_what_cannot_be_a_key_of_awss_is_told_by_its_place(rig: Rig, sts: Sts, change: dict[str, str]) -> None:
    login = aws_login()
    keep(rig, login, **change)
    refused(await get(rig.open(login), "db"), "holds no credential of AWS's")
    assert rig.services.asked == []


async def test_keys_that_are_missing_are_told_by_their_place(rig: Rig, sts: Sts) -> None:
    login = aws_login()
    keep(rig, login, secret="")
    assert isinstance(await get(rig.open(login), "db"), AuthFailed)


async def test_keys_that_changed_are_used_by_the_next_log_in(rig: Rig, sts: Sts) -> None:
    login = aws_login()
    keep(rig, login)
    provider = rig.open(login)
    await read(provider, "db")
    sts.identities["AKIANEW"] = Identity("kt-canary-new", ARN)
    del sts.identities[KEY_ID]
    rig.services.end_all()
    assert isinstance(await get(provider, "db"), AuthFailed)
    keep(rig, login, "AKIANEW", "kt-canary-new", "")
    assert await read(provider, "db") == b"kt-canary-db"


async def test_two_tenants_with_secrets_of_one_name_sign_each_by_its_own(rig: Rig, sts: Sts) -> None:
    rig.seed("bank", b"kt-canary-bank")
    sts.identities["AKIABANK"] = Identity("kt-canary-bank-key", "arn:bank")
    rig.cloud.grant(f"principal:{AUDIENCE}/subject/arn:bank", "accessor", "bank")
    mine, theirs = aws_login(), aws_login(namespace="bank")
    keep(rig, mine)
    keep(rig, theirs, "AKIABANK", "kt-canary-bank-key", "")
    shop, bank = rig.open(mine), rig.open(theirs, namespace="bank")
    values = await asyncio.gather(read(shop, "db"), read(bank, "bank"))
    assert values == [b"kt-canary-db", b"kt-canary-bank"]
    assert isinstance(await get(shop, "bank"), AccessDenied)
    assert isinstance(await get(bank, "db"), AccessDenied)
