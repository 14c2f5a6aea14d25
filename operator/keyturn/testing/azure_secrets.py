"""What a fake Azure Key Vault holds and gives: secrets with their versions, and who may do what with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ALL: Final = frozenset({"get", "list", "set", "delete", "recover", "purge"})

Json = dict[str, Any]


class RefusedError(Exception):
    """An answer that is no success; ``code`` and ``inner`` are the words that clients go by."""

    def __init__(self, status: int, code: str, inner: str = "", **headers: str) -> None:
        super().__init__(code)
        self.status, self.code, self.inner, self.headers = status, code, inner, headers


@dataclass(slots=True)
class Version:
    """One version of a secret."""

    id: str
    value: str = field(repr=False)
    created: int
    updated: int
    tags: dict[str, str] = field(default_factory=dict)
    content_type: str | None = None
    is_enabled: bool = True
    expires: int | None = None


@dataclass(slots=True)
class Secret:
    """All versions of a name, the newest last. ``moves_until`` is when what became of it last is through."""

    name: str
    versions: list[Version] = field(default_factory=list)
    is_deleted: bool = False
    is_purged: bool = False
    moves_until: float = 0.0
    deleted_at: int = 0


@dataclass(slots=True)
class Rights:
    """What a client may do, and with which keys; ``keys`` None is all."""

    verbs: frozenset[str] = ALL
    keys: frozenset[str] | None = None


def item(id_: str, version: Version) -> Json:
    """A version as lists have it."""
    attributes: Json = {"enabled": version.is_enabled, "created": version.created, "updated": version.updated}
    attributes |= {"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90} | ({"exp": version.expires} if version.expires else {})
    told: Json = {"id": id_, "attributes": attributes} | ({"tags": version.tags} if version.tags else {})
    return told | ({"contentType": version.content_type} if version.content_type is not None else {})


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuses what no version may have."""
    if len(tags) > 15 or any(not 0 < len(name) <= 256 or len(text) > 256 for name, text in tags.items()):
        raise RefusedError(400, "BadParameter")
