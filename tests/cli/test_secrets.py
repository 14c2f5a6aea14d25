"""`keyturn get` and `keyturn set` as a shell sees them: on the default provider that the environment configures."""

import os
import secrets
from pathlib import Path

import pytest

from canary import Canary
from cli.calls import Bench, audit, complaint, trail

ENV = "the default provider (SECRETS_PROVIDER=env)"


@pytest.fixture
def database(tmp_path: Path) -> Bench:
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/own.db", "SECRET_KEY": secrets.token_urlsafe(48)}
    (tmp_path / "own.db").touch(0o600)
    return Bench(tmp_path, SECRETS_PROVIDER="database", **settings)


def test_get_prints_the_bytes_exactly_and_a_newline_on_a_terminal_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, STRIPE="kt-canary-get é ")
    ended = bench.call("get", "STRIPE")
    assert (ended.returncode, ended.stdout) == (0, "kt-canary-get é ".encode())
    assert bench.at_terminal("get", "STRIPE") == (0, "kt-canary-get é \r\n".encode())


def test_what_is_not_there_is_named_with_a_remedy(tmp_path: Path, database: Bench) -> None:
    ended = Bench(tmp_path, SECRETS_ENV_PREFIX="SHOP_").call("get", "STRIPE")
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert complaint(ended.stderr) == (
        "keyturn: there is no STRIPE at the default provider (SECRETS_PROVIDER=env): the environment has no variable SHOP_STRIPE;"
        " set that variable, or SECRETS_PROVIDER to where the secret is"
    )
    stored = database.call("get", "STRIPE")
    assert stored.returncode == 1
    assert "there is no STRIPE at the default provider (SECRETS_PROVIDER=database)" in complaint(stored.stderr)
    assert "store it with keyturn set STRIPE" in complaint(stored.stderr)


def test_a_value_goes_in_and_comes_out_with_its_versions(database: Bench, canary: Canary) -> None:
    first, second = canary("first").encode() + b"\x00\xff", canary("second").encode() + b"\n"
    stored = database.call("set", "shop/stripe", stdin=first)
    assert (stored.returncode, stored.stdout) == (0, b"")
    assert complaint(stored.stderr) == "shop/stripe is stored as version 1"
    assert complaint(database.call("set", "shop/stripe", "--expect", "1", stdin=second).stderr) == (
        "shop/stripe is stored as version 2; it ends in a newline"
    )
    assert database.call("get", "shop/stripe").stdout == second
    assert database.call("get", "shop/stripe", "--version", "1").stdout == first
    for expected in ("1", ""):
        late = database.call("set", "shop/stripe", "--expect", expected, stdin=b"kt-canary-late")
        assert late.returncode == 1
        assert "version 2 is" in complaint(late.stderr)
        assert trail(database)[-1][3:5] == ("failure", "Conflict")
    assert database.call("get", "shop/stripe").stdout == second


@pytest.fixture
def files(tmp_path: Path) -> Bench:
    (tmp_path / "secrets").mkdir()
    return Bench(tmp_path, SECRETS_PROVIDER="file", SECRETS_FILE_PATH=f"{tmp_path}/secrets")


def test_versions_that_were_set_in_a_folder_are_read_from_it(files: Bench) -> None:
    for value in (b"kt-canary-one", b"kt-canary-two"):
        assert files.call("set", "db/password", stdin=value).returncode == 0
    assert files.call("get", "db/password", "--version", "previous").stdout == b"kt-canary-one"
    assert files.call("get", "db/password").stdout == b"kt-canary-two"


