"""The three clouds through the operator: log-ins that end in mid-work, credentials that are replaced, and a server that asks for pauses."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from canary import Canary
from cluster.api import Json
from cluster.clouds import ACCOUNT, NAMES, POOL, Clouds, CloudShop
from cluster.process import Operator
from cluster.shop import Shop
from cluster.tenants import Tenants
from cluster.waiting import Stopwatch, eventually
from contract.aws import refusal
from contract.aws_sts import Role
from controlplane.plane import ControlPlane
from effort import SEED, effort
from evidence import counted
from keyturn.testing.google_store import Refused

ROUNDS = 3
SETTLED_S = 1.0
USED_S = 5.0
AT_ONCE = 4
"""Calls of one provider, which may all be on their way when the first one is refused."""
KEYS = 50
PAUSE_S = 1
ON_ITS_WAY_S = 0.3
"""What was sent before a pause was heard of arrives within that."""
SESSION = f"arn:aws:iam::{ACCOUNT}:role/session"


@pytest.fixture
def operator(own_home: ControlPlane, clouds: Clouds, tmp_path: Path, canary: Canary) -> Iterator[Operator]:
    with Operator(own_home, tmp_path, settings=clouds.settings(tmp_path)) as running:
        canary.watch_operator(running.log_file, running.health_url, environ=False)
        yield running


@pytest.fixture
def cloud_shop(clouds: Clouds, own_shop: Shop) -> CloudShop:
    return CloudShop(clouds, own_shop)


def order(shop: Shop, name: str, key: str = "db", every: str = "1s") -> None:
    shop.order(name, {"password": key}, refreshInterval=every)


# -- log-ins -----------------------------------------------------------------------------------------------------------------------


def every_log_in(made: CloudShop) -> dict[str, Json]:
    """Provider members by the log-in that each has, all of which end."""
    for cloud in NAMES:
        made.renew(cloud)
        made.trust(cloud, "app", "db")
    by_role = made.by_credential("aws")
    by_role["awsSecretsManager"]["role"] = SESSION
    made.clouds.aws.sts.roles[SESSION] = Role({each.name for each in made.clouds.aws.sts.identities.values()})
    return {
        "aws-role": by_role,
        "aws-account": made.by_account("aws", "app"),
        "azure-secret": made.by_credential("azure"),
        "azure-account": made.by_account("azure", "app"),
        "google-key": made.by_credential("google"),
        "google-account": made.by_account("google", "app"),
    }


def end_all(clouds: Clouds) -> None:
    clouds.aws.sts.end_sessions()
    clouds.azure.entra.expire()
    clouds.services.end_all()


def log_ins(clouds: Clouds) -> tuple[int, int, int]:
    return len(clouds.aws.sts.sessions), len(clouds.azure.entra.grants), len(clouds.services.asked)


def test_log_ins_end_in_mid_work_and_nobody_sees_it(operator: Operator, cloud_shop: CloudShop, tenants: Tenants) -> None:
    clouds, shop = cloud_shop.clouds, cloud_shop.shop
    clouds.know(shop.api)
    tenants.grant(shop.namespace, POOL)
    tenants.account("app")
    for cloud in NAMES:
        clouds.put(cloud, "db", shop.value(f"first-{cloud}"))
    members = every_log_in(cloud_shop)
    for name, member in members.items():
        cloud_shop.provider(name, member)
        order(shop, name)
    for name in members:
        shop.wait(name)
    before = {name: shop.status(name) for name in members}
    for _ in range(ROUNDS):
        aws, _, google = log_ins(clouds)
        end_all(clouds)
        eventually(
            lambda aws=aws, google=google: log_ins(clouds) >= (aws + 2, 2, google + 2),
            what=lambda: f"{log_ins(clouds)} {operator.story(20)}",
        )
        time.sleep(SETTLED_S)  # a token that dies before it was used for the first time is not what tokens do
    assert {name: shop.status(name) for name in members} == before
    wanted = {cloud: shop.value(f"second-{cloud}") for cloud in NAMES}
    end_all(clouds)
    for cloud, value in wanted.items():
        clouds.put(cloud, "db", value)
    for name in members:
        eventually(lambda name=name: shop.data(name) == {"password": wanted[name.partition("-")[0]]}, what=lambda: operator.story(20))
    assert operator.readiness() == "ok"


def test_a_credential_that_is_replaced_is_used_at_once(operator: Operator, cloud_shop: CloudShop) -> None:
    clouds, shop = cloud_shop.clouds, cloud_shop.shop
    watch = Stopwatch("a new credential is used", USED_S)
    for cloud in NAMES:
        clouds.put(cloud, "db", shop.value(f"first-{cloud}"))
        cloud_shop.renew(cloud)
        cloud_shop.provider(cloud, cloud_shop.by_credential(cloud))
        order(shop, cloud)
        shop.wait(cloud)
    for cloud in NAMES:
        clouds.put(cloud, "db", value := shop.value(f"second-{cloud}"))
        cloud_shop.renew(cloud)
        watch.time(lambda cloud=cloud, value=value: shop.data(cloud) == {"password": value}, lambda: operator.story(20))
        shop.wait(cloud)
    watch.tell()


# -- pauses ------------------------------------------------------------------------------------------------------------------------


class Half:
    """Refuses one call of two, and asks for a pause. By lot: a read of two calls would never meet two that are let through in turn."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, bool]] = []
        self._lot = random.Random(SEED)

    def refuses(self) -> bool:
        self.calls.append((time.monotonic(), refused := self._lot.random() < 0.5))
        return refused

    @property
    def refused(self) -> int:
        return sum(refused for _, refused in self.calls)

    def too_early(self) -> int:
        """Calls that came in a pause, and cannot have been on their way when it was asked for."""
        pauses = [at for at, refused in self.calls if refused]
        return sum(any(ON_ITS_WAY_S < at - began < PAUSE_S - ON_ITS_WAY_S / 3 for began in pauses) for at, _ in self.calls)


