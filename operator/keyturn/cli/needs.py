"""What a command needs to be installed."""

import importlib.util

from keyturn.model.errors import MissingExtra


def need_operator(command: str) -> None:
    """Raises `MissingExtra`, which names the pip command, where the extra ``operator`` is not installed."""
    for module in ("kopf", "aiohttp", "msgspec", "pydantic", "prometheus_client"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra("operator", command)
