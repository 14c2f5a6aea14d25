"""Leaks on purpose, each of which must fail its test: one for each sink and each encoding.

Not collected with the others: tests/architecture/test_canary.py runs this file and reads the outcomes.
"""

import base64
import http.server
import inspect
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from canary import Canary
from canary.marks import PREFIX
from canary.objects import cluster_objects, objects
from canary.planted_files import in_a_database, in_a_dump_of_a_database, in_a_file_of_a_process, in_an_export
from keyturn.model.errors import Unavailable
from keyturn.telemetry import Metrics

log = logging.getLogger("keyturn.planted")


def _escaped(text: str, form: str) -> str:
    return "".join(form.format(ord(character)) for character in text)


def _behind(encode: Callable[[bytes], bytes], before: str) -> Callable[[str], str]:
    return lambda text: encode(f"{before}{text}?>~".encode()).decode()


ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "raw": lambda text: f"the value is {text}!",
    "json": lambda text: json.dumps({"password": text}),
    "json in json": lambda text: json.dumps(json.dumps({"password": _escaped(text, "\\u{:04x}")})),
    "unicode escapes": lambda text: _escaped(text, "\\u{:04X}"),
    "byte escapes": lambda text: _escaped(text, "\\x{:02x}"),
    "url": lambda text: f"?password={_escaped(text, '%{:02X}')}",
    "url, where it must": lambda text: quote(f"ä/{text}", safe="").replace("-", "%2d"),
    "url twice": lambda text: quote(_escaped(text, "%{:02x}")),
    "hex": lambda text: f"0x{text.encode().hex()}",
    "HEX": lambda text: text.encode().hex().upper(),
    "base64": _behind(base64.b64encode, ""),
    "base64, second place": _behind(base64.b64encode, "a"),
    "base64, third place": _behind(base64.b64encode, "ab"),
    "base64url": _behind(base64.urlsafe_b64encode, "a?>"),
    "base64 in a url": lambda text: quote(base64.b64encode(f"x{text}".encode()).decode(), safe=""),
    "base64 in lines": lambda text: "\n ".join(base64.encodebytes(text.encode() * 3).decode().splitlines()),
}


@contextmanager
def in_a_log_message(_: Canary, text: str) -> Iterator[None]:
    log.debug("read %s", text)
    yield


@contextmanager
def in_an_extra_of_a_log(_: Canary, text: str) -> Iterator[None]:
    log.debug("read", extra={"answer": {"value": text}})
    yield


@contextmanager
def in_a_logged_exception(_: Canary, text: str) -> Iterator[None]:
    try:
        raise ValueError(text)
    except ValueError:
        log.debug("failed", exc_info=True)
    yield


@contextmanager
def in_the_cause_of_a_logged_exception(_: Canary, text: str) -> Iterator[None]:
    try:
        try:
            raise ValueError(text)
        except ValueError as cause:
            raise ExceptionGroup("several", [Unavailable("no answer")]) from cause
    except ExceptionGroup:
        log.debug("failed", exc_info=True)
    yield


@contextmanager
def in_an_error_that_is_an_answer(_: Canary, text: str) -> Iterator[None]:
    Unavailable(f"no answer to {text}")
    yield


@contextmanager
def in_standard_output(_: Canary, text: str) -> Iterator[None]:
    print(text)
    yield


@contextmanager
def in_standard_error(_: Canary, text: str) -> Iterator[None]:
    print(text, file=sys.stderr)
    yield


@contextmanager
def in_metrics(canary: Canary, text: str) -> Iterator[None]:
    metrics = Metrics()
    metrics.synced(text, 0.1)
    canary.watch_metrics(metrics.exposition)
    yield


@contextmanager
def on_the_page_of_metrics(canary: Canary, text: str) -> Iterator[None]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        canary.watch_metrics(f"http://127.0.0.1:{server.server_port}/metrics")
        yield
        server.shutdown()


@contextmanager
def _process(canary: Canary, *arguments: str, **environment: str) -> Iterator[None]:
    program = ["/bin/sh", "-c", "echo ready; read -r _", "sh", *arguments]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout
        child.stdout.readline()  # before it runs, nothing is to be read of it
        canary.watch_process(child.pid)
        yield


@contextmanager
def on_a_command_line(canary: Canary, text: str) -> Iterator[None]:
    with _process(canary, f"--password={text}"):
        yield


