"""What commands share: what has to be installed, and how lists are given."""

import importlib.util
from typing import Final

from keyturn.model.errors import KeyturnError, MissingExtra

_MODULES: Final = {
    "operator": ("kopf", "aiohttp", "msgspec", "pydantic", "prometheus_client"),
    "database": ("sqlalchemy", "alembic", "aiosqlite", "psycopg", "cryptography"),
}


class NoDatabase(KeyturnError):
    """It was not said which database is meant, or it is not there."""


def need(extra: str, command: str) -> None:
    """Raises `MissingExtra`, which names the pip command, where the extra is not installed."""
    for module in _MODULES[extra]:
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(extra, command)


def listed(given: tuple[str, ...]) -> tuple[str, ...]:
    """Values of a repeatable flag; in one value, commas part them too, as its twin in the environment needs."""
    return tuple(part.strip() for value in given for part in value.split(",") if part.strip())
