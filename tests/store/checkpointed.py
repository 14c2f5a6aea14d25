"""A trail with checkpoints in it, for tests that look at it, and for those that change it."""

import base64
import hashlib
from typing import Any

from keyturn.decide.hashchain import Walk
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit import AuditTrail
from keyturn.store.checkpoints import CheckpointBook
from keyturn.store.engine import Database
from keyturn.store.proof import Proof, prove
from keyturn.store.signing import SigningKey
from store.places import Place


def signer(name: str = "ours") -> SigningKey:
    return SigningKey.of(Sensitive(base64.b64encode(hashlib.sha256(name.encode()).digest())), "a test")


def book(place: Place, trail: AuditTrail, seal: Sensitive | None, key: SigningKey | None = None) -> CheckpointBook:
    return CheckpointBook(trail, place.database(), lambda _: seal, key or signer())


async def told(place: Place, _: AuditTrail, database: Database | None = None, **more: Any) -> Proof:
    """What `keyturn audit verify` makes of it, for somebody with the public key."""
    return await prove(database or place.database(), Walk(lambda _: None), [signer().verifier], **more)
