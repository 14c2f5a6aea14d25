"""MiniStack, another fake of AWS by other people: a second opinion. In a virtual environment of its own, since it wants another botocore.

The environment is made once for each state of ministack.txt, in the user's cache folder, from Python's package index. The server
listens on loopback alone, keeps its state in a folder that goes with it, finds no Docker (it would remove containers of yours that it
takes for its own), and cannot outlive the run (controlplane/hold.py).
"""

import asyncio
import fcntl
import hashlib
import http.client
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import botocore.session
from botocore.config import Config

from contract.kept import Kept
from controlplane.build import cache_folder
from controlplane.hold import Hold
from controlplane.servers import LOOPBACK, free_ports
from keyturn.model.aws import AssumedRole, AwsConfig, KeysLogin
from keyturn.providers.aws_open import opened
from keyturn.providers.aws_writer import AwsWriter
from keyturn.providers.room import Room

REGION = "eu-west-1"
_TRUST = {
    "Effect": "Allow",
    "Principal": {"AWS": "*"},
    "Action": "sts:AssumeRole",
    "Condition": {"StringEquals": {"sts:ExternalId": "keyturn/shop"}},
}
_accounts = itertools.count(100000000001)

PIN = Path(__file__).with_name("ministack.txt")
_KEEP = 2  # environments: the one in use, and the one of the branch that was left a moment ago
_INSTALL_S = 480
_START_S = 60.0
_NAME = "ministack"


class MiniStackError(Exception):
    """What stands in the way, and the remedy."""


@dataclass(frozen=True, slots=True)
class MiniStack:
    """A server. It lets in ``key_id``, and whoever has the number of an account for a key's id: as that account's root."""

    port: int
    pid: int

    key_id = "AKIAMINISTACK0000001"
    secret = "kt-canary-ministack-key"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @classmethod
    @contextmanager
    def run(cls) -> Iterator[Self]:
        """A new one, which answers, for as long as it is entered. Raises `MiniStackError`."""
        python = find_or_install() / "bin" / "python"
        with Hold.open() as hold:
            port = free_ports(1)[0]
            # Never by its own command, which listens on all interfaces; and in one process, which is ended by its id.
            argv = [str(python), "-m", "hypercorn", "--workers", "0", "--bind", f"{LOOPBACK}:{port}", "ministack.app:app"]
            made = cls(port, hold.start(_NAME, argv, _environment(hold.folder, port)))
            deadline = time.monotonic() + _START_S
            while not made._answers():
                if hold.returncodes()[_NAME] is not None or time.monotonic() > deadline:
                    raise MiniStackError(f"MiniStack does not answer:\n{hold.log(_NAME)}")
                time.sleep(0.05)
            yield made
            hold.end(_NAME)

    def _answers(self) -> bool:
        asking = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            asking.request("GET", "/_ministack/health")
            return asking.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asking.close()


@dataclass
class Account(Kept):
    """An account of its own at the server, whose root logs in, and what was opened."""

    server: MiniStack
    number: str = field(default_factory=lambda: str(next(_accounts)))
    opened: list[AwsWriter] = field(default_factory=list)

    def open(self, key_id: str = "", role: AssumedRole | None = None, prefix: str = "") -> AwsWriter:
        login = KeysLogin(self.keep("id", key_id or self.number), self.keep("secret", self.server.secret))
        made = opened(AwsConfig(REGION, login, role, prefix), None, self, None, Room(), "shop", may_write=True)
        assert isinstance(made, AwsWriter)
        self.opened.append(made)
        return made

    async def role(self, action: str, resource: str) -> str:
        """The ARN of a role that whoever knows the external id may assume, and that may do this to these."""

        policy = _document({"Effect": "Allow", "Action": action, "Resource": resource})

        def make() -> str:
            client = botocore.session.get_session().create_client(
                "iam",
                region_name=REGION,
                endpoint_url=self.server.url,
                aws_access_key_id=self.number,
                aws_secret_access_key=self.server.secret,
                config=Config(retries={"total_max_attempts": 1}),
            )
            try:
                made = client.create_role(RoleName="shop", AssumeRolePolicyDocument=_document(_TRUST))
                client.put_role_policy(RoleName="shop", PolicyName="shop", PolicyDocument=policy)
            finally:
                client.close()
            return str(made["Role"]["Arn"])

        return await asyncio.to_thread(make)


def _document(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _environment(folder: Path, port: int) -> dict[str, str]:
    """Nothing of the user's."""
    return {
        "PATH": os.environ["PATH"],
        **dict.fromkeys(("HOME", "TMPDIR", "STATE_DIR", "S3_DATA_DIR"), str(folder)),
        "DOCKER_HOST": f"unix://{folder / 'there-is-none'}",
        "GATEWAY_PORT": str(port),
        "SERVICES": "iam,secretsmanager,sts",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        # It asks who calls, and what their policies let them.
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": MiniStack.key_id,
        "AWS_SECRET_ACCESS_KEY": MiniStack.secret,
    }


def find_or_install() -> Path:
    """The virtual environment, made now if need be; two runs at a time share one. Raises `MiniStackError`."""
    cache = cache_folder()
    told = f"{PIN.read_text()}{sys.version_info[:2]}{sys.base_prefix}{platform.machine()}"
    folder = cache / f"ministack-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "ministack.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():  # it may have been made while we waited
                _install(folder)
    os.utime(folder)  # the newest are kept
    return folder


def _install(folder: Path) -> None:
    """As `folder`: whole or not at all. It is used as ``bin/python -m`` alone, which does not mind that it was made elsewhere."""
    for broken in folder.parent.glob("making-ministack-*"):  # of a run that was killed: we hold the lock
        shutil.rmtree(broken)
    with tempfile.TemporaryDirectory(prefix="making-ministack-", dir=folder.parent) as scratch:
        fresh = Path(scratch, "venv")
        if uv := shutil.which("uv"):
            _run(uv, "venv", "--quiet", "--no-python-downloads", "--python", sys.executable, str(fresh))
            install = [uv, "pip", "install", "--python", str(fresh / "bin" / "python")]
        else:
            _run(sys.executable, "-m", "venv", str(fresh))
            install = [str(fresh / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        _run(*install, "--quiet", "--require-hashes", "-r", str(PIN))
        fresh.rename(folder)
    for old in sorted(folder.parent.glob("ministack-*/"), key=lambda each: each.stat().st_mtime)[:-_KEEP]:
        shutil.rmtree(old)


def _run(*argv: str) -> None:
    try:
        ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
        problem = "\n".join((ended.stderr or ended.stdout).strip().splitlines()[-5:] or ["it says nothing"]) if ended.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"it took longer than {_INSTALL_S} s"
    if problem:
        raise MiniStackError(
            f"MiniStack, the second opinion on AWS, cannot be installed: {' '.join(argv[:4])} …\n{problem}\n"
            f"It is fetched once, from Python's package index, into {cache_folder()}: give pip or uv an index that has what"
            f" {PIN.name} names (PIP_INDEX_URL or UV_DEFAULT_INDEX), or put XDG_CACHE_HOME where there are 100 MB free."
        )
