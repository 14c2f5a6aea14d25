"""The layers of the house: who imports whom, and who touches which library."""

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import grimp
import pytest

CONTRACTS = Path(__file__).with_name("layers.ini")
SOURCES = Path(__file__).parents[2] / "operator"

# Only these may import it. A library that is not here is imported by nobody.
LIBRARIES = {
    "aiohttp": {
        "keyturn.kube",
        "keyturn.handlers.hearing",
        "keyturn.handlers.startup",
        "keyturn.providers.azure*",
        "keyturn.providers.dial",
        "keyturn.testing.azure*",
        "keyturn.testing.google*",
    },
    "alembic": {"keyturn.store.schema", "keyturn.store.migrations"},
    "botocore": {"keyturn.providers.aws_sdk"},
    "azure": {"keyturn.providers.azure*"},
    "click": {"keyturn.cli"},
    "cryptography": {
        "keyturn.providers.azure_certificate",
        "keyturn.providers.rsa_keys",
        "keyturn.store.audit_spool",
        "keyturn.store.cipher",
        "keyturn.store.signing",
        "keyturn.testing.azure*",
        "keyturn.testing.google*",
    },
    "google": {"keyturn.providers.google*", "keyturn.testing.google*"},
    "grpc": {"keyturn.providers.google*", "keyturn.testing.google*"},
    "kopf": {"keyturn.engine", "keyturn.handlers.objects", "keyturn.handlers.startup"},
    "msgspec": {
        "keyturn.kube",
        "keyturn.providers.aws_json",
        "keyturn.providers.kubernetes*",
        "keyturn.providers.vault*",
        "keyturn.telemetry",
    },
    "prometheus_client": {"keyturn.telemetry"},
    "psycopg": {"keyturn.providers.sql_dial", "keyturn.store.engine"},
    "pydantic": {"keyturn.model.specs*", "keyturn.model.parse"},
    "pydantic_core": {"keyturn.model.specs*", "keyturn.model.parse"},
    "sqlalchemy": {"keyturn.store"},
    "pytest": {"keyturn.testing.provider_suite"},
    "trustme": {"keyturn.testing.azure*"},
    "uvloop": set(),
    "yaml": {"keyturn.kube.config", "keyturn.kube.crds", "keyturn.providers.file_yaml"},
    "yarl": {"keyturn.kube.client", "keyturn.providers.dial"},
}

# No I/O, no clock, no randomness, no logging, no threads: what is decided depends on arguments alone.
IMPURE = {
    "asyncio", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil",
    "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
PURE = ("keyturn.model", "keyturn.decide", "keyturn.ports")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("keyturn", include_external_packages=True, cache_dir=None)


def is_in(module: str, places: Collection[str]) -> bool:
    """Whether a module is one of these, or below one of them; a star stands for the rest of a name."""
    return any(module == place or module.startswith((f"{place}.", place[:-1] if place.endswith("*") else f"{place}.")) for place in places)


def test_imports_point_downwards_only() -> None:
    asked = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    options = [f"--config={CONTRACTS}", "--no-cache", "--no-logo"]
    ran = subprocess.run([*asked, *options], cwd=SOURCES, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_only_few_modules_touch_a_library(graph: grimp.ImportGraph) -> None:
    libraries = {name for name in graph.modules if "." not in name and name not in sys.stdlib_module_names} - {"keyturn"}
    importers = {library: graph.find_modules_that_directly_import(library) for library in libraries}
    strangers = {library: {m for m in found if not is_in(m, LIBRARIES.get(library, ()))} for library, found in importers.items()}
    assert {library: found for library, found in strangers.items() if found} == {}


def test_what_decides_is_pure(graph: grimp.ImportGraph) -> None:
    impure = {
        f"{module} imports {imported}"
        for module in graph.modules
        if is_in(module, PURE)
        for imported in graph.find_modules_directly_imported_by(module)
        if imported in IMPURE
    }
    assert impure == set()


def test_source_folder_is_no_package() -> None:
    """``operator/__init__.py`` would stand before the standard library's module of that name."""
    assert not (SOURCES / "__init__.py").exists()
    asked = [sys.executable, "-c", "import operator; operator.itemgetter"]
    assert subprocess.run(asked, cwd=SOURCES.parent, check=False).returncode == 0
