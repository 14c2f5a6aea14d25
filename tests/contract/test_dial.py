"""The one dialer, against real servers on loopback: where it goes, what it takes, and that all its failures are alike."""

import asyncio
import gzip
import logging
import ssl
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from aiohttp import web

from contract.servers import Http, Rough, deaf, never
from keyturn.decide.address import AddressRules
from keyturn.model.errors import Unavailable
from keyturn.providers import dial
from keyturn.providers.dial import CONNECT_S, FAILS_AT_S, LIMIT, NO_ANSWER, POOL, Answer, Line, TooLong

CANARY = "kt-canary-answer"
LOOPBACK = AddressRules(allowed=("127.0.0.0/8",))
DEFAULT = AddressRules(own=frozenset({"10.96.0.1"}))
ALIKE = 2  # times: as far as failures may lie apart on a busy machine


async def get(line: Line, path: str = "/there", **headers: str) -> Answer:
    return await line.send("GET", path, headers=headers)


async def failed(line: Line, path: str = "/there", says: str = "") -> float:
    """How long it took to fail: in the one way in which a tenant's server does, or an admin's, which is told with why."""
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable) as failure:
        await line.send("GET", path, headers={"X-Token": "kt-canary-token"})
    assert str(failure.value) == (says or NO_ANSWER)
    assert (failure.value.__cause__, failure.value.__context__) == (None, None)
    return asyncio.get_running_loop().time() - begun


async def test_an_answer_has_status_headers_and_body(http: Http, opened: Callable[..., Line]):
    http.answers["/v1/a%2Fb?list=true"] = lambda: web.Response(status=404, text=CANARY, headers={"Retry-After": "7"})
    answer = await opened(http.url).send("PATCH", "/v1/a%2Fb?list=true", headers={"X-Vault-Namespace": "shop"}, body=b"{}")
    assert (answer.status, answer.headers["retry-after"], answer.body) == (404, "7", CANARY.encode())
    assert CANARY not in repr(answer)
    [asked] = http.asked
    assert (asked.method, asked.headers["X-Vault-Namespace"], asked.headers["Accept-Encoding"]) == ("PATCH", "shop", "identity")
    assert asked.headers["User-Agent"].startswith("keyturn/")


async def test_the_path_of_the_server_stands_before_the_path(http: Http, opened: Callable[..., Line]):
    http.answers["/behind/v1"] = lambda: web.Response(text="found")
    assert (await get(opened(f"{http.url}/behind"), "/v1")).body == b"found"


async def test_tls_is_checked_against_the_authority_that_is_given(
    loop: asyncio.AbstractEventLoop, serving: ssl.SSLContext, opened: Callable[..., Line], names: dict[str, list[Sequence[str]]]
):
    with Http(loop, tls=serving) as server:
        assert (await get(opened(server.url))).status == 200
        host = server.url.removeprefix("https://")
        trust = "its certificate is of no authority that is trusted here; name that authority's file in SSL_CERT_FILE"
        await failed(opened(server.url, None, ssl.create_default_context()), says=f"the server {host} gave no answer: {trust}")
        names["other.test"] = [["127.0.0.1"]]
        other = f"other.test:{server.port}"
        name = "its certificate is for another name"
        await failed(opened(f"https://{other}", None), says=f"the server {other} gave no answer: {name}")
        assert len(server.asked) == 1


async def test_one_connection_serves_one_request_after_the_other(http: Http, opened: Callable[..., Line]):
    line = opened(http.url)
    for _ in range(5):
        await get(line)
    assert len({asked.peer for asked in http.asked}) == 1


async def test_no_cookie_is_kept_and_nothing_is_unpacked(http: Http, opened: Callable[..., Line]):
    packed = gzip.compress(b"0" * LIMIT * 10)
    http.answers["/there"] = lambda: web.Response(body=packed, headers={"Set-Cookie": "a=b", "Content-Encoding": "gzip"})
    line = opened(http.url)
    assert [(await get(line)).body for _ in range(2)] == [packed, packed]
    assert not any("Cookie" in asked.headers for asked in http.asked)


