"""Nothing in the repository names a machine, a registry, or a wish without a number."""

import re
import socket
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SELF = Path(__file__).relative_to(ROOT).as_posix()

REGISTRIES = ("docker.io", "ghcr.io", "gcr.io", "quay.io", "registry.k8s.io", "mcr.microsoft.com", "azurecr.io", "dkr.ecr")
FORBIDDEN = {
    "a path of somebody's machine": re.compile(rf"(?<![\w.])(?:/work/|/root/|/home/\w+/|/Users/\w+/|{re.escape(str(ROOT))})"),
    "a registry's host": re.compile(rf"\b(?:{'|'.join(map(re.escape, REGISTRIES))})"),
    "this machine's name": re.compile(rf"\b{re.escape(socket.gethostname())}\b" if len(socket.gethostname()) > 6 else r"(?!)"),
    "a TODO without a number": re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))"),
    "a merge that was left half done": re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE),
}


@cache
def texts() -> dict[str, str]:
    """Every text that is, or will be, in the repository."""
    listed = subprocess.check_output(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, text=True)
    names = sorted(set(listed.split("\0")) - {"", SELF})
    return {name: text for name in names if (text := _text(ROOT / name)) is not None}


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (UnicodeDecodeError, FileNotFoundError):  # a binary, or deleted and not yet told to git
        return None


def offences(what: str) -> Iterator[str]:
    for name, text in texts().items():
        for match in FORBIDDEN[what].finditer(text):
            yield f"{name}:{text.count(chr(10), 0, match.start()) + 1} {match[0]}"


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_text_holds(what: str) -> None:
    assert list(offences(what)) == []


def test_every_text_ends_with_one_line_break() -> None:
    assert [name for name, text in texts().items() if text and (not text.endswith("\n") or text.endswith("\n\n"))] == []
