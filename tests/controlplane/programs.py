"""The programs of a control plane on this machine, and where they came from."""

import os
from dataclasses import dataclass
from pathlib import Path

from controlplane.errors import ControlPlaneError

NAMES = ("etcd", "etcdctl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
_NEEDED = ("etcd", "kube-apiserver", "kubectl")


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder that holds the programs under their usual names."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        """The path of a program."""
        return str(self.folder / name)

    @property
    def has_controller_manager(self) -> bool:
        """Whether owner references collect garbage and namespaces end; kubebuilder's assets have none."""
        return (self.folder / "kube-controller-manager").exists()

    @classmethod
    def from_kubebuilder_assets(cls) -> "Programs | None":
        """Those of $KUBEBUILDER_ASSETS, if it is set; raises ControlPlaneError if one is missing there."""
        if not (named := os.environ.get("KUBEBUILDER_ASSETS")):
            return None
        folder = Path(named).resolve()
        if missing := [name for name in _NEEDED if not os.access(folder / name, os.X_OK)]:
            raise ControlPlaneError(
                f"KUBEBUILDER_ASSETS={named} lacks {', '.join(missing)}: point it at a folder that setup-envtest filled, or unset it."
            )
        return cls(folder)
