"""The `database` provider: the operator's own database, and a tenant's PostgreSQL at an address that the tenant chose."""

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path

import pytest

from contract.harness_database import TenantBench
from contract.tenants import KEY, ONE, URL, Kept, answer, fill, is_read
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.database import DatabaseConfig
from keyturn.model.errors import AuthFailed, MissingExtra, Rejected, Unavailable
from keyturn.model.ids import Kind
from keyturn.model.keys import MasterKeys
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.providers.dial import CONNECT_S, NO_ANSWER
from keyturn.providers.registry import Surroundings, build
from keyturn.store.databases import SqlDatabases
from keyturn.testing.provider_suite import CASES, Case, prove
from postgres import NAME, Database, Postgres


async def test_a_tenant_reads_from_its_own_database(kept: Kept, opening) -> None:
    await fill(kept)
    provider = opening()
    await provider.validate()
    assert await is_read(provider)
    assert [meta.key async for meta in provider.list()] == ["db"]


async def test_the_name_is_checked_and_the_certificate_is_for_the_name(
    postgres: Postgres, migrated: Database, kept: Kept, opening, names: dict[str, list[Sequence[str]]], tmp_path: Path, monkeypatch
) -> None:
    await fill(kept)
    (tmp_path / "ca.pem").write_bytes(postgres.authority.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    names[NAME] = names["other.test"] = [["127.0.0.1"]]
    kept.texts[URL] = migrated.url(migrated.user, NAME, sslmode="verify-full")
    assert await is_read(opening(AddressRules(allowed=("127.0.0.0/8",))))
    kept.texts[URL] = migrated.url(migrated.user, "other.test", sslmode="verify-full")
    assert str(await answer(opening())) == NO_ANSWER
    kept.texts[URL] = migrated.url(migrated.user, "other.test", sslmode="require")
    assert await is_read(opening())


async def test_a_server_of_strangers_is_not_trusted(migrated: Database, kept: Kept, opening) -> None:
    kept.texts[URL] = migrated.url(migrated.user, sslmode="verify-full")
    assert str(await answer(opening())) == NO_ANSWER


@pytest.mark.parametrize(
    "rules", [AddressRules(allow_plain_http=True), AddressRules(allowed=(), allow_plain_http=True)], ids=["all", "none"]
)
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "0.0.0.0", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"]
)
async def test_an_address_that_is_not_allowed_looks_like_nobody_at_home(
    rules: AddressRules, host: str, migrated: Database, kept: Kept, opening
) -> None:
    if rules.allowed == () and host not in {"127.0.0.1", "localhost"}:
        return
    kept.texts[URL] = migrated.user_url.replace("127.0.0.1", host)
    began = asyncio.get_running_loop().time()
    assert str(await answer(opening(rules))) == NO_ANSWER
    assert asyncio.get_running_loop().time() - began >= CONNECT_S


async def test_a_name_that_means_one_refused_address_is_refused_whole(
    migrated: Database, kept: Kept, opening, names: dict[str, list[Sequence[str]]]
) -> None:
    names["mixed.test"] = [["127.0.0.1", "169.254.169.254"]]
    kept.texts[URL] = migrated.url(migrated.user, "mixed.test")
    assert str(await answer(opening())) == NO_ANSWER


async def test_a_name_that_changes_its_mind_leads_nowhere_else(
    migrated: Database, kept: Kept, opening, names: dict[str, list[Sequence[str]]]
) -> None:
    await fill(kept)
    names["rebinding.test"] = [["127.0.0.1"], ["127.0.0.1"], ["169.254.169.254"]]  # of each family one question
    kept.texts[URL] = migrated.url(migrated.user, "rebinding.test")
    assert await is_read(opening())


async def test_nothing_of_the_operators_environment_goes_along(kept: Kept, opening, monkeypatch, tmp_path: Path) -> None:
    await fill(kept)
    for name, text in {
        "PGOPTIONS": "-c no.such=1 -x",
        "PGPASSFILE": str(tmp_path),
        "PGHOSTADDR": "169.254.169.254",
        "PGSSLMODE": "verify-full",
    }.items():
        monkeypatch.setenv(name, text)
    assert await is_read(opening())


async def test_a_log_in_that_is_refused_says_so_and_is_read_anew(kept: Kept, migrated: Database, opening) -> None:
    await fill(kept)
    right = kept.texts[URL]
    kept.texts[URL] = right.replace(migrated.password, "kt-canary-wrong")
    provider = opening()
    assert isinstance(await answer(provider), AuthFailed)
    kept.texts[URL] = right
    assert await is_read(provider)


