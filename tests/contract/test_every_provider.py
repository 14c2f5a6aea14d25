"""What every provider must keep, bare and behind its guard, as the registry builds it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path

import pytest

from contract import azures, googles
from contract.aws import REGION, Account, account
from contract.files import aged
from contract.vaults import Rig
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.aws import AwsConfig
from keyturn.model.azure import AzureConfig
from keyturn.model.errors import AuthFailed, MissingExtra, NotFound, Rejected, Unavailable
from keyturn.model.google import GoogleConfig, GooglePlaces
from keyturn.model.ids import KeyRef, Kind, ObjectRef
from keyturn.model.material import WRITES, SourceRef, Value
from keyturn.model.order import Access, EnvConfig, FakeConfig, FileConfig, FileFormat, ProviderConfig, ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.model.vault import VaultConfig
from keyturn.ports import Provider, References, Writer
from keyturn.providers import registry
from keyturn.providers.guard import Guard
from keyturn.providers.registry import Surroundings

CANARY = "kt-canary-there"
THERE, MISSING = SourceRef("there"), SourceRef("missing")
CLUSTER = Kind.CLUSTER_SECRET_PROVIDER

CONTENT = {FileFormat.JSON: f'{{"there": "{CANARY}"}}', FileFormat.YAML: f"there: {CANARY}\n", FileFormat.DOTENV: f"there={CANARY}\n"}


@pytest.fixture
async def google() -> AsyncIterator[googles.Rig]:
    async with googles.rigged() as made:
        made.seed("there", CANARY.encode())
        yield made


@pytest.fixture
async def aws() -> AsyncIterator[Account]:
    async with account() as made:
        await made.put("there", CANARY)
        yield made


@pytest.fixture
def azure() -> Iterator[azures.Rig]:
    with azures.rigged() as made:
        made.seed("there", CANARY)
        yield made


@pytest.fixture(params=["aws", "azure", "env", "fake", "google", "vault", *FileFormat])
def config(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProviderConfig:
    match request.param:
        case "aws":
            return AwsConfig(REGION, request.getfixturevalue("aws").keys())
        case "env":
            monkeypatch.setenv("KEYTURN_SECRET_there", CANARY)
            return EnvConfig()
        case "azure":
            made: azures.Rig = request.getfixturevalue("azure")
            return AzureConfig(made.vault.host, made.login())
        case "google":
            return GoogleConfig("shop", request.getfixturevalue("google").key_login())
        case "vault":
            rig: Rig = request.getfixturevalue("rig")
            rig.bao.put(rig.mount, "there", {"there": CANARY})
            return VaultConfig(rig.bao.url, rig.approle(), rig.mount, authority=Sensitive(rig.bao.ca_pem))
        case "fake":
            return FakeConfig({THERE: Sensitive.of(CANARY)})
        case FileFormat.DIRECTORY:
            (tmp_path / "there").write_text(CANARY)
            return FileConfig(".")
        case other:
            (tmp_path / "document").write_text(CONTENT[other])
            aged(tmp_path / "document")
            return FileConfig("document", other)


class NoReferences:
    """Nothing to refer to."""

    async def read(self, ref: KeyRef) -> Sensitive:
        raise AuthFailed(f"there is no {ref}")

    def follow(self, who: ObjectRef, refs: Collection[KeyRef]) -> None:
        """Nothing changes."""


def surroundings(*roots: str, references: References | None = None, google: GooglePlaces | None = None) -> Surroundings:
    return Surroundings(Reach(file_roots=roots), AddressRules(), references or NoReferences(), google=google or GooglePlaces())


def around_of(config: ProviderConfig, request: pytest.FixtureRequest, tmp_path: Path) -> Surroundings:
    """What the provider of a fixture needs around it."""
    if isinstance(config, AwsConfig):
        return surroundings(references=request.getfixturevalue("aws"))
    if isinstance(config, AzureConfig):
        return surroundings(references=request.getfixturevalue("azure"))
    if isinstance(config, GoogleConfig):
        google: googles.Rig = request.getfixturevalue("google")
        return surroundings(references=google, google=google.places)
    return surroundings(str(tmp_path), references=request.getfixturevalue("rig") if isinstance(config, VaultConfig) else None)


@pytest.fixture(params=["bare", "guarded"])
def make(request: pytest.FixtureRequest, config: ProviderConfig, tmp_path: Path) -> Callable[[], Provider]:
    around = around_of(config, request, tmp_path)
    if request.param == "bare":
        return lambda: registry._open(config, CLUSTER, around, "", Access.READ_ONLY)
    return lambda: registry.build(ProviderOrder(config), kind=CLUSTER, around=around)


async def test_a_read_answers_for_each_reference_and_no_other(make: Callable[[], Provider]):
    provider = make()
    answers = await provider.get_many([THERE, MISSING, THERE])
    assert set(answers) == {THERE, MISSING}
    assert isinstance(found := answers[THERE], Value)
    assert found.data in (Sensitive.of(CANARY), Sensitive.of(f'{{"there":"{CANARY}"}}'))
    assert isinstance(answers[MISSING], NotFound)
    assert "missing" in str(answers[MISSING]) or "such key" in str(answers[MISSING])
    assert await provider.get_many([]) == {}
    await provider.close()


async def test_calls_may_overlap(make: Callable[[], Provider]):
    provider = make()
    answers = await asyncio.gather(*(provider.get_many([THERE]) for _ in range(50)))
    assert all(isinstance(answer[THERE], Value) for answer in answers)
    await provider.close()


async def test_a_list_holds_keys_and_fingerprints_and_no_value(make: Callable[[], Provider]):
    provider = make()
    listed = [meta async for meta in provider.list()]
    assert "there" in {meta.key for meta in listed}
    assert CANARY not in repr(listed)
    assert [meta async for meta in provider.list("none of these")] == []
    await provider.close()


async def test_validate_passes_where_a_read_does(make: Callable[[], Provider]):
    provider = make()
    await provider.validate()
    await provider.close()


async def test_close_may_come_twice_and_everything_after_it_is_unavailable(make: Callable[[], Provider]):
    provider = make()
    await provider.close()
    await provider.close()
    with pytest.raises(Unavailable):
        await provider.get_many([THERE])
    with pytest.raises(Unavailable):
        await provider.validate()
    with pytest.raises(Unavailable):
        [meta async for meta in provider.list()]


def test_a_build_gives_a_guarded_provider(config: ProviderConfig, tmp_path: Path):
    built = registry.build(ProviderOrder(config), kind=CLUSTER, around=surroundings(str(tmp_path)))
    assert isinstance(built, Guard)


async def test_who_only_reads_has_no_way_to_write_and_who_may_write_has_one_where_there_is_any(
    config: ProviderConfig, tmp_path: Path, request: pytest.FixtureRequest
):
    around = around_of(config, request, tmp_path)
    reading = registry.build(ProviderOrder(config), kind=CLUSTER, around=around)
    assert not reading.caps & WRITES
    assert not isinstance(reading, Writer)
    writing = registry.build(ProviderOrder(config, Access.READ_WRITE), kind=CLUSTER, around=around)
    takes = isinstance(config, AwsConfig | AzureConfig | FakeConfig | GoogleConfig | VaultConfig) or (
        isinstance(config, FileConfig) and config.format is FileFormat.DIRECTORY
    )
    assert isinstance(writing, Writer) == bool(writing.caps & WRITES) == takes
    for each in (reading, writing):
        await each.close()


@pytest.mark.parametrize(("config", "name"), [(EnvConfig(), "env"), (FileConfig("shop"), "file")], ids=["env", "file"])
def test_what_reads_the_operators_own_is_for_the_cluster_kind_alone(config: ProviderConfig, name: str):
    with pytest.raises(Rejected, match=rf"spec\.provider\.{name} .*only a ClusterSecretProvider"):
        registry.build(ProviderOrder(config), kind=Kind.SECRET_PROVIDER, around=surroundings())
    with pytest.raises(Rejected, match=rf"spec\.provider\.{name}\."):
        registry.build(ProviderOrder(FileConfig("/etc") if name == "file" else EnvConfig("PATH")), kind=CLUSTER, around=surroundings())


def test_the_fake_is_for_both_kinds():
    registry.build(ProviderOrder(FakeConfig({})), kind=Kind.SECRET_PROVIDER, around=surroundings())


def test_a_provider_whose_part_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch):
    def absent(*_: object) -> Provider:
        raise ModuleNotFoundError("No module named 'boto3'", name="boto3")

    monkeypatch.setattr(registry, "_open", absent)
    with pytest.raises(ModuleNotFoundError):  # nothing of the base install is an extra
        registry.build(ProviderOrder(FakeConfig({})), kind=CLUSTER, around=surroundings())
    monkeypatch.setitem(registry.MEMBERS, FakeConfig, registry.Member("awsSecretsManager", extra="aws"))
    with pytest.raises(MissingExtra, match=r"pip install 'keyturn\[aws\]'"):
        registry.build(ProviderOrder(FakeConfig({})), kind=CLUSTER, around=surroundings())