def halve(clouds: Clouds) -> dict[str, Half]:
    """From now on each cloud refuses every second read, as it words that."""
    halves = {cloud: Half() for cloud in NAMES}

    def by_aws(operation: str) -> web.Response | None:
        is_hit = operation != "AssumeRole" and halves["aws"].refuses()
        return refusal("ThrottlingException", 429, **{"Retry-After": str(PAUSE_S)}) if is_hit else None

    def by_azure(_: Any) -> web.Response | None:
        return web.Response(status=429, headers={"Retry-After": str(PAUSE_S)}) if halves["azure"].refuses() else None

    def by_google() -> Refused | None:
        return Refused("RESOURCE_EXHAUSTED", "kt-canary-prose", PAUSE_S) if halves["google"].refuses() else None

    clouds.aws.answering, clouds.vault.trouble, clouds.google.trouble = by_aws, by_azure, by_google
    return halves


def test_half_of_all_calls_are_refused_with_a_pause_and_all_end_and_nobody_else_waits(
    operator: Operator, cloud_shop: CloudShop, own_shop: Shop, request: pytest.FixtureRequest
) -> None:
    clouds, count = cloud_shop.clouds, counted(request, effort(6, KEYS), KEYS, "keys of each cloud")
    others = own_shop.provider
    for cloud in NAMES:
        for number in range(count):
            clouds.put(cloud, f"key{number}", json.dumps({"password": own_shop.value(f"{cloud}-{number}")}))
        cloud_shop.renew(cloud)
    halves = halve(clouds)
    began = time.monotonic()
    for cloud in NAMES:
        cloud_shop.provider(cloud, cloud_shop.by_credential(cloud))
        for number in range(count):
            order(own_shop, f"{cloud}-{number}", f"key{number}", "1h")
    own_shop.provider = others
    watch = Stopwatch("a Secret of another provider is there", 0.5)
    for number in range(5):
        own_shop.source(password=own_shop.value())
        own_shop.order(f"other-{number}")
        watch.time(lambda number=number: own_shop.find(f"other-{number}"), lambda: operator.story(20))
    watch.tell()
    wanted = {f"{cloud}-{number}" for cloud in NAMES for number in range(count)}
    eventually(lambda: wanted <= synced(own_shop), 120 + 6 * count, lambda: f"{wanted - synced(own_shop)} {operator.story(20)}")
    for cloud, half in halves.items():
        print(f"{cloud}: {len(half.calls)} calls, {half.refused} refused, {half.too_early()} in a pause, {time.monotonic() - began:.0f} s")
        assert half.refused >= 2, cloud
        assert half.too_early() <= AT_ONCE + len(half.calls) / 20, (cloud, half.calls)


def synced(shop: Shop) -> set[str]:
    return {each["metadata"]["name"] for each in shop.api.items("Secret", shop.namespace, labelSelector="keyturn.dev/managed=true")}
