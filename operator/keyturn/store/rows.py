"""Where each row of a secret stands, and what its MAC covers: for whoever writes rows and whoever changes their key.

A column that is not here can be changed by whoever has the database. A field that is added here makes all that is stored
unreadable, so that it comes with a migration that takes the MACs anew.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from keyturn.model.sensitive import Sensitive
from keyturn.store.cipher import Field, Keyring, Place, Purpose

Row = Mapping[str, Any]
"""A row as SQLAlchemy gives it by ``mappings()``, or as it is about to be written."""

Columns = dict[str, Any]

_TIMES = ("expires_at", "deleted_at", "purged_at", "created_at", "updated_at")


def secret_place(store: str, name: str) -> Place:
    """Of a row of application_secrets."""
    return Place("application_secrets", store, name)


def version_place(store: str, name: str, version: int) -> Place:
    """Of a row of application_secret_versions."""
    return Place("application_secret_versions", store, name, version)


def secret_fields(row: Row) -> Mapping[str, Field]:
    """What the MAC of a row of application_secrets covers: which version is read, for how long, and as what."""
    return {
        "secret_type": row["secret_type"],
        "current_version": row["current_version"],
        "last_version": row["last_version"],
        "tags": json.dumps(row["tags"], sort_keys=True) if row["tags"] != {} else "{}",
        "change_seq": row["change_seq"],
        **{name: moment(row[name]) for name in _TIMES},
    }


def version_fields(row: Row) -> Mapping[str, Field]:
    """What the MAC of a row of application_secret_versions covers. Its token needs none: it opens here alone, or not at all."""
    return {
        "stage": row["stage"],
        "enabled": bool(row["enabled"]),
        "put_token": row["put_token"],
        "put_mac": row["put_mac"],
        "created_at": moment(row["created_at"]),
        "change_seq": row["change_seq"],
    }


def put_mac(ring: Keyring, key_id: str, place: Place, value: Sensitive) -> bytes:
    """Tells the value of a put that comes again from another one, and can be taken anew when the key changes."""
    return ring.mac(key_id, place, {"value": value}, purpose=Purpose.PUT)


def check_secret(ring: Keyring, row: Row) -> None:
    """Raises `Tampered` where a row of `secrets` is not as it was written, and `UnknownKey`."""
    place = secret_place(row["store"], row["name"])
    ring.verify_mac(row["key_id"], place, secret_fields(row), row["row_mac"])


def check_version(ring: Keyring, store: str, name: str, row: Row) -> None:
    """Raises `Tampered` where a row of `versions` is not as it was written for this secret, and `UnknownKey`."""
    place = version_place(store, name, row["version"])
    ring.verify_mac(row["key_id"], place, version_fields(row), row["row_mac"])


def with_secret_mac(ring: Keyring, row: Row) -> Columns:
    """The row of `secrets` under the active key. Raises `UnknownKey`."""
    place = secret_place(row["store"], row["name"])
    return {**row, "key_id": ring.active, "row_mac": ring.mac(ring.active, place, secret_fields(row))}


def with_version_mac(ring: Keyring, store: str, name: str, row: Row) -> Columns:
    """The row of `versions`, whose value stays as it lies, under the key of that value. Raises `UnknownKey`."""
    place = version_place(store, name, row["version"])
    return {**row, "row_mac": ring.mac(row["key_id"], place, version_fields(row))}


def sealed(ring: Keyring, store: str, name: str, row: Row, value: Sensitive) -> Columns:
    """The row of `versions` with its value, all under the active key. Raises `UnknownKey`."""
    place = version_place(store, name, row["version"])
    key_id, token = ring.seal(place, value)
    whole = {**row, "key_id": key_id, "token": token, "put_mac": put_mac(ring, key_id, place, value)}
    return with_version_mac(ring, store, name, whole)


def moment(at: datetime | None) -> str | None:
    """A time as text that is the same whichever database kept it: UTC, to the microsecond."""
    if at is None:
        return None
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return at.isoformat(timespec="microseconds")
