"""Master keys come into the process once, and stay in it: not in its environment, a core, or another process of its user."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.model.keys import KeysRefused, KeyTooWeak
from keyturn.store import custody
from keyturn.store.custody import LARGEST_FILE, take_master_keys

WORDS = "kt-canary-9fK2xWq7Lr0Zt5Vb8Yp3Nd6Hs1Jm4Gc"

PROGRAM = """
import json, os, resource, ctypes
from keyturn.store.custody import take_master_keys
keys = take_master_keys()
print(json.dumps({
    "words": len(keys.wanted.words),
    "environ": sorted(name for name in os.environ if name.startswith("SECRET_KEY")),
    "child": os.popen("env").read().count("SECRET_KEY"),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
}))
"""


@pytest.fixture(autouse=True)
def left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process stays as it is: a debugger of tests, and a core of theirs, are of use."""
    monkeypatch.setattr(custody, "shut", lambda: None)


def test_a_process_that_holds_a_key_is_shut_and_passes_the_key_to_nobody() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "SECRET_KEY": WORDS}
    asked = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
    assert ran.returncode == 0, ran.stderr
    dumpable = 0 if sys.platform == "linux" else -1
    assert json.loads(ran.stdout) == {"words": len(WORDS), "environ": [], "child": 0, "core": [0, 0], "dumpable": dumpable}


def test_keys_are_gone_from_the_environment_also_where_they_are_refused() -> None:
    environment = {"SECRET_KEY": "kt-canary-short", "SECRET_KEY_PREVIOUS": WORDS, "OTHER": "stays"}
    with pytest.raises(KeyTooWeak):
        take_master_keys(environment)
    assert environment == {"OTHER": "stays"}


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"k1: {WORDS}\n")
    keys = take_master_keys({"SECRET_KEYS_FILE": str(file)})
    assert (keys.wanted.id, keys.wanted.words.reveal()) == ("k1", WORDS.encode())


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, os.strerror(errno.ENOENT)), (b"k" * (LARGEST_FILE + 1), "is it the right one"), (b"k1: \xff\xfe", "is no UTF-8 text")],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(KeysRefused) as refused:
        take_master_keys({"SECRET_KEYS_FILE": str(file)})
    assert str(file) in str(refused.value)
    assert told in str(refused.value)
