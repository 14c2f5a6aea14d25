"""A real PostgreSQL server for tests, and a pytest plugin with the fixture `postgres`: one server for all tests of a process.

It runs as an unprivileged user, listens on 127.0.0.1 alone, speaks TLS too, and keeps its data over restarts and kills.
It cannot outlive the run (controlplane/hold.py). A test makes databases of its own, which have an owner and a run-time user.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import pytest
import trustme

from controlplane.hold import Hold
from controlplane.servers import LOOPBACK, free_ports

MISSING = "PostgreSQL's server is missing: install it (Debian: postgresql), or have initdb and postgres in PATH"
ADMIN = "keyturn_admin"
NAME = "postgres.test"
"""A host name that the server's certificate is for, as is 127.0.0.1."""

# What is thrown away needs no disk: a killed server keeps what was committed, a machine without power does not.
# No shared memory that would be left behind by a kill.
_CONFIG = """
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 300
shared_buffers = 32MB
fsync = off
full_page_writes = off
dynamic_shared_memory_type = mmap
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
log_min_messages = warning
"""
_LIMIT_S = 60.0
_SERVER = "postgres"


class PostgresError(Exception):
    """What stands in the way, with what the server said."""


@dataclass(frozen=True, slots=True)
class Database:
    """One database of a test's own, and how to get in: as its owner, and as the user that the operator is at run time.

    Both are made without any right of the other: what the run-time user may do is granted by who migrates.
    """

    name: str
    port: int
    owner: str
    user: str
    password: str = field(repr=False)

    @property
    def owner_url(self) -> str:
        return self.url(self.owner)

    @property
    def user_url(self) -> str:
        return self.url(self.user)

    def url(self, user: str, host: str = LOOPBACK, **options: str) -> str:
        """As a libpq URL; options such as sslmode."""
        return f"postgresql://{user}:{self.password}@{host}:{self.port}/{self.name}?{urlencode({'sslmode': 'disable'} | options)}"


