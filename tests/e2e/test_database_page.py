"""docs/database.md as it stands there, on both databases: set up, back up, lose everything, restore; another master key.

No pod runs here. What the page says to `kubectl exec` is done beside it, in the operator's surroundings and with a folder for its
volume, and what waits for a pod does not wait.
"""

import json
import re
import secrets
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from canary import Canary
from cluster.api import Api, Json
from cluster.audit import mark, requests, writes
from cluster.process import Operator
from cluster.shop import condition, managed_secret
from cluster.waiting import eventually
from controlplane.build import find_or_build
from controlplane.installation import NAMESPACE
from controlplane.plane import ControlPlane
from controlplane.servers import LOOPBACK
from pages import ROOT, Shell, blocks
from postgres import Postgres

PAGE = ROOT / "docs" / "database.md"
(
    OWN_KEY, POSTGRES_URLS, AUTHORITY, SET_AND_GET, BOTH_KEYS, ROTATE, DROP_PREVIOUS,
    SAVE_KEYS, SAVE_SQLITE, SAVE_POSTGRES, STOP, RESTORE_SQLITE, RESTORE_POSTGRES, START, ACCEPT,
) = blocks(PAGE, "sh")  # fmt: skip
[MAKE_DATABASE] = blocks(PAGE, "sql")
[POSTGRES_PART] = (block for block in blocks(PAGE, "yaml") if block.startswith("components:"))
[AUTHORITY_PART] = (block for block in blocks(PAGE, "yaml") if block.startswith("patches:"))
[AUTHORITY_OPTIONS] = re.findall(r"end both URLs with `\?(\S+)`", PAGE.read_text())
[PROVIDER] = [block for block in blocks(PAGE, "yaml") if "database: {}" in block]
KEYS = {"one": "shop/db", "two": "shop/api.key"}
MASTER_KEY = "keyturn-master-key"
VOLUME = "/var/lib/keyturn"
AUTHORITY_FOLDER = "/etc/keyturn-database-ca"

# `exec` runs here; a pod is not waited for, since none comes.
_KUBECTL = f"""#!{sys.executable}
import json, os, sys
words, pod = sys.argv[1:], json.load(open(os.environ["POD"]))
if "exec" in words:
    inner = [word.replace("{VOLUME}", pod["volume"]) for word in words[words.index("--") + 1:]]
    os.environ |= pod["env"]
    os.execvp(inner[0], inner)
if "rollout" in words or "--for=condition=Ready" in words:
    sys.exit(0)
os.execv(pod["kubectl"], ["kubectl", *words])
"""


class Machine:
    """Where the database lies, and how it is lost with all that was in it."""

    def __init__(self, volume: Path, server: Postgres | None) -> None:
        self.volume = volume
        self._server = server

    @property
    def is_sqlite(self) -> bool:
        return self._server is None

    def make(self) -> None:
        """Empty, as the page has it made."""
        self.volume.mkdir(exist_ok=True)
        if self._server is not None:
            (self.volume / "ca.crt").write_bytes(self._server.authority.cert_pem.bytes())
            for statement in MAKE_DATABASE.splitlines():
                self._server.execute(statement)

    def lose(self) -> None:
        shutil.rmtree(self.volume)
        if self._server is not None:
            for gone in ("DATABASE keyturn WITH (FORCE)", "ROLE keyturn", "ROLE keyturn_owner"):
                self._server.execute(f"DROP {gone}")

    def named(self, script: str) -> str:
        """With the address of this server, whose certificate is of an authority of its own, and where that one is here."""
        port = self._server.port if self._server is not None else 0
        options = AUTHORITY_OPTIONS.replace(AUTHORITY_FOLDER, str(self.volume))
        return script.replace("db.example.com", f"{LOOPBACK}:{port}").replace("sslmode=verify-full", options)


@contextmanager
def machine(folder: Path, server: Postgres | None) -> Iterator[Machine]:
    made = Machine(folder, server)
    made.make()
    yield made
    made.lose()


