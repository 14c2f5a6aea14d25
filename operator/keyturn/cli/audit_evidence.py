"""What an auditor brings to `keyturn audit verify`: public keys, and checkpoints that were kept elsewhere."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from keyturn.model.errors import KeyturnError
from keyturn.model.note import KeyMalformed, VerifierKey
from keyturn.model.sensitive import Sensitive

_KEPT: Final = "kubectl -n keyturn-system get configmap keyturn-audit-head -o jsonpath="
ASK: Final = f"{_KEPT}'{{.data.vkey}}'"
"""The command that tells the public key."""
NO_END: Final = (
    "whether rows are missing from the end nobody can tell by the database alone: give a checkpoint with --checkpoint, or an end with"
    f" --anchor, that was kept elsewhere; the cluster keeps one: {_KEPT}'{{.data.note}}'"
)
CAME_ALONG: Final = "that key came with the checkpoint itself: it proves only as much as the file; compare it with the one that you know"

_YAML: Final = re.compile(r"^(apiVersion|kind|data):", re.MULTILINE)


class NoAuditKey(KeyturnError):
    """It was not said by which key checkpoints are to be looked at."""


def known_keys(given: Sequence[str]) -> Sequence[VerifierKey]:
    """Public keys, and files of such; without any those of the environment. Raises `KeyMalformed` and `KeyTooWeak`."""
    from keyturn.store.audit_keys import take_audit_keys
    from keyturn.store.signing import verifiers

    found: list[VerifierKey] = []
    for each in given:
        path = Path(each)
        is_file = "\n" not in each and path.is_file()
        told = list(verifiers(Sensitive(path.read_bytes()), f"--key {path.name}")) if is_file else _spelled(each)
        if not told:
            # Taken for no key at all, it would be a check that was asked for and that nobody made.
            where = f"the file {path.name} that --key names" if is_file else "what --key was given"
            raise KeyMalformed(f"{where} is empty: no signature would be checked; it must have a public key in it; to get it: {ASK}")
        found += told
    return found or take_audit_keys().public


def _spelled(given: str) -> Sequence[VerifierKey]:
    from keyturn.store.signing import verifiers

    try:
        return list(verifiers(Sensitive.of(given), "--key"))
    except KeyMalformed:
        # What was given is not told: it may be a private key with a slip in it.
        if given.count("+") >= 2:
            raise
        raise KeyMalformed(
            f"--key names no file that is there, and must be a public key or a file of such else; to get it: {ASK}"
        ) from None


def kept_notes(kept: Sequence[Path]) -> tuple[Mapping[str, str], Sequence[VerifierKey]]:
    """Checkpoints by their files, and the keys that came along in a ConfigMap. Raises `NoAuditKey` and `KeyMalformed`."""
    notes, brought = {}, []
    for path in kept:
        text = path.read_text("utf-8", "replace")
        if text.lstrip().startswith("{"):
            data = _data(text, path.name)
            text = str(data.get("note", ""))
            brought.append(VerifierKey.parse(str(data.get("vkey", "")), f"vkey in {path.name}"))
        elif _YAML.search(text):
            raise NoAuditKey(
                f"{path.name} is YAML; get the ConfigMap in JSON: kubectl get -o json, or its note alone as docs/audit.md says"
            )
        # Lines' ends that an editor or a shell put behind it are no part of what was signed.
        notes[path.name] = f"{text.rstrip()}\n"
    return notes, brought


def _data(text: str, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict):
        raise NoAuditKey(f"{name} is neither a checkpoint nor the ConfigMap keyturn-audit-head in JSON")
    return data
