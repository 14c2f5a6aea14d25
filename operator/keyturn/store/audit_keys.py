"""The keys of checkpoints, as whoever runs Keyturn gives them; read once, and out of the environment at once."""

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final

from keyturn.model.note import VerifierKey
from keyturn.model.sensitive import Sensitive
from keyturn.store.custody import shut
from keyturn.store.signing import SigningKey, verifiers

AUDIT_SIGNING_KEY: Final = "AUDIT_SIGNING_KEY"
AUDIT_SIGNING_KEY_PREVIOUS: Final = "AUDIT_SIGNING_KEY_PREVIOUS"


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """``signing`` is None where none was given; ``known`` are public halves by which checkpoints are ours too."""

    signing: SigningKey | None = None
    known: tuple[VerifierKey, ...] = ()

    @property
    def public(self) -> tuple[VerifierKey, ...]:
        """All by which a checkpoint is ours."""
        return (*((self.signing.verifier,) if self.signing else ()), *self.known)


def take_audit_keys(environment: MutableMapping[str, str] = os.environ) -> AuditKeys:
    """They are no longer in the environment after it. Raises `KeyMalformed` or `KeyTooWeak`."""
    shut()
    signing, previous = (_taken(environment, name) for name in (AUDIT_SIGNING_KEY, AUDIT_SIGNING_KEY_PREVIOUS))
    return AuditKeys(
        SigningKey.of(signing, AUDIT_SIGNING_KEY) if signing else None,
        tuple(verifiers(previous, AUDIT_SIGNING_KEY_PREVIOUS)) if previous else (),
    )


def _taken(environment: MutableMapping[str, str], name: str) -> Sensitive:
    return Sensitive(environment.pop(name, "").strip().encode("utf-8", "surrogateescape"))