async def test_a_key_that_changed_is_taken_over_at_the_next_check(kept: Kept, opening) -> None:
    await fill(kept)
    provider = opening()
    assert await is_read(provider)
    right, kept.texts[KEY] = kept.texts[KEY], secrets.token_urlsafe(48)
    with pytest.raises(AuthFailed, match="keySecretRef does not open"):
        await provider.validate()
    kept.texts[KEY] = right
    await provider.validate()
    assert await is_read(provider)


async def test_a_weak_key_is_refused(kept: Kept, opening) -> None:
    kept.texts[KEY] = "kt-canary-weak"
    with pytest.raises(AuthFailed, match="keySecretRef is shorter than 32 bytes"):
        await opening().validate()


async def test_a_database_without_tables_is_told_of_with_the_remedy(kept: Kept, opening, postgres: Postgres) -> None:
    empty = postgres.create()
    kept.texts[URL] = empty.user_url
    with pytest.raises(AuthFailed, match="keyturn db upgrade"):
        await opening().validate()
    postgres.drop(empty)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kt-canary",
        "mysql://u:kt-canary@h/d",
        "sqlite:////kt-canary",
        "postgresql://u:kt-canary@/d",
        "postgresql://:kt-canary@h/d",
        "postgresql://u:kt-canary@h",
        "postgresql://u:kt-canary@h,i/d",
        "postgresql://u:kt-canary@h:x/d",
        "postgresql://u:kt-canary@[::1/d",
        "postgresql://u:kt-canary@%2Frun%2Fpostgresql/d",
        "postgresql://u:kt-canary@h/d?host=%2Frun",
        "postgresql://u:kt-canary@h/d?hostaddr=127.0.0.1",
        "postgresql://u:kt-canary@h/d?sslmode=require&sslrootcert=kt-canary",
        "postgresql://u:kt-canary@h/d?service=kt-canary",
        "postgresql://u:kt-canary@h/d?sslmode=verify-ca",
        "postgresql://u:kt-canary@h/d?sslmode=kt-canary",
        "postgresql://u:kt-canary%00@h/d",
        "postgresql://u:kt-canary@h/d#f",
    ],
)
async def test_a_url_that_means_anything_else_is_refused_without_a_word_of_it(url: str, kept: Kept, opening) -> None:
    kept.texts[URL] = url
    with pytest.raises(AuthFailed, match="urlSecretRef") as refused:
        await opening().validate()
    assert "kt-canary" not in str(refused.value)


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
async def test_a_log_in_in_clear_needs_the_operators_flag(mode: str, kept: Kept, migrated: Database, opening) -> None:
    kept.texts[URL] = migrated.url(migrated.user, sslmode=mode)
    with pytest.raises(AuthFailed, match="would let the log-in go in clear"):
        await opening(AddressRules(allowed=("127.0.0.0/8",))).validate()


async def test_the_operators_own_database_is_for_the_cluster_kind(tmp_path: Path, kept: Kept) -> None:
    masters = MasterKeys.of({"SECRET_KEY": secrets.token_urlsafe(48)})
    databases = SqlDatabases.of(Sensitive.of(f"sqlite:///{tmp_path / 'keyturn.db'}"), masters)
    around = Surroundings(Reach(), AddressRules(), kept, databases=databases)
    await (await databases.own()).put("db", ONE, token=secrets.token_hex(20))
    first, second = (build(ProviderOrder(DatabaseConfig()), kind=Kind.CLUSTER_SECRET_PROVIDER, around=around) for _ in range(2))
    assert await is_read(first)
    await first.close()
    with pytest.raises(Unavailable):
        await first.validate()
    assert await is_read(second)
    await second.close()
    await databases.close()


@pytest.mark.parametrize(
    "case", [each for each in CASES if each.name in {"read", "bad log-in", "expired log-in", "time-out", "lost answer"}], ids=str
)
def test_the_way_to_a_tenants_database_keeps_the_contract(postgres: Postgres, case: Case) -> None:
    """The suite itself has a database of the operator's own; here is what is different about a tenant's."""
    prove(case, TenantBench(postgres))


def test_without_a_database_of_its_own_the_operator_says_what_is_missing(kept: Kept) -> None:
    order = ProviderOrder(DatabaseConfig())
    with pytest.raises(Rejected, match="DATABASE_URL and SECRET_KEY"):
        build(order, kind=Kind.CLUSTER_SECRET_PROVIDER, around=Surroundings(Reach(), AddressRules(), kept, databases=SqlDatabases()))
    with pytest.raises(MissingExtra, match=r"keyturn\[database\]"):
        build(order, kind=Kind.CLUSTER_SECRET_PROVIDER, around=Surroundings(Reach(), AddressRules(), kept))
