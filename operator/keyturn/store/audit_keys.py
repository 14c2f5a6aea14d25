"""The keys of checkpoints, as whoever runs Keyturn gives them; read once, and out of the environment at once."""

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final, Protocol

from keyturn.model.checkpoint import AuditKeyLost
from keyturn.model.keys import AUDIT_SIGNING_KEY, AUDIT_SIGNING_KEY_PREVIOUS
from keyturn.model.note import VerifierKey
from keyturn.model.sensitive import Sensitive
from keyturn.store.custody import shut
from keyturn.store.signing import SigningKey, verifiers

KEPT: Final = "keyturn-audit-key"
"""What the operator calls the key that it made for itself."""


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """``signing`` is None where none was given; ``known`` are public halves by which checkpoints are ours too."""

    signing: SigningKey | None = None
    known: tuple[VerifierKey, ...] = ()

    @property
    def public(self) -> tuple[VerifierKey, ...]:
        """All by which a checkpoint is ours."""
        return (*((self.signing.verifier,) if self.signing else ()), *self.known)


class KeptKeys(Protocol):
    """Where the operator keeps what it made for itself, each made once and never replaced."""

    async def find(self, name: str) -> Sensitive | None:
        """The key of this name; None where there is none."""

    async def make(self, name: str) -> Sensitive | None:
        """Makes it of 32 random bytes where there is none, and gives the one that holds."""


async def signing_key(given: AuditKeys, kept: KeptKeys, *, has_signed: bool) -> SigningKey:
    """The key to sign with: the one that was given, else the one that is kept, made while nothing was signed yet.

    Raises `AuditKeyLost`, `KeyMalformed`, and what ``kept`` raises.
    """
    if given.signing is not None:
        return given.signing
    seed = await kept.find(KEPT)
    if seed is None and has_signed:
        raise AuditKeyLost(
            f"the audit trail has checkpoints, and the Secret {KEPT} with the key that signed them is gone: restore it from"
            f" a backup; or begin with a new one, given as {AUDIT_SIGNING_KEY}, which auditors have to be told"
        )
    seed = seed if seed is not None else await kept.make(KEPT)
    if seed is None:
        raise AuditKeyLost(f"the Secret {KEPT} was deleted as it was made")
    return SigningKey.of_seed(seed, f"the Secret {KEPT}")


async def kept_key(kept: KeptKeys) -> SigningKey | None:
    """The one that is kept, where there is one. Raises `KeyMalformed`, and what ``kept`` raises."""
    seed = await kept.find(KEPT)
    return None if seed is None else SigningKey.of_seed(seed, f"the Secret {KEPT}")


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
