"""A cluster as its users see it: kubectl, tokens and kubeconfigs. Also the ones that somebody else runs."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane.build import find_or_build
from controlplane.errors import ControlPlaneError
from controlplane.hold import Hold
from controlplane.servers import kubeconfig_text, write_private

_CALL_LIMIT = 120  # seconds for one kubectl
_KIND_LIMIT = 600  # seconds: it may have to fetch an image


class Cluster:
    """One context of one kubeconfig. The user's own is never read, unless it is the one that was named."""

    throwaway = True  # it ends with the run, so nothing in it needs to be removed

    def __init__(self, kubectl: str, hold: Hold, kubeconfig: Path, context: str | None = None) -> None:
        self.hold = hold
        self.folder = hold.folder
        self.kubeconfig = kubeconfig
        self.program = kubectl
        self._context = [f"--context={context}"] if context else []

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl, as the administrator unless another kubeconfig is given.

        With `check`, a failure raises ControlPlaneError with kubectl's own words.
        """
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "KUBECACHEDIR": str(self.folder / "kubectl-cache"),
            "KUBERC": "off",  # no preferences of the user's either
        }
        # In a session of its own: a Ctrl-C is ours to handle, and a second one must not cut the clean-up short.
        ended = subprocess.run(
            [self.program, *([] if kubeconfig else self._context), *arguments],
            env=environment,
            input=input or "",
            capture_output=True,
            text=True,
            timeout=_CALL_LIMIT,
            check=False,
            start_new_session=True,
        )
        if check and ended.returncode:
            raise ControlPlaneError(f"kubectl {' '.join(arguments)} failed: {ended.stderr.strip() or ended.stdout.strip()}")
        return ended

    def address(self) -> str:
        """The API server and the context by which it is reached, for people."""
        shown = json.loads(self.kubectl("config", "view", "--minify", "--output=json").stdout)
        return f"{shown['clusters'][0]['cluster']['server']} (context {shown['current-context']} of {self.kubeconfig})"

    def new_token(self, namespace: str, service_account: str, seconds: int = 3600) -> str:
        """A token of a ServiceAccount, by TokenRequest; the API server gives none for less than 600 s."""
        return self.kubectl("create", "token", service_account, f"--namespace={namespace}", f"--duration={seconds}s").stdout.strip()

    def kubeconfig_for(self, namespace: str, service_account: str, tokens_file: Path | None = None, seconds: int = 3600) -> Path:
        """A kubeconfig with the rights of a ServiceAccount alone.

        With `tokens_file` the token is written there and only referred to, so that it can be replaced (`write_private`).
        """
        token = self.new_token(namespace, service_account, seconds)
        if tokens_file:
            write_private(tokens_file, token)
        shown = json.loads(self.kubectl("config", "view", "--minify", "--raw", "--flatten", "--output=json").stdout)
        path = self.folder / f"kubeconfig-{namespace}-{service_account}"
        write_private(
            path, kubeconfig_text(shown["clusters"][0]["cluster"], {"tokenFile": str(tokens_file)} if tokens_file else {"token": token})
        )
        return path


class NamedCluster(Cluster):
    """Somebody's cluster, with what they keep in it."""

    throwaway = False


@contextmanager
def named_cluster(kubeconfig: Path, context: str | None = None) -> Iterator[NamedCluster]:
    """The cluster of a kubeconfig; raises ControlPlaneError when it cannot be reached."""
    if not kubeconfig.is_file():
        raise ControlPlaneError(f"there is no kubeconfig {kubeconfig}.")
    with Hold.open() as hold:
        cluster = NamedCluster(shutil.which("kubectl") or find_or_build()["kubectl"], hold, kubeconfig.resolve(), context)
        cluster.kubectl("version", "--output=json", "--request-timeout=20s")
        yield cluster


@contextmanager
def kind_cluster() -> Iterator[Cluster]:
    """A cluster by `kind`, for as long as it is entered; raises ControlPlaneError."""
    if not (kind := shutil.which("kind")):
        raise ControlPlaneError("WITH=kind needs the kind program in PATH, and Docker; without WITH a control plane is built and run here.")
    with Hold.open() as hold:
        kubeconfig = hold.folder / "kubeconfig"
        its = ["cluster", f"--name={hold.folder.name}", f"--kubeconfig={kubeconfig}"]
        try:
            if subprocess.run([kind, "create", *its, "--wait=120s"], stdin=subprocess.DEVNULL, timeout=_KIND_LIMIT, check=False).returncode:
                raise ControlPlaneError("kind created no cluster: see what it says above.")
            yield Cluster(shutil.which("kubectl") or find_or_build()["kubectl"], hold, kubeconfig)
        finally:
            subprocess.run([kind, "delete", *its], stdin=subprocess.DEVNULL, timeout=_KIND_LIMIT, check=True, start_new_session=True)
