"""Nobody pays for what is not used: what an import and a command load."""

import json
import pkgutil
import subprocess
import sys

import pytest

import keyturn.decide
import keyturn.model

FRAMEWORKS = frozenset(
    {
        "aiohttp",
        "aiosqlite",
        "alembic",
        "cryptography",
        "kopf",
        "msgspec",
        "prometheus_client",
        "psycopg",
        "pydantic",
        "sqlalchemy",
        "uvloop",
    }
)
SDKS = frozenset({"azure", "boto3", "botocore", "google", "grpc", "hvac"})
SLOW = frozenset({"asyncio", "click", "yaml", "ssl", "urllib.request", "http.client"})


def loaded(program: str) -> frozenset[str]:
    """The modules that a program has loaded in the end."""
    listing = "import atexit, json, sys\natexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
    ran = subprocess.run([sys.executable, "-c", listing + program], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return frozenset(json.loads(ran.stdout.splitlines()[-1]))


def command(*arguments: str) -> str:
    return f"sys.argv = ['keyturn', *{arguments!r}]\nfrom keyturn.cli import main\nmain()"


def test_importing_the_package_loads_nothing_else() -> None:
    found = loaded("import keyturn")
    assert found & (FRAMEWORKS | SDKS | SLOW) == frozenset()
    assert {name for name in found if name.startswith("keyturn")} == {"keyturn"}


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("run", "--help"), ("get", "PATH")], ids=" ".join)
def test_a_quick_command_loads_no_framework(arguments: tuple[str, ...]) -> None:
    assert loaded(command(*arguments)) & (FRAMEWORKS | SDKS) == frozenset()


def test_the_operator_loads_no_sdk() -> None:
    assert loaded("import keyturn.app, keyturn.providers.registry") & SDKS == frozenset()


def test_a_database_of_our_own_loads_no_orm() -> None:
    assert "sqlalchemy.orm" not in loaded("import keyturn.app, keyturn.store.databases, keyturn.store.replicas, keyturn.store.audit_spool")


def test_each_noun_and_each_decision_loads_without_a_framework() -> None:
    """What has specs may load pydantic, which reads them, and nothing besides."""
    rooms = [keyturn.model, keyturn.decide]
    names = [module.name for room in rooms for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")]
    assert loaded("\n".join(f"import {name}" for name in names)) & (FRAMEWORKS | SDKS) <= {"pydantic"}
