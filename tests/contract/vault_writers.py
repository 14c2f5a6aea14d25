"""Builders for tests of writes to Vault: values, tokens, a writer, and what the server itself says of a key."""

import json

from contract.vaults import Rig
from keyturn.model.sensitive import Sensitive
from keyturn.providers.vault_writer import VaultWriter

KEY = "shop/db"
WRITES = ["read", "list", "scan", "create", "update", "patch"]
TOKENS = [f"{number:032d}" for number in range(100)]


def value(text: str) -> Sensitive:
    return Sensitive(json.dumps({"password": f"kt-canary-{text}"}).encode())


OLD, NEW, NEWER = value("old"), value("new"), value("newer")


def opened(rig: Rig, **config: str) -> VaultWriter:
    made = rig.open(kind=VaultWriter, **config)
    assert isinstance(made, VaultWriter)
    return made


def stored(rig: Rig, key: str = KEY) -> str:
    """What every other reader of the engine has."""
    return str(rig.bao.get(rig.mount, key)["data"]["password"])


def count(rig: Rig, key: str = KEY) -> int:
    """How many versions there ever were."""
    return int(rig.bao.call("GET", f"{rig.mount}/metadata/{key}")["data"]["current_version"])
