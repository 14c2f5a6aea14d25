"""Who the operator is at Google by its environment: a key, or an external account's configuration, in a file that is an admin's."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from contract.answers import get, read
from contract.google_configs import AWS, SUBJECT, VARIABLE, by_json, config, issuing, refused, token, trusting
from contract.googles import AUDIENCE, READER, Rig, signer
from contract.servers import Http
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.errors import Rejected
from keyturn.model.google import AmbientLogin, FileLogin, GoogleConfig
from keyturn.model.ids import Carrier, KeyRef, Kind
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.providers.registry import Surroundings, build
from keyturn.testing.google_tokens import OWN_TOKEN

FILE = KeyRef(Carrier.FILE, "", "config.json", VARIABLE)


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async with trusting(monkeypatch) as made:
        yield made


@pytest.fixture
def issuer(rig: Rig) -> Iterator[Http]:
    with issuing(rig) as made:
        yield made


def own(rig: Rig, told: object) -> FileLogin:
    rig.secrets[FILE] = Sensitive.of(told if isinstance(told, str) else json.dumps(told))
    return FileLogin(FILE)


async def test_an_admins_file_is_a_key_or_a_configuration_with_a_file_or_a_server(rig: Rig, issuer: Http, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token())
    key = rig.services.key_of(READER, signer(READER), "https://oauth2.googleapis.com/token")
    for told in (key, config({"file": str(tmp_path / "token")}), by_json(issuer)):
        assert await read(rig.open(own(rig, told)), "db") == b"kt-canary-db"


async def test_the_environment_names_the_operators_file_before_the_machine_is_asked(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(token())
    (tmp_path / "config.json").write_text(json.dumps(config({"file": str(tmp_path / "token")})))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "config.json"))
    rig.services.own = "machine@shop.iam.gserviceaccount.com"
    provider = rig.open(AmbientLogin())
    assert await read(provider, "db") == b"kt-canary-db"
    # As a kubelet projects it: renewed in place, and read again.
    (tmp_path / "token").write_text(token(aud="vault"))
    rig.services.end_all()
    refused(await get(provider, "db"), "Google refuses the log-in by what GOOGLE_APPLICATION_CREDENTIALS names")
    assert OWN_TOKEN not in [path for path, _ in rig.services.asked]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("kt-canary", "holds neither a service account's key nor an external account's configuration"),
        ({"type": "authorized_user", "refresh_token": "kt-canary"}, "holds neither a service account's key nor"),
        (config({"executable": {"command": "kt-canary"}}), "credential_source.executable is never used"),
        (config({"file": "/nowhere/token"}), "the file that its credential_source names holds no token"),
        (config({"file": "/proc/self/status"}), "holds no token"),
    ],
)
async def test_an_admins_file_that_cannot_be_used_is_told_without_a_word_of_it(rig: Rig, told: object, says: str) -> None:
    refused(await get(rig.open(own(rig, told)), "db"), says)
    assert rig.services.asked == []


async def test_a_file_that_is_not_there_is_a_log_in_that_failed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/config.json")
    refused(await get(rig.open(AmbientLogin()), "db"), "which GOOGLE_APPLICATION_CREDENTIALS names, cannot be read")


async def test_an_operator_at_aws_signs_with_the_keys_of_its_environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Mapping[str, str]] = []

    def says(_: str, __: str, headers: Mapping[str, str]) -> str:
        heard.append(headers)
        return SUBJECT

    rig.services.aws[AUDIENCE] = says
    for name, word in (("AWS_ACCESS_KEY_ID", "AKIA1"), ("AWS_SECRET_ACCESS_KEY", "kt-canary-key"), ("AWS_REGION", "eu-west-1")):
        monkeypatch.setenv(name, word)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    where = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    source = {"environment_id": "aws1", "region_url": "http://127.0.0.1:1/", "url": "http://127.0.0.1:1/"}
    told = config(source | {"regional_cred_verification_url": where}, subject_token_type=AWS)
    assert await read(rig.open(own(rig, told)), "db") == b"kt-canary-db"
    assert "Credential=AKIA1/" in heard[0]["authorization"]


def test_a_tenant_never_has_the_operators_file(rig: Rig) -> None:
    for login in (AmbientLogin(), FileLogin(FILE)):
        with pytest.raises(Rejected, match="the operator's own identity is for a ClusterSecretProvider only"):
            build(
                ProviderOrder(GoogleConfig("shop", login)),
                kind=Kind.SECRET_PROVIDER,
                around=Surroundings(Reach(), AddressRules(), rig),
                namespace="shop",
            )
