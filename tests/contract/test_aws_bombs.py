"""What a tenant's endpoint can cost with answers that AWS would never give: in memory, in turns of the event loop, and for others."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from aiohttp import web

from contract.answers import get, text_of
from contract.aws import REQUEST, Account, account
from contract.bombs import BOMBS, filled, traced
from keyturn.decide.address import AddressRules
from keyturn.model.errors import Invalid, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers import aws as module
from keyturn.providers import aws_channel
from keyturn.providers.aws_writer import AwsWriter
from keyturn.providers.guard import LISTED, Guard
from keyturn.providers.registry import TWENTIES
from keyturn.providers.room import Room

pytestmark = pytest.mark.timeout(60)

LOOPBACK_ALONE = AddressRules(allowed=("127.0.0.0/8",), allow_plain_http=True)
MOST = 48 << 20
"""Bytes for all that an ask of a tenant's makes, with its answer. The operator promises to stay below 384 MiB, and has 90 at rest."""
REFS = [SourceRef(f"k{number}") for number in range(100)]
ID = "v" * 32


class Endless(BaseHTTPRequestHandler):
    """What ``bodies`` has for an operation, always the same bytes."""

    protocol_version = "HTTP/1.1"
    timeout = 5
    disable_nagle_algorithm = True
    bodies: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        self.rfile.read(int(self.headers["Content-Length"]))
        body = self.bodies.get(operation, b"{}")
        self.asked.append(operation)
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-amzn-RequestId", "0f")
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A connection that its client ended."""


@pytest.fixture
def endless() -> Iterator[str]:
    """The URL of such a server."""
    Endless.bodies.clear()
    Endless.asked.clear()
    with Quiet(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is of no use fails at once, and not at the moment at which all fail."""
    monkeypatch.setattr("keyturn.providers.dial.FAILS_AT_S", (0.0,))


def page(number: int, **more: Any) -> dict[str, Any]:
    return {"Name": f"k{number}", "SecretVersionsToStages": {ID: ["AWSCURRENT"]}, **more}


@pytest.mark.usefixtures("quick")
async def test_many_bombs_at_once_stay_within_what_the_operator_has(here: Account, endless: str) -> None:
    Endless.bodies |= {"BatchGetSecretValue": BOMBS[0][1], "GetSecretValue": filled('{"x":[', "{}", 500_000, "]}")}
    guards = [Guard(here.open(rules=LOOPBACK_ALONE, endpoint=endless, room=here_room), TWENTIES) for here_room in [Room()] * 2]
    with traced() as peak:
        await asyncio.gather(*(guard.get_many([SourceRef(f"k{n}/{i}") for n in range(100)]) for guard in guards for i in range(4)))
    print(f"{peak[0] >> 20} MiB")
    assert peak[0] < MOST
    assert Endless.asked.count("BatchGetSecretValue") > 1


async def listed(guard: Guard) -> None:
    [meta async for meta in guard.list("k")]


async def surveyed(guard: Guard) -> None:
    await guard.survey(REFS)


@pytest.mark.parametrize("look", [listed, surveyed])
async def test_a_list_of_few_long_entries_that_has_no_end_ends(
    here: Account, endless: str, monkeypatch: pytest.MonkeyPatch, look: Callable[[Guard], Awaitable[None]]
) -> None:
    monkeypatch.setattr(module, "MOST", 5000)
    told = {"SecretList": [page(0, Tags=[{"Key": "k", "Value": "y" * 3_500_000}])], "NextToken": "t"}
    Endless.bodies["ListSecrets"] = json.dumps(told).encode()
    guard = Guard(here.open(rules=LOOPBACK_ALONE, endpoint=endless), TWENTIES)
    with traced() as peak, pytest.raises(Invalid):
        await look(guard)
    assert peak[0] < MOST + LISTED


