"""The contract suite on every provider, bare and behind its guard. `make contract` runs this, and writes the table from it."""

from collections.abc import Callable

import pytest

from bao import Bao
from contract.benches import Dressed, guarded
from contract.harness_aws import AwsBench
from contract.harness_azure import AzureBench
from contract.harness_database import FileBench, ServerBench
from contract.harness_env import EnvBench
from contract.harness_fake import FakeBench
from contract.harness_file import DocumentBench, FolderBench
from contract.harness_google import GoogleBench
from contract.harness_kubernetes import KubernetesBench
from contract.harness_vault import VaultBench
from contract.table import record
from controlplane.plane import ControlPlane
from keyturn.model.order import FileFormat
from keyturn.testing.provider_suite import CASES, Bench, Case, Skipped, prove
from postgres import Postgres

# The table's columns. A provider that is new gets its bench in a harness_*.py, and a line here.
BENCHES: dict[str, Callable[[pytest.FixtureRequest], Bench]] = {
    "awsSecretsManager (fake)": lambda _: AwsBench(),
    "azureKeyVault (fake)": lambda _: AzureBench(),
    "database (SQLite)": lambda _: FileBench(),
    "database (PostgreSQL)": lambda request: ServerBench(postgres(request)),
    "env": lambda _: EnvBench(),
    "file (Directory)": lambda _: FolderBench(),
    "file (JSON)": lambda _: DocumentBench(FileFormat.JSON),
    "file (YAML)": lambda _: DocumentBench(FileFormat.YAML),
    "file (Dotenv)": lambda _: DocumentBench(FileFormat.DOTENV),
    "fake": lambda _: FakeBench(),
    "googleSecretManager (fake)": lambda _: GoogleBench(),
    "hashicorpVault (v1)": lambda request: VaultBench(bao(request), engine=1),
    "hashicorpVault (v2)": lambda request: VaultBench(bao(request)),
    "kubernetes (this cluster)": lambda request: KubernetesBench(plane(request), is_home=True),
    "kubernetes (another one)": lambda request: KubernetesBench(plane(request), is_home=False),
}


def bao(request: pytest.FixtureRequest) -> Bao:
    server: Bao = request.getfixturevalue("bao")
    return server


def postgres(request: pytest.FixtureRequest) -> Postgres:
    server: Postgres = request.getfixturevalue("postgres")
    return server


def plane(request: pytest.FixtureRequest) -> ControlPlane:
    shared: ControlPlane = request.getfixturevalue("plane")
    return shared


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", BENCHES)
def test_contract(request: pytest.FixtureRequest, name: str, case: Case):
    """A case that is left out passes here: that it is, and why, stands in the table, which the run has to agree with."""
    ended = ""
    # The case of a silent server brings a guard of its own; behind a second one its reads would wait for that one's deadline.
    for dress in (None,) if case.name == "time-out" else (None, guarded):
        bench = BENCHES[name](request)
        try:
            prove(case, bench if dress is None else Dressed(bench, dress))
        except Skipped as skipped:
            ended = str(skipped)
    record(request, name, case, ended)