class Postgres:
    """Use `run`, or `start` and `stop`."""

    def __init__(self, hold: Hold, programs: Path) -> None:
        self._hold = hold
        self._programs = programs
        self.port = free_ports(1)[0]
        self.data = hold.folder / "postgres"
        self.authority = trustme.CA()
        self._password = secrets.token_hex(16)
        self._pid = 0
        self._made = 0
        self._write_files()

    @classmethod
    @contextmanager
    def run(cls) -> Iterator[Self]:
        """A server, started, for as long as it is entered. Skips the test where there is no PostgreSQL on the machine."""
        programs = find()
        if programs is None:
            pytest.skip(MISSING)
        with Hold.open() as hold:
            server = cls(hold, programs)
            server.start()
            yield server
            server.resume()
            server.stop()

    # -- the process ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it with what it had stored before."""
        argv = [*_as_nobody(), str(self._programs / "postgres"), "-D", str(self.data)]
        self._pid = self._hold.start(_SERVER, argv, self._environment())
        deadline = time.monotonic() + _LIMIT_S
        while not self._answers():
            if self._hold.returncodes().get(_SERVER) is not None or time.monotonic() > deadline:
                raise PostgresError(f"no server that answers:\n{self._hold.log(_SERVER)}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it at once; clients are cut off, and what was committed stays."""
        self._hold.end(_SERVER, signal.SIGQUIT)

    def kill(self) -> None:
        """SIGKILL to all of it. What outlived its first process by a moment would hold the shared memory, and refuse the next start."""
        os.kill(self._pid, signal.SIGSTOP)  # from here on it has no new child
        children = _children(self._pid)
        self._hold.end(_SERVER, signal.SIGKILL)
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _LIMIT_S
        while any(map(_runs, children)):
            if time.monotonic() > deadline:
                raise PostgresError("processes of a killed server do not end")
            time.sleep(0.005)

    def pause(self) -> None:
        """SIGSTOP to all of it: connections are taken by the kernel, and nobody answers."""
        for pid in (self._pid, *_children(self._pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in (*_children(self._pid), self._pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    # -- databases --------------------------------------------------------------------------------------------------------------

    def create(self) -> Database:
        """A new, empty database, with two new users."""
        self._made += 1
        name = f"keyturn_{self._made}"
        made = Database(name, self.port, f"{name}_owner", f"{name}_user", secrets.token_hex(16))
        for user in (made.owner, made.user):
            self.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{made.password}'")
        self.execute(f"CREATE DATABASE {name} OWNER {made.owner}")
        self.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        self.execute(f"GRANT CONNECT ON DATABASE {name} TO {made.user}")
        return made

    def drop(self, database: Database) -> None:
        """Away with it and its users; whoever is connected is cut off."""
        self.execute(f"DROP DATABASE {database.name} WITH (FORCE)")
        for user in (database.owner, database.user):
            self.execute(f"DROP ROLE {user}")

    def execute(self, statement: str, database: str = "postgres", parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """One statement as superuser, by itself; its rows."""
        import psycopg

        with psycopg.connect(self._admin(database), autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def dump(self, database: Database) -> bytes:
        """All of it, as pg_dump writes it."""
        argv = [str(self._programs / "pg_dump"), "--dbname", self._admin(database.name)]
        return subprocess.run(argv, check=True, capture_output=True, timeout=120, stdin=subprocess.DEVNULL).stdout

    def restore(self, dump: bytes, database: Database) -> None:
        """Reads a dump into an empty database."""
        argv = [str(self._programs / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", self._admin(database.name)]
        subprocess.run(argv, check=True, capture_output=True, timeout=120, input=dump)

    def _admin(self, database: str) -> str:
        return f"postgresql://{ADMIN}:{self._password}@{LOOPBACK}:{self.port}/{database}?sslmode=disable"

    def _answers(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    # -- files ------------------------------------------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.data), "LC_ALL": "C", "TZ": "UTC"}

    def _write_files(self) -> None:
        """A cluster of databases, owned by the user that the server runs as; our own folder is opened for it to walk through."""
        self._hold.folder.chmod(0o711)
        self.data.mkdir(mode=0o700)
        self._hand_over(self.data)
        password = self._write("password", self._password.encode())
        argv = [*_as_nobody(), str(self._programs / "initdb"), "-D", str(self.data / "cluster"), "-U", ADMIN, "-E", "UTF8"]
        argv += ["--no-sync", "--no-instructions", "-A", "scram-sha-256", f"--pwfile={password}"]
        made = subprocess.run(
            argv, env=self._environment(), cwd="/", capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=False
        )
        if made.returncode:
            raise PostgresError(f"initdb: {made.stderr.decode(errors='replace')}")
        password.unlink()
        self.data = self.data / "cluster"
        leaf = self.authority.issue_cert(LOOPBACK, NAME)
        self._write("server.pem", b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        self._write("server.key", leaf.private_key_pem.bytes())
        with (self.data / "postgresql.conf").open("a") as config:
            config.write(_CONFIG.format(host=LOOPBACK, port=self.port))

    def _write(self, name: str, content: bytes) -> Path:
        path = self.data / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        self._hand_over(path)
        return path

    @staticmethod
    def _hand_over(path: Path) -> None:
        if (user := _unprivileged()) is not None:
            os.chown(path, user.pw_uid, user.pw_gid)


def find() -> Path | None:
    """The folder of the server's programs: as pg_config says, where Debian has them (the newest), or in PATH."""
    folders: list[Path] = []
    with suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL, timeout=10)
        folders.append(Path(asked.stdout.strip()))
    numbered = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdecimal()]
    folders += sorted(numbered, key=lambda path: int(path.parent.name), reverse=True)
    if (initdb := shutil.which("initdb")) is not None:
        folders.append(Path(initdb).parent)
    return next(
        (folder for folder in folders if all((folder / name).is_file() for name in ("initdb", "postgres", "pg_dump", "psql"))), None
    )


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as; None where we are no root ourselves. It refuses to run as root."""
    if os.geteuid():
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _as_nobody() -> list[str]:
    """How a program is called so that it has no privilege, and still ends with whoever started it."""
    user = _unprivileged()
    if user is None:
        return []
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=SIGKILL", "--"]


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _runs(pid: int) -> bool:
    """Whether it has not ended; who ended and was not waited for by its parent counts as ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of this process."""
    with Postgres.run() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """An empty database of a test's own."""
    made = postgres.create()
    yield made
    postgres.drop(made)
