"""What commands share: what has to be installed, and how lists are given."""

import importlib.util

from keyturn.model.errors import MissingExtra


def need_operator(command: str) -> None:
    """Raises `MissingExtra`, which names the pip command, where the extra ``operator`` is not installed."""
    for module in ("kopf", "aiohttp", "msgspec", "pydantic", "prometheus_client"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra("operator", command)


def listed(given: tuple[str, ...]) -> tuple[str, ...]:
    """Values of a repeatable flag; in one value, commas part them too, as its twin in the environment needs."""
    return tuple(part.strip() for value in given for part in value.split(",") if part.strip())
