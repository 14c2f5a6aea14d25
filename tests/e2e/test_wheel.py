"""The wheel as it is published: what it holds, and what it does where nothing but its base dependencies is installed."""

import configparser
import email
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "keyturn"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("operator", "database", "aws", "azure", "gcp", "vault", "api", "kms", "all")
_LIMIT_S = 180


def call(*argv: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """How a program ended; nothing of this checkout is in its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KEYTURN_", "PYTHON", "KUBECONFIG", "VIRTUAL_ENV"))}
    return subprocess.run(
        argv, cwd="/", env=kept | settings, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    hatchling = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(hatchling, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    assert built.returncode == 0, built.stderr
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def bin(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new virtual environment with the wheel and its base dependencies; uv makes it where there is one, as in make."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    python = home / "bin" / "python"
    uv = shutil.which("uv")
    made = call(uv, "venv", "--quiet", "--python", sys.executable, home) if uv else call(sys.executable, "-m", "venv", home)
    assert made.returncode == 0, made.stderr
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python] if uv else [python, "-m", "pip", "install", "--quiet"]
    fetched = call(*install, *PROJECT["dependencies"])
    if fetched.returncode:
        pytest.skip(f"needs a package index: {fetched.stderr.strip()[-300:]}")
    installed = call(*install, "--no-index", wheel)  # so that a dependency which is not declared is found
    assert installed.returncode == 0, installed.stderr
    return home / "bin"


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as opened:
        [name] = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(opened.read(name))


def test_it_holds_the_package_its_types_and_its_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        [licence] = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
        assert opened.read(licence) == (ROOT / "LICENSE").read_bytes()
    ours = {f"keyturn/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*") if path.suffix == ".py" or path.name == "py.typed"}
    assert "keyturn/py.typed" in ours
    assert {name for name in names if ".dist-info/" not in name} == ours


def test_it_names_every_extra_and_the_base_needs_next_to_nothing(wheel: Path) -> None:
    told = metadata(wheel)
    assert told.get_all("Provides-Extra") == sorted(EXTRAS)
    base = [need for need in told.get_all("Requires-Dist", ()) if "extra ==" not in need]
    assert sorted(need.split("<")[0].split(">")[0] for need in base) == ["click", "pyyaml"]


def test_it_brings_the_command_under_both_names(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        [name] = [name for name in opened.namelist() if name.endswith("entry_points.txt")]
        parsed = configparser.ConfigParser()
        parsed.read_string(opened.read(name).decode())
    assert dict(parsed["console_scripts"]) == {"keyturn": "keyturn.cli:main", "kubectl-keyturn": "keyturn.cli:main"}


def test_importing_it_loads_no_framework(bin: Path) -> None:
    """Not only because none is installed here: the same is asked where all are."""
    program = "import json, sys, keyturn, keyturn.cli; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    for python, settings in ((bin / "python", {}), (Path(sys.executable), {"PYTHONPATH": str(ROOT / "operator")})):
        ended = call(python, "-c", program, **settings)
        assert ended.returncode == 0, ended.stderr
        assert not set(json.loads(ended.stdout)) & {"kopf", "aiohttp", "pydantic", "sqlalchemy", "msgspec", "prometheus_client", "yaml"}


@pytest.mark.parametrize("program", ["keyturn", "kubectl-keyturn"])
def test_help_and_version_work_without_extras(bin: Path, wheel: Path, program: str) -> None:
    helped = call(bin / program, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "Run the operator." in helped.stdout
    assert call(bin / program, "run", "--help").returncode == 0
    assert call(bin / program, "version").stdout == f"keyturn {metadata(wheel)['Version']}\n"


@pytest.mark.parametrize(
    ("command", "arguments"), [("run", ()), ("release", ("--all-namespaces",)), ("crds", ("--out", "/nowhere/that/could/be/made"))]
)
def test_a_command_whose_extra_is_missing_says_what_to_install(bin: Path, command: str, arguments: tuple[str, ...]) -> None:
    ended = call(bin / "keyturn", command, *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"keyturn: keyturn {command} needs the extra 'operator': pip install 'keyturn[operator]'\n"


PROVIDERS = """
import asyncio, sys
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.ids import Kind
from keyturn.model.material import SourceRef
from keyturn.model.order import EnvConfig, FakeConfig, FileConfig, FileFormat, ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.providers.registry import Surroundings, build

root = sys.argv[1]

class Unread:
    async def read(self, ref):
        raise AssertionError(ref)

    def follow(self, who, refs):
        raise AssertionError(refs)

async def value(config, key):
    order = ProviderOrder(config=config)
    around = Surroundings(Reach(env_prefixes=(), file_roots=(root,)), AddressRules(), Unread())
    provider = build(order, kind=Kind.CLUSTER_SECRET_PROVIDER, around=around)
    try:
        await provider.validate()
        found = (await provider.get_many([SourceRef(key)]))[SourceRef(key)]
        return found.data.reveal().decode()
    finally:
        await provider.close()

async def main():
    print(await value(EnvConfig("KEYTURN_SECRET_"), "KEY"))
    print(await value(FileConfig("shop", FileFormat.DIRECTORY), "key"))
    print(await value(FileConfig("shop.yaml", FileFormat.YAML), "key"))
    print(await value(FakeConfig({SourceRef("key"): Sensitive(b"from fake")}), "key"))

asyncio.run(main())
"""


def test_the_providers_of_the_base_install_work_without_extras(bin: Path, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "key").write_text("from file")
    (tmp_path / "shop.yaml").write_text("key: from yaml\n")
    ended = call(bin / "python", "-c", PROVIDERS, tmp_path, KEYTURN_SECRET_KEY="from env")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["from env", "from file", "from yaml", "from fake"]