async def test_a_list_of_pages_without_any_entry_ends(here: Account, endless: str) -> None:
    Endless.bodies["ListSecrets"] = b'{"SecretList": [], "NextToken": "t"}'
    with pytest.raises(Invalid, match="more than 50000"):
        await here.open(rules=LOOPBACK_ALONE, endpoint=endless).survey(REFS)
    assert Endless.asked.count("ListSecrets") == 1000


async def test_a_page_that_is_too_long_is_asked_for_in_parts(here: Account) -> None:
    sizes: list[int] = []

    def answering(operation: str) -> web.Response | None:
        if operation != "ListSecrets":
            return None
        size = here.front.asked[-1][1]["MaxResults"]
        sizes.append(size)
        entries = [page(n, Description="d" * 100_000) for n in range(size)]
        more = {"NextToken": "t"} if len(sizes) < 3 else {}
        return web.json_response({"SecretList": entries} | more, headers=REQUEST)

    here.front.answering = answering
    assert len([meta async for meta in here.open().list()]) == 24
    assert sizes == [100, 12, 12]


async def test_a_secret_whose_versions_have_no_end_is_refused(here: Account, endless: str) -> None:
    versions = [{"VersionId": f"{n:032}"} for n in range(100)]
    Endless.bodies["ListSecretVersionIds"] = json.dumps({"Versions": versions, "NextToken": "t"}).encode()
    aws = here.open(rules=LOOPBACK_ALONE, endpoint=endless, may_write=True)
    assert isinstance(aws, AwsWriter)
    with traced() as peak, pytest.raises(Invalid, match="more versions than AWS keeps"):
        await aws.versions("db")
    assert peak[0] < MOST
    assert Endless.asked.count("ListSecretVersionIds") == 100


@pytest.mark.parametrize(
    "versions",
    [[{"VersionId": "v"}], [{"VersionId": ID + "\n"}], [{"VersionId": "v" * 65}], [{"VersionId": ID, "VersionStages": ["a"] * 101}]],
    ids=["short", "line", "long", "labels"],
)
async def test_what_is_no_list_of_versions_is_none(here: Account, endless: str, versions: object) -> None:
    Endless.bodies["ListSecretVersionIds"] = json.dumps({"Versions": versions}).encode()
    aws = here.open(rules=LOOPBACK_ALONE, endpoint=endless, may_write=True)
    assert isinstance(aws, AwsWriter)
    with pytest.raises(Unavailable, match="versions of db is none"):
        await aws.put("db", Sensitive(b"kt-canary"), token=ID)


@pytest.mark.parametrize("version", ["v", "v" * 400_000, "V\n\x1b[31m" + "v" * 32, "ä" * 32])
async def test_a_version_is_an_id_of_aws_or_the_value_is_none(here: Account, endless: str, version: str) -> None:
    Endless.bodies["GetSecretValue"] = json.dumps({"Name": "db", "VersionId": version, "SecretString": "kt-canary"}).encode()
    Endless.bodies["ListSecrets"] = json.dumps(
        {"SecretList": [{"Name": "db", "SecretVersionsToStages": {version: ["AWSCURRENT"]}}]}
    ).encode()
    provider = here.open(rules=LOOPBACK_ALONE, endpoint=endless)
    error = await get(provider, "db")
    assert isinstance(error, Unavailable)
    assert len(str(error)) < 100
    assert (await provider.survey([SourceRef("db")])).fingerprints == {}
    assert [meta async for meta in provider.list()] == []


async def test_a_name_that_no_secret_can_have_is_in_no_list(here: Account, endless: str) -> None:
    Endless.bodies["ListSecrets"] = json.dumps({"SecretList": [page(1), page(2) | {"Name": "n" * 513}]}).encode()
    assert [meta.key async for meta in here.open(rules=LOOPBACK_ALONE, endpoint=endless).list()] == ["k1"]