@pytest.mark.parametrize("store", ["files", "database"])
def test_the_version_that_a_get_tells_is_the_one_that_a_set_expects(store: str, request: pytest.FixtureRequest) -> None:
    bench: Bench = request.getfixturevalue(store)
    stored = bench.call("set", "A", stdin=b"kt-canary-one").stderr.decode().split()[-1]
    told = complaint(bench.call("get", "A", "--show-version").stderr)
    assert told == f"A is at version {stored}"
    code, shown = bench.at_terminal("get", "A")
    assert (code, shown.decode()) == (0, f"kt-canary-one\r\nA is at version {stored}\r\n")
    assert bench.call("set", "A", "--expect", stored, stdin=b"kt-canary-two").returncode == 0
    late = bench.call("set", "A", "--expect", stored, stdin=b"kt-canary-three")
    current = complaint(bench.call("get", "A", "--show-version").stderr).rpartition(" ")[2]
    assert f"version {current} is" in complaint(late.stderr)


def test_what_has_no_version_says_so_when_that_is_asked(tmp_path: Path) -> None:
    ended = Bench(tmp_path, STRIPE="kt-canary-get").call("get", "STRIPE", "--show-version")
    assert (ended.stdout, complaint(ended.stderr)) == (b"kt-canary-get", "STRIPE has no version")


def test_an_empty_value_is_stored_when_that_is_meant(files: Bench, database: Bench) -> None:
    for bench in (files, database):
        refused = bench.call("set", "EMPTY")
        assert refused.returncode == 1
        assert "or --allow-empty if it shall be empty" in complaint(refused.stderr)
        assert bench.call("set", "EMPTY", "--allow-empty").returncode == 0
        assert (bench.call("get", "EMPTY").returncode, bench.call("get", "EMPTY").stdout) == (0, b"")
    assert database.at_terminal("set", "TYPED", "--allow-empty", answer=b"")[0] == 0


def test_a_document_says_where_a_value_is_added_and_what_takes_values(tmp_path: Path) -> None:
    (tmp_path / "app.json").write_text('{"a": "kt-canary-a"}')
    os.utime(tmp_path / "app.json", (0, 0))
    bench = Bench(tmp_path, SECRETS_PROVIDER="file", SECRETS_FILE_PATH=f"{tmp_path}/app.json", SECRETS_FILE_FORMAT="JSON")
    missing = complaint(bench.call("get", "b").stderr)
    assert missing.endswith("has no such key; add it to that file, or set SECRETS_PROVIDER to where the secret is")
    assert complaint(bench.call("set", "b", stdin=b"kt-canary-lost").stderr) == (
        "keyturn: the default provider (SECRETS_PROVIDER=file) only gives values of a document; set SECRETS_FILE_FORMAT to Directory and"
        " SECRETS_FILE_PATH to a folder, or set SECRETS_PROVIDER to one of database, hashicorp_vault,"
        " aws_secrets_manager, azure_key_vault, google_secret_manager"
    )


