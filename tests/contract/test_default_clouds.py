"""The clouds as default providers, from variables to values that come over the wire and go back over it."""

import os
import secrets
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from contract import azures, googles
from contract.aws import KEY_ID, REGION, SECRET, account
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.default import open_default, take
from keyturn.model.google import GooglePlaces
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import Access
from keyturn.ports import Writer
from keyturn.providers.own_credentials import OwnCredentials
from keyturn.providers.registry import Surroundings

OLD, NEW = "kt-canary-old", "kt-canary-new"


async def prove(environment: MutableMapping[str, str], places: GooglePlaces | None = None) -> None:
    """Says that what is configured reads what others put, and that what it puts is read."""
    around = Surroundings(Reach(is_own=True), AddressRules(allow_plain_http=True), OwnCredentials({}), google=places or GooglePlaces())
    provider = open_default(take(environment).default, around, access=Access.READ_WRITE)
    try:
        db = SourceRef("db")
        before = (await provider.get_many([db]))[db]
        assert isinstance(before, Value), before
        assert before.data.reveal() == OLD.encode()
        assert isinstance(provider, Writer)
        await provider.put("db", type(before.data).of(NEW), token=secrets.token_hex(20))
        after = (await provider.get_many([db]))[db]
        assert isinstance(after, Value), after
        assert after.data.reveal() == NEW.encode()
    finally:
        await provider.close()


async def test_aws_by_the_keys_that_its_sdk_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    async with account() as made:
        await made.put("db", OLD)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        await prove({"SECRETS_PROVIDER": "aws_secrets_manager", "AWS_REGION": REGION})


async def test_azure_by_a_client_secret_that_is_taken_away() -> None:
    with azures.rigged() as rig:
        rig.seed("db", OLD)
        environment = {
            "SECRETS_PROVIDER": "azure_key_vault",
            "AZURE_KEY_VAULT_URL": f"https://{rig.vault.host}/",
            "AZURE_TENANT_ID": rig.entra.tenant,
            "AZURE_CLIENT_ID": rig.client_id,
            "AZURE_CLIENT_SECRET": azures.SECRET,
        }
        await prove(environment)
        assert "AZURE_CLIENT_SECRET" not in environment


def test_a_vault_of_azures_takes_no_condition_and_the_command_says_so(tmp_path: Path) -> None:
    with azures.rigged() as rig:
        rig.seed("db", OLD)
        ids = {"AZURE_TENANT_ID": rig.entra.tenant, "AZURE_CLIENT_ID": rig.client_id, "AZURE_CLIENT_SECRET": azures.SECRET}
        ours = {"SECRETS_PROVIDER": "azure_key_vault", "AZURE_KEY_VAULT_URL": f"https://{rig.vault.host}", **ids}
        command = [sys.executable, "-c", "from keyturn.cli import main; main()", "set", "db"]
        given: dict[str, Any] = {"env": os.environ | ours, "cwd": tmp_path, "input": NEW.encode(), "capture_output": True, "timeout": 120}
        refused = subprocess.run([*command, "--expect", "1"], check=False, **given)
        says = b"(SECRETS_PROVIDER=azure_key_vault) cannot write on a condition (it has no check-and-set); leave --expect out"
        assert (refused.returncode, says in refused.stderr) == (1, True), refused.stderr
        assert subprocess.run(command, check=False, **given).returncode == 0


async def test_google_by_a_key_in_a_file(tmp_path: Path) -> None:
    async with googles.rigged() as rig:
        rig.seed("db", OLD.encode())
        key = rig.services.key_of(googles.READER, googles.signer(googles.READER), "https://oauth2.googleapis.com/token")
        (tmp_path / "key.json").write_text(key)
        environment = {
            "SECRETS_PROVIDER": "google_secret_manager",
            "GCP_PROJECT_ID": "shop",
            "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json"),
        }
        await prove(environment, rig.places)