async def test_more_values_than_were_asked_for_are_no_answer(here: Account, endless: str) -> None:
    values = [{"Name": f"k{n}", "VersionId": ID, "SecretString": "kt-canary"} for n in range(3)]
    Endless.bodies["BatchGetSecretValue"] = json.dumps({"SecretValues": values}).encode()
    with pytest.raises(Unavailable, match="more secrets than were asked for"):
        await here.open(rules=LOOPBACK_ALONE, endpoint=endless).get_many(REFS[:2])


async def test_tags_that_aws_answers_with_nothing_are_set(here: Account) -> None:
    def answering(operation: str) -> web.Response | None:
        return web.Response(headers=REQUEST) if operation == "TagResource" else None

    here.front.answering = answering
    aws = here.open(may_write=True, rules=LOOPBACK_ALONE, endpoint=here.front.url)
    assert isinstance(aws, AwsWriter)
    await aws.put("db", Sensitive(b"kt-canary-old"), token=ID)
    await aws.put("db", Sensitive(b"kt-canary-new"), token=ID[::-1] + "2", tags={"team": "shop"})
    assert here.front.count("TagResource") == 1


async def test_a_list_that_would_be_too_much_to_keep_says_so(here: Account) -> None:
    tags = [{"Key": f"{n:03}", "Value": "v" * 256} for n in range(50)]

    def answering(operation: str) -> web.Response | None:
        number = here.front.count("ListSecrets")
        told = {"SecretList": [page(number * 100 + n, Tags=tags) for n in range(100)], "NextToken": "t"}
        return web.json_response(told, headers=REQUEST) if operation == "ListSecrets" else None

    here.front.answering = answering
    with pytest.raises(Invalid, match="ask for a longer prefix"):
        [meta async for meta in Guard(here.open(), TWENTIES).list("k")]
    assert here.front.count("ListSecrets") < 100


async def test_one_tenants_work_leaves_threads_to_others() -> None:
    """Whoever else signs meanwhile does not wait behind all that one tenant has to be signed."""
    gate, busy = threading.Event(), list[str]()

    def work(tenant: str) -> None:
        busy.append(tenant)
        if tenant == "greedy":
            gate.wait(20)

    async def ask(tenant: str) -> None:
        await aws_channel.in_thread(lambda: work(tenant), tenant)

    crowd = [asyncio.create_task(ask("greedy")) for _ in range(20)]
    for _ in range(10):
        await asyncio.wait_for(ask("bystander"), 10)
    assert busy.count("greedy") <= 1
    gate.set()
    await asyncio.gather(*crowd)
    assert busy.count("greedy") == 20


async def test_a_cancelled_turn_is_given_to_the_next_one() -> None:
    gate = threading.Event()
    first = asyncio.create_task(aws_channel.in_thread(lambda: gate.wait(20), "shop"))
    second = asyncio.create_task(aws_channel.in_thread(lambda: True, "shop"))
    third = asyncio.create_task(aws_channel.in_thread(lambda: True, "shop"))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    assert await asyncio.wait_for(third, 10)
    await first
    assert second.cancelled()


async def test_a_bystander_reads_while_bombs_go_off(here: Account, endless: str) -> None:
    await here.put("db", "kt-canary-db")
    other = here.open()
    assert text_of(await get(other, "db")) == "kt-canary-db"
    Endless.bodies["BatchGetSecretValue"] = BOMBS[0][1]
    guard = Guard(here.open(rules=LOOPBACK_ALONE, endpoint=endless), TWENTIES)
    bombs = [asyncio.create_task(guard.get_many([SourceRef(f"k{n}/{i}") for n in range(100)])) for i in range(4)]
    while not Endless.asked:  # noqa: ASYNC110  # it is asked in other threads
        await asyncio.sleep(0.01)
    began = time.monotonic()
    for _ in range(5):
        assert isinstance(await get(other, "db"), Value)
    assert time.monotonic() - began < 10
    for each in bombs:
        each.cancel()
    await asyncio.gather(*bombs, return_exceptions=True)
    await guard.close()