@dataclass(slots=True)
class Site:
    """One installation, as an admin has it who follows the page; ``key`` is the Secret with its master key."""

    shell: Shell
    api: Api
    operator: Operator
    machine: Machine
    pod: Path
    key: str

    def run(self, script: str) -> str:
        return ok(self.shell, script.replace(MASTER_KEY, self.key))

    def settle(self) -> None:
        """What a kubelet does before it starts a pod: its environment, and the init containers."""
        spec = self.api.get("Deployment", NAMESPACE, "keyturn")["spec"]["template"]["spec"]
        given, volume = self._environment(spec["containers"][0]), str(self.machine.volume)
        self.operator.settings = {name: text.replace(VOLUME, volume) for name, text in given.items()}
        pods = {"KEYTURN_OPERATOR_NAMESPACE": NAMESPACE, "KEYTURN_KUBECONFIG": str(self.operator.kubeconfig)}
        write_pod(self.pod, self.machine, self.operator.settings | pods)
        for container in spec.get("initContainers", ()):
            settings = {**self.shell.environment, **self._environment(container)}
            command = [str(self.shell.folder / ".programs" / "keyturn"), *container["args"]]
            done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, done.stderr

    def check_authority(self) -> None:
        """What the URLs name is where both containers have it."""
        assert AUTHORITY_OPTIONS.endswith(f"sslrootcert={AUTHORITY_FOLDER}/ca.crt")
        spec = self.api.get("Deployment", NAMESPACE, "keyturn")["spec"]["template"]["spec"]
        [volume] = (each for each in spec["volumes"] if each["name"] == "database-ca")
        assert "ca.crt" in self.api.get("ConfigMap", NAMESPACE, volume["configMap"]["name"])["data"]
        for container in (*spec["initContainers"], *spec["containers"]):
            assert {"name": "database-ca", "mountPath": AUTHORITY_FOLDER, "readOnly": True} in container["volumeMounts"]

    def _environment(self, container: Json) -> dict[str, str]:
        found = {}
        for variable in container["env"]:
            if "value" in variable:
                found[variable["name"]] = variable["value"]
            elif ref := variable["valueFrom"].get("secretKeyRef"):
                [held] = [each["data"] for each in self.api.items("Secret", NAMESPACE) if each["metadata"]["name"] == ref["name"]] or [{}]
                assert ref["key"] in held or ref.get("optional"), f"the pod would not start: {ref}"
                if ref["key"] in held:
                    found[variable["name"]] = b64decode(held[ref["key"]]).decode()
        return found

    def start(self) -> None:
        """Starts the operator, or starts it again."""
        if self.operator.is_running:
            assert self.operator.stop() == 0, self.operator.log(30)
        self.settle()
        self.operator.start()

    def put(self, key: str, value: str) -> None:
        self.run(f"VALUE={value}\n{SET_AND_GET.splitlines()[0].replace('shop/db', key)}")

    def get(self, key: str) -> str:
        self.run(SET_AND_GET.splitlines()[1].replace("shop/db", key))
        return (self.shell.folder / "value").read_text()

    def synced(self) -> dict[str, Json]:
        """Has each ManagedSecret read its source anew; its revision and its Secret."""
        token = secrets.token_hex(4)

        def is_done(name: str) -> bool:
            status = self.api.get("ManagedSecret", "shop", name).get("status", {})
            return status.get("lastHandledReconcileAt") == token and condition(status, "Ready").get("reason") == "Synced"

        for name in KEYS:
            annotations = {"keyturn.dev/reconcile-requested-at": token}
            self.api.merge("ManagedSecret", "shop", name, {"metadata": {"annotations": annotations}})
        eventually(lambda: all(is_done(name) for name in KEYS), what=lambda: self.operator.story(20))
        found = {}
        for name in KEYS:
            status, secret = self.api.get("ManagedSecret", "shop", name)["status"], self.api.get("Secret", "shop", name)
            found[name] = {"revision": status["revision"], "version": secret["metadata"]["resourceVersion"], "data": secret["data"]}
        return found


def ok(shell: Shell, script: str) -> str:
    ended = shell.run(script)
    assert ended.returncode == 0, f"{script}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def write_pod(path: Path, where: Machine, settings: dict[str, str]) -> None:
    path.write_text(json.dumps({"env": settings, "kubectl": str(find_or_build()["kubectl"]), "volume": str(where.volume)}))


@pytest.fixture
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane.run(controllers=False) as plane:
        yield plane


