"""Whom a ServiceAccount's token is for: one server, and never this cluster's API server and a stranger at once.

Decides on texts alone. A token is taken apart here only where it is ours or was made for us, so that nobody checks its signature.
"""

import binascii
import json
from collections.abc import Collection
from typing import Final

from keyturn.model.errors import Rejected
from keyturn.model.sensitive import Sensitive

LIFE_S: Final = 600
"""Of a tenant's token: the least that API servers give."""


def audiences(token: Sensitive) -> tuple[str, ...]:
    """Those that a token names; none where it is no JSON Web Token."""
    named = _claims(token).get("aud")
    words = named if isinstance(named, list) else [named]
    return tuple(word for word in words if isinstance(word, str) and word)


def uid_of(token: Sensitive) -> str:
    """The uid of the ServiceAccount that a token was made for; '' where it does not say."""
    kubernetes = _claims(token).get("kubernetes.io")
    account = kubernetes.get("serviceaccount") if isinstance(kubernetes, dict) else None
    uid = account.get("uid") if isinstance(account, dict) else None
    return uid if isinstance(uid, str) else ""


def check_abroad(audience: str, home: Collection[str]) -> None:
    """Raises `Rejected` unless a token for ``audience`` is worth nothing at the API server, whose own are ``home``."""
    if not audience:
        raise Rejected("a token without an audience is one for this cluster's API server; name the server's own audience")
    if audience in home:
        raise Rejected(f"the audience {audience!r} is this cluster's API server's; whoever gets such a token is the ServiceAccount")


def _claims(token: Sensitive) -> dict[str, object]:
    parts = token.reveal().split(b".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(binascii.a2b_base64(parts[1].translate(bytes.maketrans(b"-_", b"+/")) + b"=="))
    except (ValueError, RecursionError):  # binascii's and json's errors are among these
        return {}
    return claims if isinstance(claims, dict) else {}
