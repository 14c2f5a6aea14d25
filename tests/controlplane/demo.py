"""The whole path once, on screen: a value at its source, the Secret that follows it, the repair of a deleted one, and the trail of it."""

import base64
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.cluster import Cluster
from controlplane.errors import ControlPlaneError
from controlplane.installation import LABEL, Installation, OperatorProcess
from controlplane.screen import Screen

NAMESPACE = "keyturn-demo"
_MANIFEST = Path(__file__).with_name("demo.yaml")
_LIMIT = 30  # seconds for anything that is waited for
_LOOK_EVERY = 0.05  # seconds


def demo(cluster: Cluster, screen: Screen) -> None:
    """Shows it in a cluster and leaves nothing there; raises ControlPlaneError."""
    sources = cluster.folder / "sources"
    shop = sources / "shop"
    shop.mkdir(parents=True)
    (shop / "username").write_text("app")
    (shop / "password").write_text("correct-horse-1")
    with keyturn_in(cluster, sources, screen) as (installation, operator):
        _make_namespace(cluster, installation)

        screen.heading("A Secret from a file")
        screen.note(f"{shop}/password holds {_masked('correct-horse-1')}")
        screen.command("kubectl apply -f demo.yaml")
        screen.output(_MANIFEST.read_text())
        with screen.step("the Secret is there"):
            cluster.kubectl("apply", f"--filename={_MANIFEST}")
            first = _secret(cluster, lambda secret: _password(secret) == "correct-horse-1")
        _show_secret(screen, first)
        with screen.step("and the ManagedSecret says so"):
            cluster.kubectl("wait", "--for=condition=Ready", "managedsecret/app-db", f"--namespace={NAMESPACE}", f"--timeout={_LIMIT}s")
        _show_all(cluster, screen)

        screen.heading("The source changes")
        screen.command("printf %s battery-staple-2 > shop/password")
        with screen.step("the Secret has followed (refreshInterval: 1s)"):
            (shop / "password").write_text("battery-staple-2")
            second = _secret(cluster, lambda secret: _password(secret) == "battery-staple-2")
        _show_secret(screen, second)

        screen.heading("Somebody deletes the Secret")
        screen.command(f"kubectl delete secret app-db -n {NAMESPACE}")
        with screen.step("it is back, with the same value"):
            cluster.kubectl("delete", "secret", "app-db", f"--namespace={NAMESPACE}", "--wait=false")
            third = _secret(
                cluster, lambda secret: secret["metadata"]["uid"] != second["metadata"]["uid"] and _password(secret) == "battery-staple-2"
            )
        _show_secret(screen, third)
        _show_all(cluster, screen)
        screen.command(f"kubectl get events -n {NAMESPACE}")
        screen.output(
            cluster.kubectl(
                "get", "events", f"--namespace={NAMESPACE}", "--output=custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message"
            ).stdout
        )

        screen.heading("What was recorded, each step before it was taken")
        _show_trail(screen, operator)


@contextmanager
def keyturn_in(cluster: Cluster, sources: Path, screen: Screen, *flags: str) -> Iterator[tuple[Installation, OperatorProcess]]:
    """Kinds, rights and an operator that runs with these flags. In a cluster that stays, all that was made goes when the block ends."""
    screen.heading(f"Keyturn in the cluster at {cluster.address()}")
    installation = Installation(cluster)
    installation.check_absent()
    try:
        with screen.step("kinds and rights: crds, deploy/base without its Deployment"):
            installation.install()
        with _operator(cluster, sources, screen, *flags) as operator:
            yield installation, operator
    finally:
        if not cluster.throwaway:
            for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(sign, signal.SIG_IGN)  # a second Ctrl-C must not leave the half of it
            with screen.step("what was made in this cluster is removed"):
                installation.remove()


@contextmanager
def _operator(cluster: Cluster, sources: Path, screen: Screen, *flags: str) -> Iterator[OperatorProcess]:
    """An operator that runs; its last words are added to whatever goes wrong meanwhile."""
    operator = OperatorProcess(cluster, sources, *flags)
    with screen.step("the operator runs, with the rights of its ServiceAccount alone"):
        operator.start()
    try:
        yield operator
    except ControlPlaneError as error:
        raise ControlPlaneError(f"{error}\n\nThe operator's last lines:\n{operator.log()}") from error
    except BaseException:
        operator.kill()  # or it would repair what is removed now
        raise
    with screen.step("the operator has stopped"):
        if returncode := operator.stop():
            raise ControlPlaneError(f"the operator ended with {returncode}:\n{operator.log()}")


def _make_namespace(cluster: Cluster, installation: Installation) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {LABEL: installation.mark}}}
    cluster.kubectl("create", "--filename=-", input=json.dumps(namespace))


def _secret(cluster: Cluster, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The Secret as soon as it is as wanted; raises ControlPlaneError when it never is."""
    deadline = time.monotonic() + _LIMIT
    while True:
        got = cluster.kubectl("get", "secret", "app-db", f"--namespace={NAMESPACE}", "--ignore-not-found", "--output=json").stdout
        if got and is_wanted(secret := json.loads(got)):
            return dict(secret)
        if time.monotonic() > deadline:
            status = cluster.kubectl("get", "managedsecret", "app-db", f"--namespace={NAMESPACE}", "--output=jsonpath={.status}").stdout
            raise ControlPlaneError(f"the Secret is not as it should be after {_LIMIT} s. The ManagedSecret's status:\n{status}")
        time.sleep(_LOOK_EVERY)


def _password(secret: dict[str, Any]) -> str:
    return base64.b64decode(secret.get("data", {}).get("password", "")).decode()


def _show_secret(screen: Screen, secret: dict[str, Any]) -> None:
    screen.note(f"Secret {NAMESPACE}/app-db, uid {secret['metadata']['uid'][:8]}: password = {_masked(_password(secret))}")


def _show_all(cluster: Cluster, screen: Screen) -> None:
    screen.command("kubectl get keyturn -A")
    screen.output(cluster.kubectl("get", "keyturn", "--all-namespaces").stdout)


def _show_trail(screen: Screen, operator: OperatorProcess) -> None:
    for arguments in (("audit", "query", "--object", f"ManagedSecret/{NAMESPACE}/app-db"), ("audit", "verify")):
        screen.command(f"keyturn {' '.join(arguments)}")
        screen.output(operator.tell(*arguments))


def _masked(value: str) -> str:
    """Enough to tell two values apart."""
    return value[:3] + "•" * (len(value) - 5) + value[-2:]
