"""How the azureKeyVault provider asks for tokens: for one resource, for nobody else, and no more often than it must."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp import web

from contract.answers import get, read
from contract.azures import Rig, rigged
from keyturn.decide.address import AddressRules
from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.providers.azure_road import _Names

PROSE = "kt-canary-prose"
VALUE = b"kt-canary-db"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    with rigged() as made:
        made.seed("db", VALUE.decode())
        yield made
        await made.close()


async def test_a_vault_is_asked_for_its_challenge_once_and_then_with_a_token_each_time(rig: Rig) -> None:
    provider = rig.open()
    for _ in range(3):
        await read(provider)
    await read(rig.open())
    assert len([client for _, _, client in rig.vault.asked if not client]) <= 1
    assert len([client for _, _, client in rig.vault.asked if client == rig.client_id]) == 4
    assert len(rig.entra.asked) == 2


async def test_a_token_of_another_resource_is_never_asked_for(rig: Rig) -> None:
    """A vault whose challenge names another resource, of its own domain or not, has no token for it."""
    for number, resource in enumerate(("https://management.azure.com", "https://azure.net", "https://net", "https://shop.vault.azure.net")):
        other = rig.cloud.vault(f"other{number}")

        def challenge(_: web.Request, resource: str = resource) -> web.Response:
            told = f'Bearer authorization="https://login.microsoftonline.com/{rig.entra.tenant}", resource="{resource}"'
            return web.json_response({"error": {"code": "Unauthorized"}}, status=401, headers={"WWW-Authenticate": told})

        other.rights, other.now, other.trouble = rig.vault.rights, rig.vault.now, challenge
        other.put("db", VALUE.decode())
        provider = rig.open(vault=other.host)
        for _ in range(2):
            assert isinstance(await get(provider), AuthFailed | Unavailable)
        assert rig.entra.asked == []
        other.trouble = lambda _: None
        assert await read(provider) == VALUE
        rig.entra.asked.clear()


async def test_a_challenge_that_names_another_tenant_changes_nothing(rig: Rig) -> None:
    other = rig.cloud.vault("moved")
    other.rights, other.now = rig.vault.rights, rig.vault.now
    other.put("db", VALUE.decode())
    real = rig.entra.tenant
    first = [True]

    def challenge(_: web.Request) -> web.Response | None:
        if not first:
            return None
        first.pop()
        told = 'Bearer authorization="https://login.microsoftonline.com/another", resource="https://vault.azure.net"'
        return web.json_response({"error": {"code": "Unauthorized"}}, status=401, headers={"WWW-Authenticate": told})

    other.trouble = challenge
    assert await read(rig.open(vault=other.host)) == VALUE
    assert rig.entra.tenant == real


async def test_one_token_serves_many_and_is_renewed_at_two_thirds_of_its_life(rig: Rig) -> None:
    rig.entra.life_s = 3600
    provider = rig.open()
    await asyncio.gather(*(read(provider) for _ in range(20)))
    assert len(rig.entra.asked) == 1
    rig.now_s += 2300
    await read(provider)
    assert len(rig.entra.asked) == 1
    rig.now_s += 150
    await asyncio.gather(*(read(provider) for _ in range(20)))
    assert len(rig.entra.asked) == 2


async def test_a_token_that_cannot_be_renewed_is_used_to_its_end_and_no_longer(rig: Rig) -> None:
    rig.entra.life_s = 3600
    provider = rig.open()
    await read(provider)
    rig.entra.trouble = lambda _: web.json_response({"error": "temporarily_unavailable", "error_description": PROSE}, status=503)
    rig.now_s += 2500
    assert await read(provider) == VALUE
    rig.now_s += 1200
    assert isinstance(await get(provider), Unavailable)


async def test_a_dead_token_costs_one_new_one_and_nobody_sees_it(rig: Rig) -> None:
    provider = rig.open()
    await read(provider)
    rig.entra.expire()
    await asyncio.gather(*(read(provider) for _ in range(20)))
    assert len(rig.entra.asked) == 2


async def test_a_vault_that_takes_no_token_is_asked_with_two_and_no_more(rig: Rig) -> None:
    provider = rig.open()
    await read(provider)
    rig.vault.trouble = lambda _: web.json_response(
        {"error": {"code": "Unauthorized", "message": PROSE}},
        status=401,
        headers={
            "WWW-Authenticate": f'Bearer authorization="https://{rig.entra.host}/{rig.entra.tenant}", resource="{rig.vault.resource}"'
        },
    )
    error = await get(provider)
    assert isinstance(error, AuthFailed)
    assert "check that the tenant" in str(error)
    assert len(rig.entra.asked) <= 3


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1"])
async def test_what_a_tenants_vault_stands_for_is_checked_and_a_proxy_is_an_admins(
    names: dict[str, list[Sequence[str]]], address: str
) -> None:
    names["shop.vault.azure.net"] = names["proxy.example"] = [[address]]
    road = _Names(".vault.azure.net", AddressRules(), "shop")
    if address == "10.0.0.1":  # a private endpoint
        assert [each["host"] for each in await road.resolve("shop.vault.azure.net", 443)] == [address]
    else:
        with pytest.raises(OSError, match="not allowed"):
            await road.resolve("shop.vault.azure.net", 443)
    assert [each["host"] for each in await road.resolve("proxy.example", 3128)] == [address]
    assert [each["host"] for each in await _Names(".vault.azure.net", None, "").resolve("shop.vault.azure.net", 443)] == [address]