async def test_a_limit_is_what_the_longest_body_may_have(http: Http, opened: Callable[..., Line]):
    http.answers["/long"] = lambda: web.Response(body=b"0" * (LIMIT + 1))
    http.answers["/full"] = lambda: web.Response(body=b"0" * LIMIT)
    line = opened(http.url, None)
    assert len((await get(line, "/full")).body) == LIMIT
    host = http.url.removeprefix("http://")
    await failed(line, "/long", f"the server {host} gave no answer: its answer is longer than {LIMIT} bytes")
    assert len((await line.send("GET", "/long", headers={}, limit=LIMIT + 1)).body) == LIMIT + 1


async def test_a_tenants_answer_by_tls_may_be_as_long_as_its_limit(
    loop: asyncio.AbstractEventLoop, serving: ssl.SSLContext, opened: Callable[..., Line]
):
    limit = 16 << 20

    async def piecemeal(request: web.BaseRequest, size: int) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for begin in range(0, size, 4096):
            await response.write(b"0" * min(4096, size - begin))
        return response

    with Http(loop, tls=serving) as server:
        server.streams |= {"/full": partial(piecemeal, size=limit), "/long": partial(piecemeal, size=limit + 1)}
        line = opened(server.url)
        assert len((await line.send("GET", "/full", headers={}, limit=limit)).body) == limit
        with pytest.raises(TooLong, match=NO_ANSWER):
            await line.send("GET", "/long", headers={}, limit=limit)


async def test_whoever_waits_behind_slow_answers_gets_one_too(
    loop: asyncio.AbstractEventLoop, http: Http, opened: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dial, "CONNECT_S", 0.2)
    go_on = asyncio.Event()

    async def slowly(request: web.BaseRequest) -> web.StreamResponse:
        await go_on.wait()
        return web.Response()

    http.streams["/slow"] = slowly
    line = opened(http.url)
    asked = [asyncio.create_task(get(line, "/slow")) for _ in range(POOL + 1)]
    done, _ = await asyncio.wait(asked, timeout=5 * 0.2)
    assert (done, len(http.asked)) == (set(), POOL)
    loop.call_soon_threadsafe(go_on.set)
    assert {answer.status for answer in await asyncio.gather(*asked)} == {200}


async def test_whoever_waits_when_the_line_is_closed_opens_no_new_one(http: Http, opened: Callable[..., Line]):
    async def silently(_: web.BaseRequest) -> web.StreamResponse:
        await never()
        return web.Response()

    http.streams["/silent"] = silently
    line = opened(http.url, None)
    asked = [asyncio.create_task(get(line, "/silent")) for _ in range(POOL + 1)]
    async with asyncio.timeout(20):
        while len(http.asked) < POOL:  # noqa: ASYNC110  # the server is in another thread
            await asyncio.sleep(0.01)
    await line.close()
    assert {type(failure) for failure in await asyncio.gather(*asked, return_exceptions=True)} == {Unavailable}
    assert len(http.asked) == POOL


async def test_after_a_close_and_after_a_second_one_there_is_no_answer(http: Http, opened: Callable[..., Line]):
    line, unused = opened(http.url), opened(http.url)
    await get(line)
    for one in (line, unused):
        await one.close()
        await one.close()
        await failed(one)
    assert len(http.asked) == 1


async def test_an_admins_server_is_taken_as_it_is_and_fails_at_once(
    http: Http, opened: Callable[..., Line], names: dict[str, list[Sequence[str]]], monkeypatch: pytest.MonkeyPatch
):
    names["vault.test"] = [["127.0.0.1"]]
    assert (await get(opened(http.url, None))).status == 200
    assert (await get(opened(f"http://vault.test:{http.port}", None))).status == 200
    nobody = "the server 127.0.0.1:1 gave no answer: nobody listens there"
    assert await failed(opened("http://127.0.0.1:1", None), says=nobody) < CONNECT_S
    monkeypatch.setenv("http_proxy", http.url)
    monkeypatch.delenv("no_proxy", raising=False)
    assert (await get(opened("http://elsewhere.test", None))).status == 200
    assert http.asked[-1].target == "http://elsewhere.test/there"


async def test_no_proxy_stands_between_us_and_a_tenants_server(
    loop: asyncio.AbstractEventLoop, http: Http, opened: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
):
    with Http(loop) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert (await get(opened(http.url))).status == 200
        assert proxy.asked == []


