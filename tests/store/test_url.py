"""What a database's URL may say, and what a connection gets where it says nothing; without any connection."""

from pathlib import Path

import pytest
from psycopg import pq
from sqlalchemy import URL

from keyturn.model.sensitive import Sensitive
from keyturn.store.failures import DatabaseRefused
from keyturn.store.url import OPTIONS, completed, parsed

SERVER = "postgresql://u:kt-canary@db.example.com/d"


@pytest.fixture(autouse=True)
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The authorities of this system, and none of libpq's own variables."""
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGHOST", "PGHOSTADDR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "ca.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


def read(url: str) -> URL:
    return completed(parsed(Sensitive.of(url)))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://db/k.db", "names no absolute path; write sqlite:////PATH/TO/FILE, with four slashes"),
        ("sqlite:///db/k.db", "names no absolute path"),
        ("sqlite:///file:/k.db?uri=true", "names no absolute path"),
        ("sqlite:////k.db?mode=kt-canary", "a file takes none; leave out"),
        ("sqlite://", "names no file"),
        ("kt-canary", "is no URL of a database; write postgresql://USER:PASSWORD@HOST/NAME, the password percent-encoded"),
        ("postgresql://u:kt@canary@h/d", "percent-encode the password"),
        ("postgresql://u:kt/canary@b@h/d", "percent-encode the password"),
        ("postgresql://u:kt-canary@h:70000/d", "names no port; it is a number from 1 to 65535"),
        ("postgresql://u:p@kt?canary=d@h/x", r"a '\?' of the password as %3F"),
        (f"{SERVER}?ssl_mode=require", r"is not known \(is sslmode meant\?\)"),
        (f"{SERVER}?autocommit=1", "is not known"),
        (f"{SERVER}?service=kt-canary", "is not known"),
        (f"{SERVER}?sslmode=require&sslmode=disable", "gives an option twice"),
        (f"{SERVER}?sslmode=kt-canary", "sslmode is none of disable, allow, prefer, require, verify-ca, verify-full"),
        (f"{SERVER}?sslmode=require&sslrootcert=system", "needs sslmode=verify-full"),
    ],
)
def test_a_slip_is_told_before_anybody_is_asked(url: str, told: str) -> None:
    with pytest.raises(DatabaseRefused, match=f"^DATABASE_URL: .*{told}") as refused:
        parsed(Sensitive.of(url))
    assert not any(word in str(refused.value) for word in ("kt", "canary"))


@pytest.mark.parametrize("host", ["db.example.com", "10.0.0.1", "[2001:db8::1]", "127.0.0.1,db", "localhost.example.com"])
def test_a_server_elsewhere_is_checked_unless_the_url_says_otherwise(host: str, trusted: str) -> None:
    url = f"postgresql://u:kt-canary@{host}/d"
    assert dict(read(url).query) == {"sslmode": "verify-full", "sslrootcert": trusted}
    for mode in ("disable", "prefer", "require", "verify-ca"):
        assert dict(read(f"{url}?sslmode={mode}").query) == {"sslmode": mode}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@localhost/d",
        "postgresql://u@127.0.0.2/d",
        "postgresql://u@[::1]/d",
        "postgresql:///d",
        "postgresql:///d?host=/run/x",
    ],
)
def test_a_server_on_this_machine_needs_no_tls(url: str) -> None:
    assert "sslmode" not in read(url).query


@pytest.mark.parametrize("option", ["host=db", "hostaddr=10.0.0.1", "host=/run/x&host=db:5432"])
def test_a_server_that_an_option_names_is_checked_too(option: str) -> None:
    assert read(f"postgresql:///d?{option}").query["sslmode"] == "verify-full"


def test_the_authorities_are_those_that_are_given_or_else_the_systems(trusted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = f"{SERVER}?sslmode=verify-full&sslrootcert=/ca.crt"
    assert read(given).query["sslrootcert"] == "/ca.crt"
    assert dict(read("postgresql://u@localhost/d?sslrootcert=system").query) == {"sslmode": "verify-full", "sslrootcert": trusted}
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    assert read(SERVER).query["sslrootcert"] != "/nowhere"
    monkeypatch.setenv("PGSSLROOTCERT", "/other.crt")
    assert "sslrootcert" not in read(SERVER).query
    monkeypatch.setenv("PGSSLMODE", "require")
    assert dict(read(SERVER).query) == {}


def test_the_known_options_are_those_of_libpq() -> None:
    libpqs = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    assert (
        libpqs - OPTIONS
        == {
            *("service", "servicefile", "replication", "sslkeylogfile", "scram_client_key", "scram_server_key"),
            *("oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope", "oauth_ca_file"),
        }
        & libpqs
    )
    assert libpqs >= OPTIONS
