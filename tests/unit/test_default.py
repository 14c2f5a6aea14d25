"""What a process takes of its environment, once; and what the default provider logs in with."""

from pathlib import Path

import pytest

from keyturn import app
from keyturn.decide.reach import Reach
from keyturn.default import opened, take
from keyturn.model.errors import AuthFailed, MissingExtra, Rejected
from keyturn.model.ids import Carrier, KeyRef
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers import registry
from keyturn.providers.own_credentials import LARGEST, OwnCredentials
from keyturn.settings import Settings

VALUE = "kt-canary-own"
VAULT = {"SECRETS_PROVIDER": "hashicorp_vault", "VAULT_URL": "https://vault:8200", "VAULT_TOKEN": VALUE}


def test_what_is_secret_is_not_in_the_environment_any_more() -> None:
    environment = VAULT | {"VAULT_SECRET_ID": VALUE, "STRIPE": "stays"}
    given = take(environment)
    assert [held.reveal().decode() for held in given.default.credentials.values()] == [VALUE]
    assert environment == {"SECRETS_PROVIDER": "hashicorp_vault", "VAULT_URL": "https://vault:8200", "STRIPE": "stays"}


OTHERS = {"DATABASE_OWNER_URL": VALUE, "SECRET_KEY": VALUE, "SECRET_KEY_PREVIOUS": VALUE}


def test_a_program_keeps_what_its_provider_has_no_use_for() -> None:
    """A web framework has a SECRET_KEY of its own, and it may be what is asked for."""
    environment = VAULT | OTHERS
    take(environment)
    assert environment.keys() == {"SECRETS_PROVIDER", "VAULT_URL"} | OTHERS.keys()


def test_an_operator_keeps_no_secret_at_all() -> None:
    environment = VAULT | OTHERS
    take(environment, Reach())
    assert environment.keys() == {"SECRETS_PROVIDER", "VAULT_URL"}


def test_the_database_url_of_a_program_may_mean_anything() -> None:
    assert not take({"DATABASE_URL": f"mysql://{VALUE}"}).databases.has_own


async def test_a_file_is_read_beneath_its_folder_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text(VALUE)
    (tmp_path / "out").write_text("kt-canary-out")
    async with opened(take({"SECRETS_PROVIDER": "file", "SECRETS_FILE_PATH": f"{tmp_path}/in"})) as provider:
        inside, outside = SourceRef("a"), SourceRef("../out")
        found = await provider.get_many([inside, outside])
    assert isinstance(given := found[inside], Value)
    assert given.data.reveal().decode() == VALUE
    assert not isinstance(found[outside], Value)


async def test_an_extra_that_is_missing_is_told_by_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr(registry, "_open", missing)
    with pytest.raises(MissingExtra, match="SECRETS_PROVIDER=hashicorp_vault needs the extra 'vault'"):
        async with opened(take(dict(VAULT))):
            pass


def test_the_operator_with_a_class_has_no_default_provider() -> None:
    with pytest.raises(Rejected, match="SECRETS_PROVIDER_NAMESPACES: the default provider belongs to the operator without a class"):
        app.take_default(Settings(controller_class="blue"), {"SECRETS_PROVIDER_NAMESPACES": "shop"})
    assert app.take_default(Settings(controller_class="blue"), {}).default.namespaces == frozenset()


def test_a_variable_that_is_nearly_ours_is_warned_of_without_its_value(caplog: pytest.LogCaptureFixture) -> None:
    take({"SECRETS_ENVPREFIX": VALUE})
    [record] = caplog.records
    assert record.getMessage() == (
        "SECRETS_ENVPREFIX is no variable of Keyturn and is not looked at; SECRETS_ENV_PREFIX is one: rename it if that is meant"
    )
    assert VALUE not in str(vars(record))


def test_an_operator_reads_by_its_own_rules() -> None:
    with pytest.raises(Rejected, match="SECRETS_ENV_PREFIX"):
        app.take_default(Settings(), {"SECRETS_ENV_PREFIX": "SHOP_"})
    assert app.take_default(Settings(env_prefixes=("SHOP_",)), {"SECRETS_ENV_PREFIX": "SHOP_"}).default.word == "env"


async def test_credentials_come_from_what_was_taken_and_from_files_as_they_are_now(tmp_path: Path) -> None:
    variable, path = KeyRef(Carrier.ENVIRONMENT, "", "", "VAULT_TOKEN"), tmp_path / "token"
    file = KeyRef(Carrier.FILE, "", str(path), "VAULT_TOKEN_FILE")
    own = OwnCredentials({variable: Sensitive.of(VALUE)})
    assert (await own.read(variable)).reveal().decode() == VALUE
    with pytest.raises(AuthFailed, match=f"the file {path}, which VAULT_TOKEN_FILE names, cannot be read"):
        await own.read(file)
    for text in ("kt-canary-one\n", "kt-canary-two"):
        path.write_text(text)
        assert (await own.read(file)).reveal().decode() == text.strip()
    path.write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(AuthFailed, match="is larger than 1 MiB"):
        await own.read(file)
    with pytest.raises(AuthFailed, match="the environment has no VAULT_SECRET_ID"):
        await own.read(KeyRef(Carrier.ENVIRONMENT, "", "", "VAULT_SECRET_ID"))
