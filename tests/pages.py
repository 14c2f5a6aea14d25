"""Commands as a user types them: the blocks of a page of the docs, and a shell that finds `keyturn` and `kubectl`.

`keyturn` is the checkout's own, also where nobody has installed it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LIMIT_S = 120


def blocks(page: str | Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages, without their indent; of a file below the checkout, or of its text."""
    text = page if isinstance(page, str) else page.read_text()
    found = [(indent, body) for indent, language, body in _BLOCK.findall(text) if language in languages]
    return ["".join(line.removeprefix(indent) for line in body.splitlines(keepends=True)) for indent, body in found]


def commands(page: Path) -> list[str]:
    """Each command of the page's `sh` and `console` blocks, without prompts and comments; continued lines are joined."""
    found = []
    for block in blocks(page, "sh", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#\s.*$", "", line.removeprefix("$ ")).strip()
            if command and not command.startswith("#"):
                found.append(re.sub(r"\s{2,}", " ", command))
    return found


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs commands in a folder. ``settings`` are all that the environment holds of Keyturn and Kubernetes."""

    folder: Path
    kubectl: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        programs = self.folder / ".programs"
        programs.mkdir(exist_ok=True)
        _write(programs / "keyturn", f"#!{sys.executable}\nfrom keyturn.cli import main\nmain()\n")
        if self.kubectl:
            _write(programs / "kubectl", f'#!/bin/sh\nexec {self.kubectl} "$@"\n')

    @property
    def environment(self) -> dict[str, str]:
        """What commands get."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KEYTURN_", "SECRETS_", "KUBE"))}
        path = f"{self.folder / '.programs'}{os.pathsep}{kept['PATH']}"
        python = {"PYTHONPATH": str(ROOT / "operator"), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**kept, "PATH": path, **python, "KUBERC": "off", "KUBECACHEDIR": str(self.folder / ".kube"), **self.settings}

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """What the script printed and how it ended, whatever that is."""
        return self.call("sh", "-euc", script)

    def call(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A program that runs on; its two outputs come as one."""
        return subprocess.Popen(
            argv,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
