"""The client's last look at the lease, against a server of our own."""

import asyncio
import ssl

import pytest
from aiohttp import web

from controlplane.servers import free_ports
from keyturn.kube.client import POOL, Client
from keyturn.kube.config import ClusterConfig
from keyturn.model.errors import NotLeading


async def test_a_write_that_waited_for_a_connection_is_not_sent_once_the_lease_is_lost() -> None:
    arrived: list[str] = []
    is_full, gate = asyncio.Event(), asyncio.Event()
    is_leading = True

    async def answer(request: web.Request) -> web.Response:
        arrived.append(request.method)
        if len(arrived) == POOL:
            is_full.set()
        await gate.wait()
        return web.json_response({})

    def may_write() -> None:
        if not is_leading:
            raise NotLeading("the lease is another's")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_ports(1)[0]
    await web.TCPSite(runner, "127.0.0.1", port).start()
    client = Client(ClusterConfig(f"http://127.0.0.1:{port}", ssl.create_default_context()), may_write)
    try:
        reads = [asyncio.create_task(client.request("GET", f"/read/{n}")) for n in range(POOL)]
        await is_full.wait()
        write = asyncio.create_task(client.request("PATCH", "/secret", b"{}"))
        for _ in range(100):  # long enough to come to the queue for a connection
            await asyncio.sleep(0)
        is_leading = False
        gate.set()
        with pytest.raises(NotLeading):
            await write
        assert await asyncio.gather(*reads) == [b"{}"] * POOL
        assert "PATCH" not in arrived
        # The connection that it had is free again, and good.
        is_leading = True
        assert await client.request("PATCH", "/secret", b"{}") == b"{}"
    finally:
        await client.close()
        await runner.cleanup()