@pytest.fixture(params=["sqlite", "postgresql", "sqlite with a key of one's own"])
def site(request: pytest.FixtureRequest, cluster: ControlPlane, tmp_path: Path, canary: Canary) -> Iterator[Site]:
    """Keyturn installed as the page says, with its operator running and the page's provider."""
    checkout = tmp_path / "checkout"
    for folder in ("crds", "deploy"):
        shutil.copytree(ROOT / folder, checkout / folder)
    (checkout / "my-keyturn").mkdir()
    told = yaml.safe_load(POSTGRES_PART) | yaml.safe_load(AUTHORITY_PART) if request.param == "postgresql" else {}
    (checkout / "my-keyturn" / "kustomization.yaml").write_text(yaml.safe_dump(told | {"resources": ["../deploy/base"]}))
    (checkout / "provider.yaml").write_text(PROVIDER)
    shell = Shell(checkout, "replaced", {"KUBECONFIG": str(cluster.kubeconfig), "POD": str(pod := tmp_path / "pod.json")})
    (checkout / ".programs" / "kubectl").write_text(_KUBECTL)
    (checkout / ".programs" / "python").symlink_to(sys.executable)
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    with machine(tmp_path / "volume", server) as where, closing(Api(cluster)) as api:
        write_pod(pod, where, {})
        ok(shell, "kubectl apply --server-side -k crds; kubectl wait --for=condition=Established crd --all --timeout=30s")
        ok(shell, "kubectl create namespace shop; kubectl apply -k my-keyturn")
        key = "keyturn-database" if "own" in request.param else MASTER_KEY
        made = Site(shell, api, Operator(cluster, tmp_path), where, pod, key)
        made.run("true" if key == MASTER_KEY else OWN_KEY)
        if not where.is_sqlite:
            made.run(where.named(POSTGRES_URLS))
            made.run(f"cp {where.volume}/ca.crt .; {AUTHORITY}")
            made.check_authority()
        made.start()
        canary.watch_operator(made.operator.log_file, made.operator.health_url, environ=False)
        made.run("kubectl apply -f provider.yaml")
        yield made
        assert made.operator.stop() == 0, made.operator.log(30)


def order(site: Site) -> None:
    for name, key in KEYS.items():
        site.api.create(managed_secret("shop", name, {"kind": "ClusterSecretProvider", "name": "database"}, {"k": key}))


def test_what_was_backed_up_comes_back_with_versions_and_revisions_after_all_was_lost(
    site: Site, cluster: ControlPlane, canary: Canary
) -> None:
    old, values = canary("old"), {key: canary(name) for name, key in KEYS.items()}
    site.put("shop/db", old)
    for key, value in values.items():
        site.put(key, value)
    order(site)
    before, fingerprint = site.synced(), site.api.get("Secret", NAMESPACE, "keyturn-fingerprint-key")["data"]

    site.run(SAVE_KEYS)
    site.run(SAVE_SQLITE if site.machine.is_sqlite else SAVE_POSTGRES)
    if not site.machine.is_sqlite:
        site.run(SAVE_POSTGRES.replace(".data.owner-url", ".data.url"))  # the user of run time can do it too
    known, _ = site.api.audit_head(), site.synced()
    eventually(lambda: site.api.audit_head() != known, what=site.operator.story)
    site.run(STOP.splitlines()[0])
    assert site.operator.stop() == 0, site.operator.log(30)
    site.machine.lose()
    for name in {"keyturn-fingerprint-key", site.key} | (set() if site.machine.is_sqlite else {"keyturn-database"}):
        site.api.delete("Secret", NAMESPACE, name)

    since = mark(cluster)
    site.machine.make()
    site.run(STOP)
    site.run(RESTORE_SQLITE if site.machine.is_sqlite else RESTORE_POSTGRES)
    site.run(START.splitlines()[0])
    site.start()
    assert "active" in site.run(START)
    eventually(lambda: "AuditTruncated" in site.operator.log(), what=site.operator.story)
    assert "is lost" in site.run(ACCEPT)
    assert site.synced() == before
    assert site.api.get("Secret", NAMESPACE, "keyturn-fingerprint-key")["data"] == fingerprint
    assert {key: site.get(key) for key in values} == values
    assert site.run(f"{SET_AND_GET.splitlines()[1].partition(' > ')[0]} --version=1") == old
    assert not writes(requests(cluster, since=since), "secrets")
    site.put("shop/db", newer := canary("newer"))
    assert site.get("shop/db") == newer


def test_another_master_key_is_brought_in_and_the_old_one_taken_out_without_a_write_to_a_secret(
    site: Site, cluster: ControlPlane, canary: Canary
) -> None:
    values = {key: canary(name) for name, key in KEYS.items()}
    for key, value in values.items():
        site.put(key, value)
    order(site)
    before, since = site.synced(), mark(cluster)
    site.run(BOTH_KEYS)
    assert len(held(site)) == 2
    site.start()
    assert "done: all rows lie under" in (told := site.run(ROTATE))
    assert told.count("key k-") == 1, "one key is left"
    site.run(DROP_PREVIOUS)
    assert held(site) == ["key"]
    site.start()
    assert site.synced() == before
    assert {key: site.get(key) for key in values} == values
    assert not writes(requests(cluster, since=since), "secrets")


def held(site: Site) -> list[str]:
    return [name for name in site.api.get("Secret", NAMESPACE, site.key)["data"] if name.startswith("key")]
