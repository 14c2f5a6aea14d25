"""How a writer knows a put that comes again: by what its token leaves behind, from which neither token nor value can be had.

The token is the key of both, and is kept nowhere: what is written down helps nobody to guess a value who has not the token too.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass

from keyturn.model.errors import Conflict, Invalid
from keyturn.model.material import CURRENT, PENDING
from keyturn.model.sensitive import Sensitive

_SHORTEST, _LONGEST = 32, 64


@dataclass(frozen=True, slots=True)
class Mark:
    """``name`` stands for the token, ``seal`` for the value that was put with it."""

    name: str
    seal: str

    def check(self, seal: str, key: str) -> None:
        """Raises `Conflict` unless the put that left this seal was of the same value."""
        if not hmac.compare_digest(seal.encode(), self.seal.encode()):
            raise Conflict(f"another value was put to {key} with the same token")


def mark(token: str, data: Sensitive) -> Mark:
    """The mark of a put. Raises `Invalid`."""
    if not _SHORTEST <= len(token) <= _LONGEST or not token.isprintable():
        raise Invalid(f"a put's token has {_SHORTEST} to {_LONGEST} printable characters")
    return Mark(_keyed(token, b"name"), _keyed(token, b"value\0" + data.reveal()))


def check_stage(stage: str) -> None:
    """Raises `Invalid` for a stage that nothing is put to."""
    if stage not in {CURRENT, PENDING}:
        raise Invalid(f"a put is of stage {CURRENT} or {PENDING}")


def _keyed(token: str, text: bytes) -> str:
    digest = hmac.new(token.encode("utf-8", "surrogatepass"), b"keyturn put\0" + text, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:18]).decode()