async def test_a_name_is_asked_once_and_what_was_checked_is_connected_to(
    loop: asyncio.AbstractEventLoop, opened: Callable[..., Line], names: dict[str, list[Sequence[str]]]
):
    rules = AddressRules(allowed=("127.0.0.2/32",))
    with Http(loop) as closed, Http(loop, "127.0.0.2", closed.port) as open_one:
        names["turns.test"] = [["127.0.0.2"], ["127.0.0.1"]]
        server = f"http://turns.test:{closed.port}"
        assert (await get(opened(server, rules))).status == 200
        await failed(opened(server, rules))
        assert (closed.accepted, open_one.accepted) == (0, 1)


async def test_whatever_fails_fails_alike_and_at_the_same_moment(
    loop: asyncio.AbstractEventLoop, http: Http, serving: ssl.SSLContext, opened: Callable[..., Line], names: dict[str, list[Sequence[str]]]
):
    names |= {
        "inside.test": [["127.0.0.1"]],
        "both.test": [["10.96.0.77", "127.0.0.1"]],
        "metadata.test": [["169.254.169.254"]],
        "own.test": [["10.96.0.1"]],
    }
    http.answers["/moved"] = lambda: web.Response(status=307, headers={"Location": f"{http.url}/there"})
    http.answers["/long"] = lambda: web.Response(body=b"0" * (LIMIT + 1))
    disguises = [
        "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "0177.0.0.1", "2130706433", "017700000001", "127.0.0.1.", "127.0.0.2",
        "0.0.0.0", "0", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
        "[64:ff9b::7f00:1]", "１２７.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "[fe80::1%25lo]", "[fe80::1%lo]", "10.96.0.1",
        "[::ffff:10.96.0.1]", "a..b", "nobody.invalid", *names,
    ]  # fmt: skip
    with (
        Http(loop, tls=serving) as tls,
        Http(loop) as guarded,
        Rough(loop, None) as hanging,
        Rough(loop, b"SSH-2.0-Server\r\n") as other,
        Rough(loop, b"") as cut,
        deaf() as filtered,
    ):
        silent, names["silent.test"] = opened("http://silent.test"), []
        refused = [opened(f"http://{host}:{guarded.port}", DEFAULT) for host in disguises]
        took = await asyncio.gather(
            failed(silent),
            *map(failed, refused),
            *(failed(opened(http.url), path) for path in ("/moved", "/long")),
            failed(opened("http://127.0.0.1:1")),
            failed(opened(filtered)),
            failed(opened(tls.url, tls=ssl.create_default_context())),
            *(failed(opened(f"{scheme}://127.0.0.1:{rough.port}")) for scheme in ("http", "https") for rough in (other, cut)),
            failed(opened(f"https://127.0.0.1:{hanging.port}")),
            failed(opened(f"https://127.0.0.1:{http.port}")),
            failed(opened(f"http://127.0.0.1:{tls.port}")),
        )
        assert guarded.accepted == 0
    await silent.close()  # the look-up does not hold it
    assert min(took) >= CONNECT_S
    assert max(took) < ALIKE * min(took)
    assert {asked.target for asked in http.asked} == {"/moved", "/long"}


async def test_a_server_that_takes_its_time_fails_when_the_time_is_up(
    loop: asyncio.AbstractEventLoop, http: Http, opened: Callable[..., Line]
):
    async def slowly(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"kt-canary-part")
        await never()
        return response

    http.streams["/slow"] = slowly
    with Rough(loop, None) as hanging:
        took = await asyncio.gather(failed(opened(http.url), "/slow"), failed(opened(f"http://127.0.0.1:{hanging.port}")))
    assert min(took) > FAILS_AT_S[0]
    assert max(took) < ALIKE * min(took)


async def test_the_log_tells_why_once_in_a_while_and_nothing_that_was_sent(opened: Callable[..., Line], caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "keyturn.dial")
    line = opened("http://127.0.0.1:1", None)
    nobody = "the server 127.0.0.1:1 gave no answer: nobody listens there"
    await failed(line, "/kt-canary-path", nobody)
    await failed(line, "/kt-canary-path", nobody)
    refused = opened("http://127.0.0.1:1", DEFAULT)
    await failed(refused)
    told = [(record.getMessage(), vars(record)["server"], vars(record)["why"]) for record in caplog.records]
    server = "http://127.0.0.1:1"
    assert told == [
        ("no answer", server, "nobody listens there"),
        ("no answer", server, "its address is not allowed; see --allow-addresses"),
    ]
    assert "kt-canary" not in str([vars(record) for record in caplog.records])
