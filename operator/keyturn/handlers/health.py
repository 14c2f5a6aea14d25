"""``/healthz``, ``/readyz`` and ``/metrics`` on a listener of their own. Says nothing that a stranger may not read."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from keyturn.model.errors import KeyturnError
from keyturn.telemetry import Metrics


class NoListener(KeyturnError):
    """The address is taken, or is none."""


@dataclass(slots=True)
class HealthServer:
    """``problems`` names why the operator is not ready; alive it is as long as it answers."""

    address: str
    problems: Callable[[], list[str]]
    metrics: Metrics
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listens. Raises `NoListener` where that is not possible."""
        app = web.Application()
        app.add_routes([web.get("/healthz", self._alive), web.get("/readyz", self._ready), web.get("/metrics", self._metrics)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        host, _, port = self.address.rpartition(":")
        try:
            await web.TCPSite(self._runner, host.strip("[]") or None, int(port), shutdown_timeout=1).start()
        except (OSError, ValueError) as error:
            message = f"cannot listen on {self.address} ({error.__class__.__name__}); choose a free HOST:PORT with --health-address"
            raise NoListener(message) from None

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        found = self.problems()
        return web.Response(status=503 if found else 200, text="\n".join(found or ["ok"]) + "\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self.metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