def test_a_database_that_is_not_there_is_made_by_set_alone_which_says_so(database: Bench, tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    file.unlink()
    asked = database.call("get", "A")
    assert (asked.returncode, complaint(asked.stderr)) == (
        1,
        f"keyturn: the file {file} that DATABASE_URL names is not there; keyturn set makes one",
    )
    assert not file.exists()
    refused = database.call("set", "A", "--expect", "1", stdin=b"kt-canary-early")
    assert (refused.returncode, f"made a new database in {file}\n" in refused.stderr.decode()) == (1, True)
    file.unlink()
    stored = database.call("set", "A", stdin=b"kt-canary-one")
    assert [line for line in stored.stderr.decode().splitlines() if not line.startswith("{")] == [
        f"made a new database in {file}",
        "A is stored as version 1",
    ]
    assert "made" not in database.call("set", "A", stdin=b"kt-canary-two").stderr.decode()


def test_a_value_is_typed_twice_and_never_shown(database: Bench, canary: Canary) -> None:
    value = canary("typed")
    code, shown = database.at_terminal("set", "TYPED", answer=value.encode())
    assert code == 0, shown
    assert value.encode() not in shown
    assert b"Value of TYPED" in shown
    assert b"keyturn.audit" not in shown
    assert database.call("get", "TYPED").stdout == value.encode()


def test_a_member_of_a_value_is_named_as_a_property(tmp_path: Path) -> None:
    bench = Bench(tmp_path, APP='{"db": {"password": "kt-canary-member"}}')
    assert bench.call("get", "APP", "--property", "db.password").stdout == b"kt-canary-member"
    ended = bench.call("get", "APP", "--property", "db.user")
    assert ended.returncode == 1
    assert (
        complaint(ended.stderr) == "keyturn: cannot get APP from the default provider (SECRETS_PROVIDER=env): APP has no property 'db.user'"
    )


def test_a_provider_that_only_reads_says_which_to_set(tmp_path: Path) -> None:
    ended = Bench(tmp_path).call("set", "STRIPE", stdin=b"kt-canary-lost")
    assert ended.returncode == 1
    assert complaint(ended.stderr) == (
        "keyturn: the default provider (SECRETS_PROVIDER=env) only gives values; set SECRETS_PROVIDER to one of database, file,"
        " hashicorp_vault, aws_secrets_manager, azure_key_vault, google_secret_manager"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("get",), 2, "Missing argument 'NAME'"),
        (("get", " "), 2, "is empty, or has signs that cannot be printed"),
        (("set", "A", "kt-canary-argument"), 2, "Got unexpected extra argument"),
        (("set", "A"), 1, "no value came on standard input"),
        (("get", "A", "--version", "2"), 1, "environment variables have no versions"),
    ],
    ids=lambda found: str(found)[:30],
)
def test_how_it_is_used_wrongly(tmp_path: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    ended = Bench(tmp_path).call(*arguments)
    assert ended.returncode == code
    assert told in ended.stderr.decode()
    assert ended.stdout == b""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"SECRETS_PROVIDER": "azure_key_vault"}, "AZURE_KEY_VAULT_URL: is needed with SECRETS_PROVIDER=azure_key_vault"),
        ({"SECRETS_PROVIDER": "database"}, "DATABASE_URL: is needed with SECRETS_PROVIDER=database"),
        ({"SECRETS_PROVIDER": "database", "DATABASE_URL": "sqlite:///x", "SECRET_KEY": "kt-canary-weak"}, "SECRET_KEY is shorter than"),
        (
            {"SECRETS_PROVIDER": "hashicorp_vault", "VAULT_URL": "http://vault.example", "VAULT_TOKEN": "kt-canary-t"},
            "VAULT_URL: http would send the log-in in clear; use https, or set KEYTURN_ALLOW_PLAIN_HTTP=true",
        ),
        (
            {"SECRETS_PROVIDER": "hashicorp_vault", "VAULT_URL": "http://127.0.0.1:1", "VAULT_TOKEN": "kt-canary-t"},
            "cannot get A from the default provider (SECRETS_PROVIDER=hashicorp_vault): ",
        ),
    ],
    ids=lambda found: str(found)[:30],
)
def test_a_configuration_that_cannot_be_is_told_by_its_variable(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    ended = Bench(tmp_path, **settings).call("get", "A")
    assert ended.returncode == 1
    assert told in complaint(ended.stderr)


def test_each_read_and_write_is_a_line_without_a_value_where_there_is_no_database(files: Bench, canary: Canary) -> None:
    written = audit(files.call("set", "A", stdin=canary("audited").encode()).stderr)
    read = audit(files.call("get", "A").stderr)
    missed = audit(files.call("get", "B").stderr)
    for lines, action, keys, outcome in ((written, "secret.write", ["A"], "success"), (read, "secret.read", ["A"], "success"),
                                         (missed, "secret.read", ["B"], "failure")):  # fmt: skip
        intent, settled = lines
        assert (intent["logger"], intent["action"], intent["keys"], intent["trigger"]) == ("keyturn.audit", action, keys, "cli")
        assert (intent["subject"], intent["target"]) == (f"user {os.getuid()}", "default file")
        assert (settled["settles"], settled["outcome"]) == (intent["event"], outcome)