@contextmanager
def in_an_environment(canary: Canary, text: str) -> Iterator[None]:
    with _process(canary, PASSWORD=text):
        yield


class Cluster:
    """A cluster that holds one object, in place of a `Reader`."""

    def __init__(self, plural: str, made: dict[str, Any]) -> None:
        self._plural = plural
        self._made = made

    def collections(self, namespace: str) -> Iterator[str]:
        yield f"/api/v1/namespaces/{namespace}/{self._plural}"

    def items(self, _: str) -> list[dict[str, Any]]:
        return [self._made]

    def text(self, path: str) -> str:
        return json.dumps({"items": self.items(path)})


@contextmanager
def _object(canary: Canary, plural: str, metadata: dict[str, Any], **more: Any) -> Iterator[None]:
    cluster: Any = Cluster(plural, {"metadata": {"name": "app", **metadata}, **more})
    canary.watch(partial(objects, cluster, "shop", {"SecretProvider"}))
    yield


def in_a_status(canary: Canary, text: str) -> Any:
    return _object(canary, "managedsecrets", {}, status={"conditions": [{"message": text}]})


def in_the_status_of_a_kind_whose_spec_may_hold_it(canary: Canary, text: str) -> Any:
    return _object(canary, "secretproviders", {}, status={"conditions": [{"message": text}]})


def in_an_event(canary: Canary, text: str) -> Any:
    return _object(canary, "events", {}, note=text)


def in_a_config_map(canary: Canary, text: str) -> Any:
    return _object(canary, "configmaps", {}, data={"a": text})


def in_an_annotation_of_a_secret(canary: Canary, text: str) -> Any:
    return _object(canary, "secrets", {"annotations": {"keyturn.dev/source": text}}, data={"a": "b"})


def in_managed_fields_of_a_secret(canary: Canary, text: str) -> Any:
    return _object(canary, "secrets", {"managedFields": [{"fieldsV1": {"f:data": {f"f:{text}": {}}}}]})


@contextmanager
def in_the_status_of_a_cluster_kind(canary: Canary, text: str) -> Iterator[None]:
    cluster: Any = Cluster("clustersecretproviders", {"metadata": {"name": "app"}, "status": {"conditions": [{"message": text}]}})
    canary.watch(partial(cluster_objects, cluster))
    yield


SINKS: Mapping[str, Callable[..., Any]] = {
    sink.__name__: sink
    for sink in (
        in_a_log_message,
        in_an_extra_of_a_log,
        in_a_logged_exception,
        in_the_cause_of_a_logged_exception,
        in_an_error_that_is_an_answer,
        in_standard_output,
        in_standard_error,
        in_a_file_of_a_process,
        in_a_database,
        in_a_dump_of_a_database,
        in_an_export,
        in_metrics,
        on_the_page_of_metrics,
        on_a_command_line,
        in_an_environment,
        in_a_status,
        in_the_status_of_a_kind_whose_spec_may_hold_it,
        in_an_event,
        in_a_config_map,
        in_an_annotation_of_a_secret,
        in_managed_fields_of_a_secret,
        in_the_status_of_a_cluster_kind,
    )
}


@pytest.fixture
def planted() -> Iterator[ExitStack]:
    """Keeps what a leak stands in until fixtures go."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("sink", SINKS)
def test_leak(sink: str, encoding: str, canary: Canary, planted: ExitStack, tmp_path: Path) -> None:
    text = ENCODINGS[encoding](canary("db-password"))
    made = SINKS[sink]
    places = (tmp_path,) if "folder" in inspect.signature(made).parameters else ()
    planted.enter_context(made(canary, text, *places))


def test_literal(planted: ExitStack) -> None:
    """A value that is written out, which no canary gave."""
    log.debug("read %s", base64.b64encode(b"xkt-canary-literal").decode())


def test_piece(canary: Canary, planted: ExitStack) -> None:
    """A value whose beginning was cut off."""
    log.debug("read %s", canary("db-password").removeprefix(PREFIX))


def test_clean(canary: Canary, planted: ExitStack) -> None:
    """A value where it may be: in the data of a Secret, and in a spec that was allowed."""
    value = canary("db-password")
    planted.enter_context(_object(canary, "secrets", {}, data={"password": base64.b64encode(value.encode()).decode()}))
    planted.enter_context(_object(canary, "secretproviders", {}, spec={"provider": {"fake": {"data": [{"key": "a", "value": value}]}}}))
    log.debug("read %s", "nothing")
